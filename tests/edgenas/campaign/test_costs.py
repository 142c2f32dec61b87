"""What cost bins are made of: named, kept, refused."""

import math
import random
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from edgenas.campaign.costs import chosen_cost
from edgenas.campaign.errors import CampaignError, RunFolderError
from edgenas.campaign.progress import Silent
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.training import TrainOptions, train_run
from edgenas.search.study import Study
from edgenas.space.narrowing import narrowed_by
from edgenas.train.checkpoint import CheckpointError
from edgenas.train.recipe import RecipeError
from tests.edgenas.campaign.runs import COMMAND, OPTIONS, Killer
from tests.edgenas.search.analytic import DIGITS, latency_ms, outcome
from tests.edgenas.search.study_cases import IDENTITY

# Draws every subnet from the bins of cost.
BINNED = replace(
    OPTIONS, overrides={"epochs": 0.5, "sampler": "attentive_best_up", "random_subnets": 1}
)


def study_of(path: Path, devices: Mapping[str, int], space: str = "digits") -> Path:
    """A study in which so many networks were measured on each device."""
    with Study.open(path, replace(IDENTITY, space=space)) as study:
        for device, count in devices.items():
            rng = random.Random(device)
            archs = dict.fromkeys(DIGITS.sample_by_size(rng) for _ in range(2 * count))
            for trial in study.ask(device, "random", list(archs)[:count]):
                study.record(trial.number, outcome(DIGITS, trial.arch))
    return path


def by(cost: str | None) -> TrainOptions:
    return replace(BINNED, cost=None if cost is None else partial(chosen_cost, cost))


def test_a_run_keeps_the_latencies_that_it_began_with(tmp_path: Path) -> None:
    """The study goes on, or is gone: the same command ends as if nothing had come between."""
    study = study_of(tmp_path / "study.sqlite", {"pi4": 20})
    whole, halved, other = (RunDir(tmp_path / name) for name in ("whole", "halved", "other"))
    asked = by(f"{study}=pi4")
    unbroken, _ = train_run(whole, asked, COMMAND, Silent())
    with pytest.raises(KeyboardInterrupt):
        train_run(halved, asked, COMMAND, Killer(3))
    with Study.open(study, IDENTITY) as growing:
        (trial,) = growing.ask("pi4", "spos", [DIGITS.smallest()])
        growing.record(trial.number, outcome(DIGITS, trial.arch, slower=3.0))
    checkpoint, _ = train_run(halved, asked, COMMAND, Silent())
    assert checkpoint.digest() == unbroken.digest()
    study.unlink()
    assert train_run(halved, asked, COMMAND, Silent())[0].digest() == unbroken.digest()
    by_macs, _ = train_run(other, by("macs"), COMMAND, Silent())
    assert by_macs.digest() != unbroken.digest(), "bins of latency draw other subnets"
    assert not other.cost.exists()
    halved.cost.write_text("{")
    with pytest.raises(RunFolderError, match=r"cost\.json: expected JSON"):
        train_run(halved, asked, COMMAND, Silent())


@pytest.mark.parametrize("now", [None, "bytes", "other"])
def test_another_cost_is_refused(tmp_path: Path, now: str | None) -> None:
    run = RunDir(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        train_run(run, by("macs"), COMMAND, Killer(2))
    before = run.checkpoint.read_bytes()
    if now == "other":
        now = f"{study_of(tmp_path / 'study.sqlite', {'pi4': 20})}"
    with pytest.raises(CheckpointError, match=r"same cost .*\n  there: macs\n  asked: (.+)\n"):
        train_run(run, by(now), COMMAND, Silent())
    assert run.checkpoint.read_bytes() == before
    assert not run.cost.exists()


WRONG = {
    "few": ({"pi4": 7}, "", "at least 8 networks of space digits that device pi4 .* got 7"),
    "none": ({"pi4": 9}, "=pi5", r"device pi5 measured, got 0 \(devices there: pi4\)"),
    "two": ({"pi4": 9, "pi5": 9}, "", r"got pi4, pi5; write --cost .*sqlite=DEVICE"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_study_that_says_too_little(tmp_path: Path, what: str) -> None:
    devices, device, words = WRONG[what]
    study = study_of(tmp_path / "study.sqlite", devices)
    run = RunDir(tmp_path / "run")
    with pytest.raises(CampaignError, match=words):
        train_run(run, by(f"{study}{device}"), COMMAND, Silent())
    assert not run.path.exists()


def test_no_study_and_one_of_another_space(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    with pytest.raises(CampaignError, match=r"expected macs, bytes or .* got .*nothing\.sqlite"):
        chosen_cost(str(tmp_path / "nothing.sqlite"), DIGITS, run)
    study = study_of(tmp_path / "study.sqlite", {"pi4": 9}, "fashion")
    with pytest.raises(CampaignError, match="of the space digits, got fashion"):
        chosen_cost(str(study), DIGITS, run)


def test_a_cost_that_nobody_looks_at_is_refused(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    with pytest.raises(RecipeError, match=r"cost macs: expected a sampler .*got sandwich_in_turns"):
        train_run(run, replace(OPTIONS, cost=partial(chosen_cost, "macs")), COMMAND, Silent())
    assert not run.path.exists()


def test_costs_are_those_of_the_space_and_of_the_device(tmp_path: Path) -> None:
    study = study_of(tmp_path / "study.sqlite", {"pi4": 40})
    run, rng = RunDir(tmp_path / "run"), random.Random(1)
    macs, size, latency = (
        chosen_cost(text, DIGITS, run).cost for text in ("macs", "bytes", str(study))
    )
    for arch in (DIGITS.sample(rng) for _ in range(30)):
        assert (macs.of(arch), size.of(arch)) == (DIGITS.macs(arch), DIGITS.weight_bytes(arch))
        assert latency.of(arch) == pytest.approx(latency_ms(DIGITS, arch), rel=0.25)
    part = narrowed_by(DIGITS, {"resolution": DIGITS.resolutions[:2]})
    with pytest.raises(CampaignError, match=r"at least 8|got no measurements"):
        chosen_cost(f"{study_of(tmp_path / 'few.sqlite', {'pi4': 8})}=pi4", part, run)
    assert math.isfinite(chosen_cost(str(study), part, run).cost.of(part.largest()))
