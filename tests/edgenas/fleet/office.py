"""The host's side of enrolment for tests: authority, database, desk, and a real HTTPS door."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgenas.fleet.enrolment import Mode
from edgenas.fleet.enrolment_desk import EnrolmentDesk, Terms
from edgenas.fleet.enrolment_server import EnrolmentServer
from edgenas.fleet.journal import FleetJournal
from edgenas.site.authority import certificate_sha256, now_utc
from edgenas.site.folder import SiteFolder, SiteSettings
from firmware_bridge.enroll_online import Asking, join
from firmware_bridge.wire.enrolment import Token
from firmware_bridge.wire.errors import EnrolmentError
from tests.databases import place

WAIT_S = 60.0


class Clock:
    """A clock that is moved by hand; monotonic time stands still."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic_s(self) -> float:
        return 0.0

    def wall_ms(self) -> int:
        return round((now_utc().timestamp() + self.ahead_s) * 1000)


class Office:
    """Where boards are enrolled: authority, database, desk, and the door while it is open."""

    def __init__(self, folder: Path, cleanup: ExitStack) -> None:
        self.folder, self._cleanup, self.clock = folder, cleanup, Clock()
        self.site = SiteFolder(folder / "site")
        self.site.prepare(SiteSettings(("127.0.0.1",), user="root"), now_utc())
        self.journal = FleetJournal(place(folder / "fleet.sqlite"), "anna@desk")
        cleanup.callback(self.journal.close)
        self.desk = EnrolmentDesk(self.journal, self.site, self.clock)
        self._certificate, self._key = self.site.enrolment_server(now_utc())
        self.server = self.open_door()

    def open_door(self) -> EnrolmentServer:
        server = EnrolmentServer("127.0.0.1", 0, self._certificate, self._key, self.desk.answer)
        self._cleanup.callback(server.close)
        return server

    def invite(
        self,
        mode: Mode = Mode.TOKEN,
        uses: int = 1,
        serials: Sequence[str] = (),
        keys: tuple[str, ...] = (),
    ) -> Token:
        terms = Terms("lab", "raspberry-pi-4", mode, uses, 3600, frozenset(serials), keys)
        _, secret = self.desk.invite(terms)
        pin = certificate_sha256(self._certificate)
        return Token("127.0.0.1", self.server.port, pin, secret)

    def board(self, name: str, board: str = "", key: str = "") -> Asking:
        """A board; another `key` means another one."""
        folder = self.folder / (key or name)
        folder.mkdir(exist_ok=True)
        return Asking(name, board, folder)

    def audited(self) -> list[tuple[str, str]]:
        return [(entry.action, entry.subject) for entry in self.journal.audit.entries()]


def silent(text: str) -> None:
    raise AssertionError(text)


def refusal(token: Token, asking: Asking) -> str:
    with pytest.raises(EnrolmentError) as refused:
        join(token, asking, silent)
    return str(refused.value)
