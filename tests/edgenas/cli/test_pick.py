"""`edgenas pick` for limits that are not those of the search."""

import random
from pathlib import Path

import pytest

from edgenas.campaign.finals import FinalsPlan, finalists_of
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.picking import pick_all, read_picks, save_setups
from edgenas.campaign.rundir import RunDir
from edgenas.cli.main import main
from edgenas.search.budget import Budget
from edgenas.search.study import Study
from tests.edgenas.cli.conftest import Calls
from tests.edgenas.search.analytic import DEVICE, DIGITS, outcome
from tests.edgenas.search.study_cases import IDENTITY

FINALS = FinalsPlan(count=4, sessions=1, level="certify")


@pytest.fixture
def certified(tmp_path: Path) -> RunDir:
    """A run folder whose finalists were certified for 1 ms."""
    folder, setups = RunDir(tmp_path), [DeviceSetup(DEVICE)]
    archs = dict.fromkeys(DIGITS.sample_by_size(random.Random(i)) for i in range(64))
    with Study.open(folder.study, IDENTITY) as study:
        for trial in study.ask(DEVICE, "random", archs):
            study.record(trial.number, outcome(DIGITS, trial.arch))
        study.set_budget(DEVICE, Budget(1.0, None, "given: 1ms"))
        for arch in finalists_of(study, DEVICE, FINALS):
            study.add_session(DEVICE, arch, outcome(DIGITS, arch, level="certify"))
        save_setups(folder, study, setups, FINALS)
        pick_all(folder, study, setups, FINALS)
    return folder


def accuracy(run: RunDir) -> float:
    (picked,) = read_picks(run)
    assert picked.arch is not None
    return outcome(DIGITS, picked.arch).accuracy


def test_a_looser_limit_makes_no_pick_worse_and_says_what_was_not_certified(
    certified: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    before = accuracy(certified)
    assert main(["pick", str(certified.path)]) == 0
    assert capsys.readouterr().err == ""
    assert main(["pick", str(certified.path), "--budget", "2ms"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {DEVICE}: the shortlist for these limits has ")
    assert "edgenas search" in line
    assert accuracy(certified) >= before
    with Study.read(certified.study) as study:
        assert study.budgets()[DEVICE].latency_p95_ms == 2.0


def test_a_limit_that_nothing_meets_is_not_kept(certified: RunDir, edgenas: Calls) -> None:
    before = certified.picks.read_bytes()
    assert "the tightest limit is p95" in edgenas.error("pick", certified.path, "--budget", "1us")
    assert certified.picks.read_bytes() == before
    with Study.read(certified.study) as study:
        assert study.budgets()[DEVICE].latency_p95_ms == 1.0
