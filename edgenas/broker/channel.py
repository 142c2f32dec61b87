"""The sending half of one socket: gathers small writes, knows when the peer lags, closes in time.

What is sent is left to `connection`.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

HIGH_WATER_BYTES: Final = 1024 * 1024  # unsent bytes above which QoS 1 messages stay queued
MOST_UNSENT_BYTES: Final = 32 * 1024 * 1024  # above which QoS 0 messages to this client are lost
CLOSE_GRACE_S: Final = 2.0  # for a peer that does not read its last packet


class Channel:
    """Writes bytes once per turn of the loop."""

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        flushed: Callable[[], None],
    ) -> None:
        """Switches Nagle's algorithm off; `flushed` is called after each write."""
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        self.paused = False
        self._transport = transport
        self._loop = loop
        self._flushed = flushed
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._closing = False

    @property
    def writable(self) -> bool:
        """Whether the peer keeps up."""
        return not self.paused and self._out_bytes < HIGH_WATER_BYTES

    @property
    def congested(self) -> bool:
        """Whether so much is unsent that what may be lost should be."""
        unsent_bytes = self._out_bytes + self._transport.get_write_buffer_size()
        return unsent_bytes > MOST_UNSENT_BYTES

    def write(self, data: bytes) -> None:
        """Adds bytes to what leaves at the end of this turn."""
        if self._closing:
            return
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)
        self._out_bytes += len(data)

    def close(self, *, linger: bool = False) -> None:
        """Closes once what was written has left, or after a grace time.

        With `linger` the peer closes first: closing over bytes it is still sending would reset the
        connection and could destroy the last packet before the peer has read it.
        """
        if self._closing:
            return
        self._flush()
        self._closing = True
        if linger:
            self._transport.write_eof()
        else:
            self._transport.close()
        self._loop.call_later(CLOSE_GRACE_S, self._transport.abort)

    def abort(self) -> None:
        """Closes at once."""
        self._closing = True
        self._transport.abort()

    def _flush(self) -> None:
        if not self._out or self._closing:
            return
        data, self._out, self._out_bytes = b"".join(self._out), [], 0
        self._transport.write(data)
        self._flushed()
