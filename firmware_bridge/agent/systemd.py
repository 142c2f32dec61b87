"""What a service manager is told, over the datagram socket that it names (sd_notify(3)).

Standard library only; says nothing where NOTIFY_SOCKET is not set. Leaves when there is something
to say to `watchdog`, and reading the environment to `settings`.
"""

import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass

_STATUS_CAP = 200
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Supervision:
    """What the service manager expects of this process.

    Attributes:
        address: Its socket, a path or `@` and an abstract name; None if nobody listens.
        watchdog_s: Seconds without a ping after which it kills this process, None if it does not.
    """

    address: str | None = None
    watchdog_s: float | None = None


NOBODY = Supervision()


def read_supervision(environment: Mapping[str, str], pid: int) -> Supervision:
    """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.

    Args:
        environment: The process's environment.
        pid: The process's id; a watchdog that is meant for another one is not ours to feed.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    period_us, meant_for = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID")
    ours = meant_for in (None, "", str(pid))
    watched = ours and period_us.isdecimal() and int(period_us) > 0
    return Supervision(
        address=address if address[:1] in ("/", "@") else None,
        watchdog_s=int(period_us) / 1_000_000 if watched else None,
    )


class Notifier:
    """Sends one datagram a call; a manager that does not listen never holds the daemon up."""

    def __init__(self, address: str | None) -> None:
        """Name the socket; `@` in front means the abstract namespace."""
        self._address = address
        self._status = ""

    def ready(self) -> None:
        """The service is up."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The service is on its way down."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Put the watchdog off."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Say in words how things are, if that is news."""
        line = " ".join(text.split())[:_STATUS_CAP]
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(message.encode(), address)
        except OSError as error:
            _log.warning("the service manager was not told %s: %s", message, error)
