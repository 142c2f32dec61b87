"""The worked example runs on a trained run, goes on where it stopped, and keeps its promises."""

from pathlib import Path

import pytest
import torch

from edgenas.campaign.rundir import RunDir
from edgenas.search.api import Budget
from edgenas.search.study import Study
from edgenas.space import PRESETS
from examples.own_search import DEVICE, FrugalClimb, TrafficScore, search_here
from tests.edgenas.campaign.runs import copy_of, trained_run
from tests.edgenas.search.analytic import complete

torch.set_num_threads(1)


@pytest.mark.timeout(600)  # it may have to train first
def test_the_example_searches_on_this_machine(
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDGENAS_MEASURE_LOCK", str(tmp_path / "measure.lock"))
    run: RunDir = copy_of(trained_run(tmp_path_factory), tmp_path / "run")
    search_here(run, 2, Budget(1000.0))
    said = capsys.readouterr().out
    assert said.count(" moves ") == 2
    assert "best: r" in said or "best: " in said.splitlines()[-1]
    search_here(run, 3, Budget(1000.0))
    with Study.read(run.study) as study:
        trials = study.trials(DEVICE, "frugal")
    assert all(trial.value is not None for trial in trials)
    assert len({trial.arch.id for trial in trials}) == len(trials) == 4


def test_its_searcher_depends_on_what_it_was_told_alone() -> None:
    space = PRESETS["digits"]
    one, two = (FrugalClimb(space, device="board-a", seed=3) for _ in range(2))
    for number in range(6):
        (arch,), (same,) = one.ask(), two.ask()
        assert arch == same
        for searcher in (one, two):
            searcher.tell(complete(number, arch, "frugal"))
    again = FrugalClimb(space, device="board-a", seed=3)
    again.resume(reversed(one._history()))
    assert again.ask() == one.ask()


def test_its_score_grows_with_the_network() -> None:
    score = TrafficScore(PRESETS["digits"])
    assert score.of(PRESETS["digits"].largest()) > score.of(PRESETS["digits"].smallest()) > 0
