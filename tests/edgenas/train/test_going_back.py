"""Runs that go wrong return to their last good checkpoint; averages and old checkpoints go on."""

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import Tensor

import edgenas.train.loop
from edgenas.model.images import Pixels, to_input
from edgenas.space.arch import Arch
from edgenas.train.checkpoint import Checkpoint, load_checkpoint
from edgenas.train.guards import TrainingDivergedError
from edgenas.train.loop import StepReport, read_metrics
from edgenas.train.recipe import Recipe
from edgenas.train.samplers import build_sampler
from edgenas.train.samplers.base import Setting
from tests.edgenas.train.runs import RECIPE, SPACE, run

LONGER = RECIPE.override(epochs=4)  # 32 steps, a look every 8
SUBNETS = 3
SMALLEST = SPACE.smallest()


class StoppedError(Exception):
    """Ends a run from its caller."""


def _poison(first: int, last: int) -> Callable[[Pixels, int], Tensor]:
    """A preparation of images that gives NaN in so many consecutive steps of this process."""
    calls = 0

    def prepare(images: Pixels, resolution: int) -> Tensor:
        nonlocal calls
        calls += 1
        x = to_input(images, resolution)
        return x * math.nan if first <= (calls - 1) // SUBNETS + 1 <= last else x

    return prepare


def _stop_at(step: int) -> Callable[[StepReport], None]:
    def stop(report: StepReport) -> None:
        if report.step == step:
            raise StoppedError

    return stop


def _history(checkpoint: Checkpoint) -> list[tuple[int, int]]:
    return [(back["step"], back["to"]) for back in checkpoint.memory["guards"]["history"]]


def test_too_many_bad_steps_lead_back_at_half_the_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    monkeypatch.setattr(edgenas.train.loop, "to_input", _poison(10, 20))
    unbroken = run(tmp_path / "unbroken", LONGER, on_note=notes.append)
    assert unbroken.finished
    assert _history(unbroken) == [(20, 8)]
    assert len(notes) == 1
    assert notes[0].endswith("going back to step 8 and on at 0.5 times the rate")
    reports = read_metrics(tmp_path / "unbroken")
    assert [report.step for report in reports] == list(range(1, 33))
    assert not any(report.skipped for report in reports)
    plain = run(tmp_path / "plain", LONGER)
    factors = [
        a.rate / b.rate for a, b in zip(reports, read_metrics(tmp_path / "plain"), strict=True)
    ]
    assert factors == [1.0] * 8 + [0.5] * 24
    assert plain.digest() != unbroken.digest()
    assert not (tmp_path / "unbroken" / "good.pt").exists()

    monkeypatch.setattr(edgenas.train.loop, "to_input", _poison(10, 20))
    with pytest.raises(StoppedError):
        run(tmp_path / "stopped", LONGER, on_step=_stop_at(20))
    kept = load_checkpoint(tmp_path / "stopped" / "checkpoint.pt")
    assert (kept.step, _history(kept)) == (8, [(20, 8)])
    monkeypatch.setattr(edgenas.train.loop, "to_input", to_input)
    resumed = run(tmp_path / "stopped", LONGER)
    assert resumed.digest() == unbroken.digest()
    assert _history(resumed) == [(20, 8)]


def test_a_stop_before_the_way_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the middle of the bad steps: the same way back, with the good state on disk."""
    monkeypatch.setattr(edgenas.train.loop, "to_input", _poison(10, 20))
    unbroken = run(tmp_path / "unbroken", LONGER)
    monkeypatch.setattr(edgenas.train.loop, "to_input", _poison(10, 20))
    with pytest.raises(StoppedError):
        run(tmp_path / "stopped", LONGER, on_step=_stop_at(15))
    monkeypatch.setattr(edgenas.train.loop, "to_input", _poison(1, 5))  # what is left of them
    resumed = run(tmp_path / "stopped", LONGER)
    assert resumed.digest() == unbroken.digest()
    assert _history(resumed) == [(20, 8)]


def test_without_a_good_checkpoint_a_run_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edgenas.train.loop, "to_input", _poison(2, 12))
    again = run(tmp_path, LONGER.override(check_every=20))
    assert _history(again) == [(12, 0)]
    assert [report.step for report in read_metrics(tmp_path)] == list(range(1, 33))


def _scripted(losses: list[float], watched: Arch = SMALLEST) -> Callable[..., float]:
    """The watched subnet's losses, look by look; the others' do not matter."""
    left = iter(losses)
    return lambda net, arch, *rest: next(left) if arch == watched else 0.1


def test_a_collapse_of_the_smallest_subnet_leads_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = [2.0, 1.0, 9.0, 0.9, 1.2]  # at 8, 16, 24, then from 16 on at 24 and 32
    monkeypatch.setattr(edgenas.train.loop, "subnet_loss", _scripted(losses))
    notes: list[str] = []
    done = run(tmp_path, LONGER.override(float_share=0.0), on_note=notes.append)
    assert _history(done) == [(24, 16)]
    assert notes[0].startswith("step 24: expected the smallest subnet to lose at most 1.5 nats")
    assert done.memory["guards"]["best"] == 0.9


def test_giving_up_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = [1.0, 9.0, 9.0, 9.0]
    monkeypatch.setattr(edgenas.train.loop, "subnet_loss", _scripted(losses))
    recipe = LONGER.override(float_share=0.0, rollbacks=2)
    words = r"step 16: .* got 9, after 2 returns .* lower the rate \(`--rate 0.0125`\)"
    with pytest.raises(TrainingDivergedError, match=words):
        run(tmp_path, recipe)
    assert (
        load_checkpoint(tmp_path / "checkpoint.pt").step == 15
    )  # the same command tells the same again


def test_the_largest_subnet_is_judged_while_it_is_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A smallest one that nothing trains may be as bad as it likes."""
    losses = iter([(1.0, 1.0), (0.9, 9.0), (0.8, 3.0), (0.7, 2.9)])
    now = [(0.0, 0.0)]

    def loss(net: object, arch: Arch, *rest: object) -> float:
        if arch == SPACE.largest():  # looked at first
            now[0] = next(losses)
        return now[0][arch != SPACE.largest()]

    monkeypatch.setattr(edgenas.train.loop, "subnet_loss", loss)
    recipe = RECIPE.override(epochs=1, sampler="deps", check_every=2)  # alone for 4 steps of 8
    assert _history(run(tmp_path, recipe)) == []
    looks = [(r.watched_largest, r.watched_smallest) for r in read_metrics(tmp_path)]
    assert looks[1::2] == [(1.0, 1.0), (0.9, 9.0), (0.8, 3.0), (0.7, 2.9)]
    assert all(math.isnan(loss) for pair in looks[::2] for loss in pair)


