"""Runs whose schedule has no end may be given another length; all others may not."""

from pathlib import Path

import pytest

from edgenas.train.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from edgenas.train.loop import read_metrics
from edgenas.train.recipe import Recipe
from edgenas.train.samplers import SAMPLERS, build_sampler
from tests.edgenas.train.runs import RECIPE, equal, run
from tests.edgenas.train.samplers.settings import SPACE, setting
from tests.edgenas.train.samplers.settings import run as draws_of

# 16 steps of 8 an epoch, 5 of them float, and whatever else is a share of the run.
FREE = RECIPE.override(
    optimiser="schedule_free", schedule="constant", rate=0.005, warmup=0.2, check_every=4,
    sampler="deps", start_resolution=0.8, shrink_at=0.5, shrink_intervals=3,
)  # fmt: skip


class StoppedError(Exception):
    """In place of Ctrl-C."""


def stopped_at(folder: Path, recipe: Recipe, step: int) -> None:
    def stop(report: object) -> None:
        if getattr(report, "step", 0) >= step:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(folder, recipe, on_step=stop)


def same(one: Checkpoint, two: Checkpoint) -> bool:
    states = [(c.step, c.weights, c.optimiser, c.memory, c.space) for c in (one, two)]
    return equal(*states)


def test_when_it_was_given_its_length_makes_no_difference(tmp_path: Path) -> None:
    """After it had ended, in the middle, in two pieces: every bit is the same."""
    ended = tmp_path / "ended"
    short = run(ended, FREE)
    assert (short.step, short.steps) == (16, 16)
    long = run(ended, FREE.override(epochs=4))
    assert (long.step, long.steps) == (32, 32)
    assert [report.step for report in read_metrics(ended)] == list(range(1, 33))

    stopped_at(tmp_path / "early", FREE, 9)
    assert same(run(tmp_path / "early", FREE.override(epochs=4)), long)

    run(tmp_path / "pieces", FREE)
    run(tmp_path / "pieces", FREE.override(epochs=2.5))
    stopped_at(tmp_path / "pieces", FREE.override(epochs=3), 22)
    assert same(run(tmp_path / "pieces", FREE.override(epochs=4)), long)

    rates = {r.rate for r in read_metrics(ended) if r.step > 3}
    assert rates == {FREE.rate}, "the rise belongs to the length that it began with"
    floats = [r.step for r in read_metrics(ended) if r.phase == "float"]
    assert floats == list(range(1, 6))


def test_it_may_end_earlier(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    stopped_at(folder, FREE, 9)
    with pytest.raises(CheckpointError, match=r"at least 1.125 epochs, for 9 steps are done"):
        run(folder, FREE.override(epochs=1))
    kept = load_checkpoint(folder / "checkpoint.pt")
    ended = run(folder, FREE.override(epochs=1.125))
    assert (ended.step, ended.finished) == (9, True)
    assert equal(ended.weights, kept.weights)
    assert run(folder, FREE).step == 16


def test_it_may_not_end_before_int8_has_begun(tmp_path: Path) -> None:
    stopped_at(tmp_path, FREE, 2)
    with pytest.raises(CheckpointError, match=r"at least 0.75 epochs.*has to be INT8"):
        run(tmp_path, FREE.override(epochs=0.5))
    assert run(tmp_path, FREE.override(epochs=0.75)).step == 6


@pytest.mark.parametrize("changes", [{"schedule": "cosine"}, {"schedule": "one_cycle"}])
def test_a_schedule_with_an_end_keeps_it(tmp_path: Path, changes: dict[str, object]) -> None:
    recipe = FREE.override(**changes)
    stopped_at(tmp_path, recipe, 3)
    with pytest.raises(CheckpointError, match=r"the same recipe .*\n  there: epochs = 2"):
        run(tmp_path, recipe.override(epochs=4))


def test_nothing_else_of_the_recipe_may_change(tmp_path: Path) -> None:
    stopped_at(tmp_path, FREE, 3)
    with pytest.raises(CheckpointError, match=r"there: rate = 0.005\n  asked: rate = 0.1\n"):
        run(tmp_path, FREE.override(epochs=4, rate=0.1))


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_draws_on_after_the_steps_that_it_was_planned_for(name: str) -> None:
    sampler = build_sampler(name, setting(steps=20))
    drawn = draws_of(sampler, SPACE, range(60))
    assert all(drawn)
    assert all(SPACE.check(arch) == arch for archs in drawn for arch in archs)
