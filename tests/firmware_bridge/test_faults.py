"""Faults on order: read from one variable, counted over a life, and off without it."""

import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from firmware_bridge.faults import FAULTS, Fault, Faults, parse_faults
from firmware_bridge.store.journal import Journal
from firmware_bridge.wire.errors import InvalidValueError

PROJECT = Path(__file__).resolve().parents[2]


def test_every_form_is_read() -> None:
    text = "kill:5,enospc:3+2,readonly:9,log:/tmp/a,stall:link:4"
    assert parse_faults(text) == (
        Fault("kill", 5, 1),
        Fault("enospc", 3, 2),
        Fault("readonly", 9, None),
        Fault("log", target="/tmp/a"),
        Fault("stall", 4, target="link"),
    )
    assert parse_faults("") == ()


@pytest.mark.parametrize("text", ["kill", "kill:x", "boom:1", "enospc:1+", "log:", "stall:link"])
def test_other_words_are_refused_with_the_forms(text: str) -> None:
    with pytest.raises(InvalidValueError, match="EDGENAS_FAULT"):
        parse_faults(text)


def test_a_disk_refuses_for_as_long_as_ordered() -> None:
    faults = Faults((Fault("enospc", 3, 3),))
    seen: list[int | None] = []
    for _ in range(4):
        try:
            faults.before("change")
            seen.append(None)
        except OSError as error:
            seen.append(error.errno)
        faults.after("change")
    assert seen == [None, errno.ENOSPC, errno.ENOSPC, None]  # moments 1, 3, 5, 7


def test_nothing_is_ordered_without_the_variable() -> None:
    assert FAULTS.ordered == ()
    assert FAULTS.at_beat("link") is None


def test_moments_are_logged_and_the_kill_comes_at_its_moment(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from firmware_bridge.store.durable import replace_file\n"
        "for n in range(3): replace_file(Path(sys.argv[1]) / f'f{n}', b'x')\n"
    )
    fault = {"EDGENAS_FAULT": f"log:{tmp_path / 'log'},kill:6"}
    command = [sys.executable, "-c", program, str(tmp_path)]
    died = subprocess.run(command, cwd=PROJECT, env={**os.environ, **fault}, check=False)
    assert died.returncode == -9
    assert (tmp_path / "log").read_text().splitlines() == [
        *("1 before write f0", "2 before move to f0", "3 after move to f0"),
        *("4 before write f1", "5 before move to f1", "6 after move to f1"),
    ]
    assert {path.name for path in tmp_path.glob("f*")} == {"f0", "f1"}


def test_a_journal_says_whether_somebody_keeps_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    other = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    assert journal.answers()
    journal._database.rows("PRAGMA busy_timeout=10")
    other.execute("BEGIN IMMEDIATE")
    assert not journal.answers()
    other.execute("ROLLBACK")
    assert journal.answers()
    journal.prove_room()
    journal._database.rows("PRAGMA max_page_count=1")
    assert journal.answers()  # full, but it does answer
    other.close()
    journal.close()


def test_only_what_need_not_wait_for_the_disk_does_not(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    database = journal._database

    def synchronous() -> object:
        return database.rows("PRAGMA synchronous")[0][0]

    full, normal = 2, 1
    assert synchronous() == full
    with database.transaction(durable=False):
        assert synchronous() == normal
    assert synchronous() == full
    with database.transaction(), database.transaction(durable=False):
        assert synchronous() == full
    with pytest.raises(RuntimeError), database.transaction(durable=False):
        raise RuntimeError
    assert synchronous() == full
    journal.close()