@pytest.mark.parametrize("sampler", ["uniform", "sandwich_in_turns", "sortednet"])
def test_a_collapse_is_seen_where_a_step_trains_one_subnet(
    sampler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = build_sampler(sampler, Setting(SPACE)).least(0)
    losses = _scripted([2.0, 1.0, 9.0, 0.9, 1.2], watched)
    monkeypatch.setattr(edgenas.train.loop, "subnet_loss", losses)
    recipe = LONGER.override(float_share=0.0, sampler=sampler, teachers=())
    assert _history(run(tmp_path, recipe)) == [(24, 16)]


def test_a_good_checkpoint_of_another_run_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "good.pt").write_bytes(b"of another run")
    run(tmp_path, RECIPE.override(epochs=0.5))
    assert not (tmp_path / "good.pt").exists()


def test_the_average_is_what_is_evaluated(tmp_path: Path) -> None:
    recipe = RECIPE.override(average=0.9)
    averaged, plain = run(tmp_path / "averaged", recipe), run(tmp_path / "plain")
    assert averaged.digest() != plain.digest()
    live = averaged.live
    assert live.keys() == plain.weights.keys()
    assert all(torch.equal(live[name], plain.weights[name]) for name in live)  # untouched by it
    state = averaged.supernet().state_dict()
    assert all(torch.equal(state[name], averaged.weights[name]) for name in state)
    assert torch.equal(averaged.weights["ranges"], plain.weights["ranges"])


def test_schedule_free_keeps_its_average_and_its_path(tmp_path: Path) -> None:
    recipe = RECIPE.override(optimiser="schedule_free", schedule="constant", rate=0.005)
    done = run(tmp_path, recipe)
    states = done.optimiser["state"].values()
    averages = sorted(float(state["x"].double().sum()) for state in states)
    names = [name for name in done.weights if name != "ranges"]
    assert averages == sorted(float(done.weights[name].double().sum()) for name in names)
    assert all(not torch.equal(state["x"], state["z"]) for state in states)


def test_a_checkpoint_of_the_first_version_goes_on(tmp_path: Path) -> None:
    """It says nothing of what came later, and the run ends as it would have ended then."""
    unbroken = run(tmp_path / "unbroken")
    with pytest.raises(StoppedError):
        run(tmp_path / "old", on_step=_stop_at(9))
    path = tmp_path / "old" / "checkpoint.pt"
    body = torch.load(path, weights_only=True)
    first: tuple[str, ...] = (
        "epochs",
        "batch",
        "rate",
        "warmup",
        "float_share",
        "random_subnets",
        "seed",
        "flip",
    )
    first += ("label_smoothing", "weight_decay", "clip_norm", "shift", "checkpoint_every")
    assert asdict(Recipe()).keys() > set(first)
    body["recipe"] = {name: body["recipe"][name] for name in first}
    del body["live"], body["memory"]
    torch.save(body, path)
    assert load_checkpoint(path).recipe == RECIPE
    resumed = run(tmp_path / "old")
    assert resumed.digest() == unbroken.digest()
    assert resumed.typical_loss == unbroken.typical_loss


def test_growing_images_begin_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sides: list[int] = []

    def spy(images: Pixels, resolution: int) -> Tensor:
        sides.append(resolution)
        return to_input(images, resolution)

    monkeypatch.setattr(edgenas.train.loop, "to_input", spy)
    run(tmp_path, RECIPE.override(start_resolution=0.9, grow_until=0.5))
    largest = sides[::SUBNETS]
    assert largest == [8] * 8 + [9] * 8
    assert SPACE.resolutions == (8, 9)
