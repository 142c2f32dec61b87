"""The journal: what was written is there after any end, and nothing is half there."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_bridge.store.database import Database
from firmware_bridge.store.jobs import DONE, QUEUED, RUNNING
from firmware_bridge.store.journal import Journal
from firmware_bridge.store.outbox import Answer
from firmware_bridge.store.slot_log import SlotRow
from firmware_bridge.wire.errors import StoreError

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.sqlite")
    yield made
    made.close()


def reopened(journal: Journal, folder: Path) -> Journal:
    journal.close()
    return Journal(folder / "journal.sqlite")


def test_identity_stays_and_starts_are_counted(journal: Journal, tmp_path: Path) -> None:
    first = journal.install_id()
    assert [journal.count_start(), journal.count_start()] == [1, 2]
    again = reopened(journal, tmp_path)
    assert again.install_id() == first
    assert again.count_start() == 3
    again.close()


def test_jobs_keep_their_order_and_running_ones_start_again(
    journal: Journal, tmp_path: Path
) -> None:
    for name in ("a", "b", "c"):
        journal.jobs.add(name, name.encode(), 1.5, "boot")
    journal.jobs.set_state("a", DONE)
    journal.jobs.set_state("b", RUNNING)
    assert journal.jobs.next_rev("b") == (1, 1)
    assert journal.jobs.next_rev("b") == (1, 2)
    again = reopened(journal, tmp_path)
    again.jobs.restart_running()
    found = [(row.job_id, row.state, row.attempt, row.rev) for row in again.jobs.open_jobs()]
    assert found == [("b", QUEUED, 2, 0), ("c", QUEUED, 1, 0)]
    assert again.jobs.get("nobody") is None
    again.close()


def test_finished_jobs_are_forgotten_in_time_and_open_ones_never(journal: Journal) -> None:
    journal.jobs.add("open", b"", 0.0, "boot")
    with journal.transaction():
        for number in range(600):
            journal.jobs.add(f"{number}", b"", 0.0, "boot")
            journal.jobs.set_state(f"{number}", DONE)
    journal.jobs.forget_old()
    assert journal.jobs.get("open") is not None
    assert journal.jobs.get("0") is None
    assert journal.jobs.get("599") is not None


def test_an_answer_waits_for_exactly_its_own_acknowledgement(
    journal: Journal, tmp_path: Path
) -> None:
    journal.outbox.put(Answer("x", 1, 3, b"old"))
    journal.outbox.put(Answer("x", 2, 5, b"new"))
    assert not journal.outbox.acknowledge("x", 1, 3)
    assert not journal.outbox.acknowledge("stranger", 2, 5)
    again = reopened(journal, tmp_path)
    assert again.outbox.pending() == [Answer("x", 2, 5, b"new")]
    assert again.outbox.acknowledge("x", 2, 5)
    assert again.outbox.pending() == []
    assert again.outbox.get("x") == Answer("x", 2, 5, b"new")  # for a repeated question
    again.close()


def test_slots_change_field_by_field(journal: Journal, tmp_path: Path) -> None:
    assert journal.slots.get("main") == SlotRow("main")
    journal.slots.update("main", counter=4, phase="STAGED")
    journal.slots.next_rev("main")
    again = reopened(journal, tmp_path)
    assert again.slots.all() == [SlotRow("main", counter=4, phase="STAGED", rev=1)]
    again.close()


def test_strikes_lead_to_a_ban_under_one_runtime_only(journal: Journal) -> None:
    assert [journal.strikes.strike("d"), journal.strikes.strike("d")] == [1, 2]
    journal.strikes.mark_broken("d", "crashed", "litert 1")
    assert journal.strikes.broken_reason("d", "litert 1") == "crashed"
    assert journal.strikes.broken_reason("d", "litert 2") is None
    assert journal.strikes.forget("other") == 0
    assert journal.strikes.forget() == 1
    assert journal.strikes.broken_reason("d", "litert 1") is None
    assert journal.strikes.strike("d") == 1


def test_a_transaction_is_all_or_nothing(journal: Journal) -> None:

    def fail_half_way() -> None:
        with journal.transaction():
            journal.slots.update("main", counter=8)
            journal.outbox.put(Answer("x", 1, 1, b""))
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    assert journal.slots.get("main").counter == 0
    assert journal.outbox.pending() == []
    journal.slots.update("main", counter=2)
    assert journal.slots.get("main").counter == 2


def test_a_full_disk_is_an_error_and_the_old_content_stays(tmp_path: Path) -> None:
    database = Database(tmp_path / "small.sqlite")
    database.rows("INSERT INTO facts VALUES ('a', '1')")
    database.rows("PRAGMA max_page_count=12")

    def overflow() -> None:
        with database.transaction():
            for number in range(100):
                database.rows("INSERT INTO facts VALUES (?, ?)", f"{number}", "x" * 4000)

    with pytest.raises(StoreError, match="full"):
        overflow()
    database.rows("PRAGMA max_page_count=1000000")
    assert database.rows("SELECT value FROM facts") == [("1",)]
    database.close()


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    database = Database(tmp_path / "journal.sqlite")
    database.rows("PRAGMA user_version=99")
    database.close()
    with pytest.raises(StoreError, match="got 99"):
        Journal(tmp_path / "journal.sqlite")


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_bytes(b"not a database " * 100)
    with pytest.raises(StoreError, match="whole journal"):
        Journal(tmp_path / "journal.sqlite")


def test_everything_committed_before_a_kill_is_there(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from firmware_bridge.store.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for number in range(10):\n"
        "    journal.slots.update('main', counter=number)\n"
        "with journal.transaction():\n"
        "    journal.slots.update('main', counter=77)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "journal.sqlite")]
    died = subprocess.run(command, cwd=PROJECT, timeout=60, check=False)
    assert died.returncode == -9
    journal = Journal(tmp_path / "journal.sqlite")
    assert journal.slots.get("main").counter == 9
    journal.close()
