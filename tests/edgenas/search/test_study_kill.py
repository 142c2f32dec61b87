"""A study whose writer is killed with SIGKILL, again and again: nothing acknowledged is lost."""

import subprocess
import sys
from pathlib import Path

import pytest

from edgenas.database.address import Where
from edgenas.search.study import Study
from tests.databases import place
from tests.edgenas.search.analytic import DIGITS, outcome
from tests.edgenas.search.study_cases import IDENTITY

ROOT = Path(__file__).parents[3]


def write_until_killed(where: Where, round_number: int, lines: int) -> list[list[str]]:
    """Let a process write, kill it after so many acknowledgements; return all that it gave."""
    command = [sys.executable, "-m", "tests.edgenas.search.study_writer", str(where)]
    with subprocess.Popen(
        [*command, str(round_number)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        try:
            said = [child.stdout.readline() for _ in range(lines)]
            with Study.read(where) as reader:  # while it writes
                check_acknowledged(reader, [line.split() for line in said])
        finally:
            child.kill()
        said += child.stdout.readlines()
    assert child.returncode == -9
    return [line.split() for line in said if line.endswith("\n")]


def check_acknowledged(study: Study, said: list[list[str]]) -> None:
    """Assert that everything said to be recorded is there, with its content."""
    trials = {trial.number: trial for trial in study.trials()}
    sessions = {(s.device, s.arch.id): s for s in study.sessions()}
    for what, which, arch_id in said:
        if what == "session":
            session = sessions[(which, arch_id)]
            assert session.result == outcome(DIGITS, session.arch)
            continue
        trial = trials[int(which)]
        assert trial.arch.id == arch_id
        if what == "complete":
            assert trial.value == outcome(DIGITS, trial.arch)
            assert study.raw(trial.number) == {"samples_ns": list(range(200))}


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    where = place(tmp_path / "study.sqlite")
    said: list[list[str]] = []
    for round_number in range(6):
        said += write_until_killed(where, round_number, lines=20 + round_number)
        with Study.open(where, IDENTITY) as study:
            check_acknowledged(study, said)
            pending = study.pending()
            assert len(pending) <= round_number + 1  # at most the one in work at each kill
            unbroken = range(1, len(study.trials()) + 1)
            assert [trial.number for trial in study.trials()] == list(unbroken)
    assert len(said) > 6 * 20
