"""A TCP cable between a link and its broker that tests can cut and mend.

Bytes pass unchanged. ``hang_up_on`` looks at the first bytes of a connection and may answer
in the broker's place, as an old broker would.
"""

import selectors
import socket
import struct
import threading
from collections.abc import Callable

BUFFER_BYTES = 65_536
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST, as a vanished peer


class Cable:
    """Listens on ``port`` and passes every connection on to ``broker_port``."""

    def __init__(
        self,
        broker_port: int,
        hang_up_on: Callable[[bytes], bytes | None] = lambda first: None,
    ) -> None:
        self.broker_port = broker_port
        self.hang_up_on = hang_up_on
        self.accepted = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._news, self._tell = socket.socketpair()
        self._cut = threading.Event()
        self._done = threading.Event()
        self._idle = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cable", daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Break every connection, and all to come, until :meth:`mend`."""
        self._cut.set()
        self._idle.clear()
        self._tell.send(b"\0")
        assert self._idle.wait(10)

    def mend(self) -> None:
        self._cut.clear()

    def close(self) -> None:
        self._done.set()
        self._tell.send(b"\0")
        self._thread.join()
        for end in (self._listener, self._news, self._tell):
            end.close()

    def _run(self) -> None:
        pairs: dict[socket.socket, socket.socket] = {}
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._news, selectors.EVENT_READ)
            while not self._done.is_set():
                for key, _ in selector.select(5):
                    end = key.fileobj
                    assert isinstance(end, socket.socket)
                    if end is self._news:
                        end.recv(1)
                    elif end is self._listener:
                        self._accept(selector, pairs)
                    elif end in pairs:
                        self._pass_on(end, selector, pairs)
                if self._cut.is_set():
                    for end in list(pairs):
                        _end(end, selector, pairs, reset=True)
                    self._idle.set()
            for end in list(pairs):
                _end(end, selector, pairs, reset=True)

    def _accept(
        self, selector: selectors.BaseSelector, pairs: dict[socket.socket, socket.socket]
    ) -> None:
        near, _ = self._listener.accept()
        self.accepted += 1
        if self._cut.is_set():
            near.close()
            return
        near.settimeout(10)
        first = near.recv(BUFFER_BYTES)
        answer = self.hang_up_on(first)
        if answer is not None:
            near.sendall(answer)
            near.close()
            return
        try:
            far = socket.create_connection(("127.0.0.1", self.broker_port), timeout=10)
        except OSError:
            near.close()
            return
        far.sendall(first)
        for end, other in ((near, far), (far, near)):
            pairs[end] = other
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(end, selectors.EVENT_READ)

    def _pass_on(
        self,
        end: socket.socket,
        selector: selectors.BaseSelector,
        pairs: dict[socket.socket, socket.socket],
    ) -> None:
        try:
            data = end.recv(BUFFER_BYTES)
            if data:
                pairs[end].sendall(data)
                return
        except OSError:
            pass
        _end(end, selector, pairs, reset=False)


def _end(
    end: socket.socket,
    selector: selectors.BaseSelector,
    pairs: dict[socket.socket, socket.socket],
    *,
    reset: bool,
) -> None:
    other = pairs.pop(end, None)
    if other is None:
        return
    pairs.pop(other, None)
    for one in (end, other):
        selector.unregister(one)
        if reset:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        one.close()
