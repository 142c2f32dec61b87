"""The sending half of a socket: Nagle off, small writes gathered, an end that comes."""

import asyncio
import socket

from edgenas.broker.channel import HIGH_WATER_BYTES, MOST_UNSENT_BYTES, Channel


class _Ends:
    """A channel on one end of a TCP connection, a plain socket on the other."""

    def __init__(self) -> None:
        self.flushes = 0

    async def open(self) -> "_Ends":
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname())
            self.far, _ = listener.accept()
        near.setblocking(False)
        self.far.setblocking(False)
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
        self.socket = transport.get_extra_info("socket")
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        self.channel = Channel(transport, loop, self._flushed)
        return self

    def _flushed(self) -> None:
        self.flushes += 1

    async def read_to_end(self) -> bytes:
        parts = []
        while data := await asyncio.get_running_loop().sock_recv(self.far, 1 << 20):
            parts.append(data)
        self.far.close()
        return b"".join(parts)


def test_nagle_is_switched_off() -> None:
    async def main() -> int:
        ends = await _Ends().open()
        found: int = ends.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        ends.channel.close()
        await ends.read_to_end()
        return found

    assert asyncio.run(main())


def test_writes_of_one_turn_leave_together_and_before_the_end() -> None:
    async def main() -> None:
        ends = await _Ends().open()
        for number in range(10):
            ends.channel.write(b"%d" % number)
        assert ends.flushes == 0
        await asyncio.sleep(0)
        assert ends.flushes == 1
        ends.channel.write(b"last")
        ends.channel.close()
        ends.channel.write(b"too late")
        assert await ends.read_to_end() == b"0123456789last"

    asyncio.run(main())


def test_peer_that_does_not_read_is_noticed_and_then_cut_off() -> None:
    async def main() -> None:
        ends = await _Ends().open()
        assert ends.channel.writable
        ends.channel.write(bytes(HIGH_WATER_BYTES))
        assert not ends.channel.writable
        assert not ends.channel.congested
        ends.channel.write(bytes(MOST_UNSENT_BYTES))
        assert ends.channel.congested
        ends.channel.abort()
        ends.far.close()
        await asyncio.sleep(0)

    asyncio.run(main())
