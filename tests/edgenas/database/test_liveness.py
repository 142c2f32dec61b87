"""Who is still there: a lock ends with the process that holds it, however it ends."""

import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from edgenas.database.address import Where
from edgenas.fleet.journal import FleetJournal
from tests.databases import place

ROOT = Path(__file__).parents[3]
HOLDER = """
import sys, time
from edgenas.fleet.journal import FleetJournal
journal = FleetJournal(sys.argv[1])
print(journal.workers.me, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def where(tmp_path: Path) -> Where:
    return place(tmp_path / "fleet.sqlite")


@pytest.mark.parametrize("how", [signal.SIGKILL, None])
def test_a_process_is_alive_until_it_ends(where: Where, how: signal.Signals | None) -> None:
    with closing(FleetJournal(where)) as mine:
        assert not mine.workers.others()
        with subprocess.Popen(
            *([sys.executable, "-c", HOLDER, str(where)],),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as other:
            assert other.stdout is not None
            number = int(other.stdout.readline())
            assert mine.workers.alive(number)
            assert mine.workers.others()
            if how is None:
                other.communicate("\n")
            else:
                other.send_signal(how)
                other.wait()
        assert not mine.workers.alive(number)
        assert not mine.workers.others()
        assert mine.workers.alive(mine.workers.me)


def test_two_journals_of_one_process_are_two_workers(where: Where) -> None:
    with closing(FleetJournal(where)) as one:
        two = FleetJournal(where)
        assert one.workers.me != two.workers.me
        assert one.workers.alive(two.workers.me)
        assert two.workers.alive(one.workers.me)
        two.close()
        assert not one.workers.alive(two.workers.me)


def test_nobody_is_not_alive(where: Where) -> None:
    with closing(FleetJournal(where)) as journal:
        assert not journal.workers.alive(None)
        assert not journal.workers.alive(0)
        assert not journal.workers.alive(10**6)
