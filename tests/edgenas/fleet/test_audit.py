"""The audit log: what is written down, that it only grows, and that a check finds any change."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from edgenas.cli.main import main
from edgenas.database.address import Where
from edgenas.fleet.audit import BEFORE_THE_FIRST, AuditEntry, check_chain
from edgenas.fleet.deployment_log import DeploymentRow
from edgenas.fleet.errors import FleetJournalError
from edgenas.fleet.journal import FleetJournal
from tests.databases import POSTGRES, place, raw
from tests.edgenas.fleet.conftest import WAIT_S, Lab, eventually
from tests.edgenas.fleet.test_ways_back import online, shipped

GUARDS = {
    "sqlite": ["DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete"],
    "postgresql": ["DROP TRIGGER audit_no_change ON audit"],
}


def chain_of(length: int) -> list[AuditEntry]:
    entries, previous = list[AuditEntry](), BEFORE_THE_FIRST
    for position in range(1, length + 1):
        entry = AuditEntry(position, 1, "me@here", "test.done", "it", "{}", previous)
        entry = replace(entry, digest=entry.computed())
        entries.append(entry)
        previous = entry.digest
    return entries


@pytest.fixture
def where(tmp_path: Path) -> Where:
    where = place(tmp_path / "fleet.sqlite")
    with closing(FleetJournal(where, who="anna@desk")) as journal:
        for number in range(1, 6):
            journal.audit.add("test.done", f"device {number}", number, {"n": number})
    return where


def test_a_chain_says_how_long_it_is_and_how_it_ends() -> None:
    entries = chain_of(3)
    assert check_chain(entries).sound
    assert (check_chain(entries).length, check_chain(entries).head) == (3, entries[-1].digest)
    assert check_chain([]).head == BEFORE_THE_FIRST


def _forged(entry: AuditEntry) -> AuditEntry:
    """Changed by somebody who knows how digests are made."""
    changed = replace(entry, who="somebody else")
    return replace(changed, digest=changed.computed())


@pytest.mark.parametrize(
    ("damage", "at"),
    [
        (lambda e: [*e[:2], replace(e[2], who="x"), *e[3:]], 3),
        (lambda e: [*e[:2], replace(e[2], wall_ms=2), *e[3:]], 3),
        (lambda e: [*e[:2], _forged(e[2]), *e[3:]], 4),
        (lambda e: [*e[:2], *e[3:]], 3),
        (lambda e: [e[0], e[2], e[1], *e[3:]], 2),
        (lambda e: [e[0], e[0], *e[1:]], 2),
        (lambda e: e[1:], 1),
    ],
)
def test_the_first_broken_entry_is_named(
    damage: Callable[[list[AuditEntry]], list[AuditEntry]], at: int
) -> None:
    found = check_chain(damage(chain_of(5)))
    assert not found.sound
    assert found.broken_at == at
    assert found.length == at - 1
    assert found.problem


def test_what_was_cut_off_shows_only_against_what_is_known_elsewhere() -> None:
    entries = chain_of(5)
    known = (5, entries[4].digest)
    assert check_chain(entries[:3]).sound
    assert check_chain(entries[:3], known).broken_at == 4
    assert check_chain(entries, known).sound
    assert check_chain(entries, (2, "0" * 64)).broken_at == 2


def test_the_database_itself_lets_no_entry_be_changed(where: Where) -> None:
    for statement in ("UPDATE audit SET who='x' WHERE position=2", "DELETE FROM audit"):
        with raw(where) as bare, pytest.raises(DBAPIError, match="only grows"):
            bare.exec_driver_sql(statement)


def test_a_check_from_the_command_line(where: Where, capsys: pytest.CaptureFixture[str]) -> None:
    verify = ["audit", "verify", "--database", str(where)]
    assert main(verify) == 0
    known = capsys.readouterr().out.strip().rpartition(" ")[2]
    assert known.startswith("5:")
    assert main([*verify, "--known", known]) == 0
    with raw(where) as bare:
        for statement in GUARDS[bare.dialect.name]:
            bare.exec_driver_sql(statement)
        bare.exec_driver_sql("DELETE FROM audit WHERE position=5")
    assert main(verify) == 0
    assert main([*verify, "--known", known]) == 1
    with raw(where) as bare:
        bare.exec_driver_sql("UPDATE audit SET subject='device 9' WHERE position=3")
    capsys.readouterr()
    assert main(verify) == 1
    assert "broken at entry 3" in capsys.readouterr().out
    assert main(["audit", "show", "--database", str(where), "--after", "3"]) == 0
    assert '"who": "anna@desk"' in capsys.readouterr().out
    for wrong in (1 << 64, -1):
        assert main(["audit", "show", "--database", str(where), "--after", str(wrong)]) == 1
        assert f"got {wrong}; `edgenas audit verify`" in capsys.readouterr().err


@pytest.mark.skipif(POSTGRES is not None, reason="about files")
def test_a_journal_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert main(["audit", "verify", str(tmp_path)]) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_action_that_fails_leaves_no_entry(where: Where) -> None:
    with closing(FleetJournal(where)) as journal:
        with pytest.raises(FleetJournalError), journal.transaction():  # noqa: PT012
            journal.audit.add("test.done", "it", 1)
            journal.deployments.add(DeploymentRow("d", "dev-1", "main", 1))
            journal.deployments.add(DeploymentRow("d", "dev-1", "main", 1))  # there already
        assert len(list(journal.audit.entries())) == 5


def test_whatever_changes_the_fleet_is_written_down(lab: Lab) -> None:
    twin, host = online(lab)
    shipped(lab, host, 1)
    deployment = host.go_back("dev-1", "main")
    assert host.wait_deployment(deployment, WAIT_S) is not None
    host.withdraw("dev-1", "main")
    host.settle("dev-1")
    host.next_release_counter()
    eventually(lambda: not twin.disk.unacked)
    entries = list(lab.journal.audit.entries())
    actions = [entry.action for entry in entries]
    for action in ("host.started", "wish.offered", "wish.withdrawn", "device.settled"):
        assert action in actions
    assert actions.count("wish.offered") == 2
    assert "release.numbered" in actions
    assert check_chain(entries).sound
    assert all("@" in entry.who for entry in entries)


def test_a_closed_journal_writes_nothing(where: Where) -> None:
    journal = FleetJournal(where)
    journal.close()
    with pytest.raises(FleetJournalError):
        journal.audit.add("test.done", "it", 1)
