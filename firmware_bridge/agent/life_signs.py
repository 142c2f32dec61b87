"""Signs of life of the applications that run the models: datagrams on `app.sock`, by choice.

An application opts in by sending its slot's name (`main`, or nothing at all for `main`) at least
every 10 s, and out again by sending the name and `bye`. While a bundle is in probation, silence of
an application that had opted in is a fault of the bundle. Leaves what a fault leads to to
`activating`.
"""

import logging
import os
import socket
from pathlib import Path

SILENCE_S = 30.0
DEFAULT_SLOT = "main"
DATAGRAM_CAP_BYTES = 256
MAX_SLOTS = 16
A_ROUND = 64  # datagrams read in one go, so that a flood cannot hold the main loop

_log = logging.getLogger(__name__)


class LifeSigns:
    """When each slot's application was last heard; pure but for the clock that is passed in."""

    def __init__(self) -> None:
        self._heard_s: dict[str, float] = {}

    def take(self, datagram: bytes, now_s: float) -> None:
        """Note one datagram; anything that is no slot's name is dropped."""
        words = datagram.decode(errors="replace").split()
        slot = words[0] if words else DEFAULT_SLOT
        if words[1:] == ["bye"]:
            self._heard_s.pop(slot, None)
        elif not words[1:] and (slot in self._heard_s or len(self._heard_s) < MAX_SLOTS):
            self._heard_s[slot] = now_s

    def opted_in(self, slot: str, now_s: float) -> bool:
        """Whether the application of `slot` lives and wants to be watched."""
        heard_s = self._heard_s.get(slot)
        return heard_s is not None and now_s - heard_s <= SILENCE_S

    def silent_since_s(self, slot: str, watched: bool, since_s: float) -> float | None:
        """Second since when an application that should be heard was not, None if none should.

        Args:
            slot: The slot.
            watched: It had opted in before the bundle was activated.
            since_s: When the bundle was activated, or its last silence was counted.
        """
        heard_s = self._heard_s.get(slot)
        if heard_s is None:
            return since_s if watched else None
        return max(heard_s, since_s)


class LifeSocket:
    """The socket that datagrams arrive on; read now and then, never waited for."""

    def __init__(self, path: Path) -> None:
        """Bind `path`; where that fails heartbeats are off, which is logged."""
        self.signs = LifeSigns()
        self._path = path
        self._socket: socket.socket | None = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            self._socket.bind(str(path))
            # any account may say that it lives: that can spare a bundle a fault, nothing more
            path.chmod(0o666)
            self._socket.setblocking(False)
        except OSError as error:
            _log.warning("no heartbeats at %s: %s; use a shorter or writable path", path, error)
            self.close()

    def read(self, now_s: float) -> None:
        """Take in what has come."""
        for _ in range(A_ROUND if self._socket is not None else 0):
            try:
                assert self._socket is not None
                self.signs.take(self._socket.recv(DATAGRAM_CAP_BYTES), now_s)
            except OSError:
                return  # nothing more is there

    def close(self) -> None:
        """Stop listening."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            if self._path.is_socket():
                os.unlink(self._path)
