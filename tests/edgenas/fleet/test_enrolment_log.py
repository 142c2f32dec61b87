"""What the records of enrolment answer is what going through all of them would."""

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edgenas.database.form import VERSION_TABLE
from edgenas.database.migrate import upgrade
from edgenas.fleet.enrolment import OPEN, Decision, Invite, Known, Mode
from edgenas.fleet.enrolment_log import EnrolmentLog, RequestRow
from edgenas.fleet.journal import FleetJournal
from tests.databases import place, raw

INVITES, BOARDS = ("i0", "i1"), ("", "board-0", "board-1")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EnrolmentLog]:
    """Two invitations, forty requests decided about up to three times, and thirty certificates."""
    draw = random.Random(7)
    journal = FleetJournal(place(tmp_path / "fleet.sqlite"), "anna@desk")
    with journal.transaction():
        for name in INVITES:
            invite = Invite(name, "lab", "generic", Mode.ASK, 50, frozenset(), 10)
            journal.enrolments.add_invite(invite, name, 1)
        for number in range(40):
            journal.enrolments.add_request(_request(number, draw))
            for _ in range(draw.randrange(3)):
                decision = draw.choice(list(Decision))
                journal.enrolments.decide(f"r{number}", decision, "later", 2)
        for number in range(30):
            journal.enrolments.add_certificate(_certificate(number, draw))
            if draw.random() < 0.3:
                journal.enrolments.revoke(f"{number}", "lost", 3)
    yield journal.enrolments
    journal.close()


def _request(number: int, draw: random.Random) -> RequestRow:
    return RequestRow(
        *(f"r{number}", draw.choice(INVITES), f"pi-{number % 7}", draw.choice(BOARDS)),
        *(f"{number:064x}", "CSR", {"runtime": "x"}, number),
        *(draw.choice(list(Decision)), "first"),
    )


def _certificate(number: int, draw: random.Random) -> Known:
    return Known(
        *(f"{number}", f"pi-{number % 7}", draw.choice(BOARDS), f"{number % 11:064x}", "PEM"),
        *(1, 9, False),
    )


def test_places_and_who_waits_are_those_of_a_recount(log: EnrolmentLog) -> None:
    rows = log.requests()
    assert len(rows) == 40
    assert {row.why for row in rows} == {"first", "later"}
    for name in INVITES:
        own = [row for row in rows if row.invite_id == name]
        assert log.places(name) == sum(row.decision is not Decision.REFUSED for row in own)
        assert log.waiting(name) == [row for row in own if row.decision in OPEN]
    assert log.waiting() == [row for row in rows if row.decision in OPEN]
    assert log.places("none") == 0


def test_a_key_finds_its_own_request_under_its_invitation(log: EnrolmentLog) -> None:
    for row in log.requests():
        assert log.request_of(row.invite_id, row.key_sha256) == row
        other = next(name for name in INVITES if name != row.invite_id)
        assert log.request_of(other, row.key_sha256) is None


@pytest.mark.parametrize("board", BOARDS)
def test_certificates_near_are_those_of_the_key_the_board_or_an_id(
    log: EnrolmentLog, board: str
) -> None:
    key, ids = f"{3:064x}", ("pi-1", "pi-5", "absent")
    near = [
        known
        for known in log.certificates()
        if known.key_sha256 == key or (board and known.board == board) or known.device_id in ids
    ]
    assert 0 < len(near) < 30
    assert log.certificates_near(key, board, ids) == near
    assert any(known.revoked for known in near)


def test_who_is_awaited_is_told_by_decisions_and_certificates(log: EnrolmentLog) -> None:
    known = log.certificates()
    for name in INVITES:
        rows = [row for row in log.requests() if row.invite_id == name]
        awaited = [
            row
            for row in rows
            if row.decision in OPEN
            or (
                row.decision is Decision.ACCEPTED
                and not any(
                    each.key_sha256 == row.key_sha256
                    and (not each.revoked or each.begins_ms >= row.wall_ms)
                    for each in known
                )
            )
        ]
        assert awaited
        assert log.is_awaited(name)
        for row in rows:
            log.decide(row.request_id, Decision.REFUSED, "all", 9)
        assert not log.is_awaited(name)
    taken = next(row for row in log.requests() if row.key_sha256 == f"{5:064x}")
    log.decide(taken.request_id, Decision.ACCEPTED, "", 9)
    new = Known("new", "pi-5", "", taken.key_sha256, "PEM", taken.wall_ms, 9, False)
    log.add_certificate(new)
    assert not log.is_awaited(taken.invite_id), "it has its certificate"


def test_an_invitation_of_an_earlier_revision_has_no_keys(tmp_path: Path) -> None:
    where = place(tmp_path / "old.sqlite")
    with raw(where) as connection:
        connection.exec_driver_sql("BEGIN")
        upgrade(connection, VERSION_TABLE, "0004")
        connection.exec_driver_sql(
            "INSERT INTO invites (invite_id, secret_sha256, fleet, profile, mode, uses, serials,"
            " expires_ms, wall_ms) VALUES ('i0', 's', 'lab', 'generic', 'token', 1, '[]', 10, 1)"
        )
        connection.exec_driver_sql("COMMIT")
    with closing(FleetJournal(where)) as journal:
        found = journal.enrolments.invite_by_secret("s")
        assert found == Invite("i0", "lab", "generic", Mode.TOKEN, 1, frozenset(), 10, ())
        kept = Invite("i1", "lab", "generic", Mode.TOKEN, 1, frozenset(), 10, ("PEM", "SPARE"))
        journal.enrolments.add_invite(kept, "t", 1)
        assert journal.enrolments.invite("i1") == kept
