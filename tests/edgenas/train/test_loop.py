"""The loop: it learns, it refuses what it cannot do, and a bad step leaves no trace."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import edgenas.train.keeping
import edgenas.train.loop
from edgenas.model.calibrate import calibrate
from edgenas.model.images import Pixels, input_batches, to_input
from edgenas.model.supernet import Supernet
from edgenas.space.arch import Arch
from edgenas.train.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from edgenas.train.loop import StepReport, TrainingDivergedError, read_metrics, train
from edgenas.train.recipe import Recipe
from tests.edgenas.train.quota import file_size_limit
from tests.edgenas.train.runs import DATA, RECIPE, SPACE, digits, run


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, list[StepReport]]:
    """A run long enough to learn something, and what its metrics say."""
    folder = tmp_path_factory.mktemp("learned")
    recipe = Recipe(epochs=10, batch=64, rate=0.15, random_subnets=1, shift=0.0, seed=1)
    return run(folder, recipe, images=900), read_metrics(folder)


def _accuracy(net: Supernet, arch: Arch) -> float:
    split = digits()
    x = torch.cat(list(input_batches(split.images, arch.resolution, 100)))
    calibration = calibrate(net, arch, [x[:900]])
    with torch.no_grad():
        guesses = net(x[900:], arch, calibration=calibration).argmax(1).numpy()
    return float(np.mean(guesses == split.labels[900:]))


def test_the_largest_and_the_smallest_subnet_learn(
    learned: tuple[Checkpoint, list[StepReport]],
) -> None:
    checkpoint, reports = learned
    assert checkpoint.finished
    assert [report.step for report in reports] == list(range(1, checkpoint.steps + 1))
    first, last = reports[:10], reports[-10:]
    assert np.mean([r.loss_largest for r in last]) < 0.6 * np.mean([r.loss_largest for r in first])
    net = checkpoint.supernet()
    assert _accuracy(net, SPACE.largest()) > 0.8
    assert _accuracy(net, SPACE.smallest()) > 0.7


def test_phases_and_rates(learned: tuple[Checkpoint, list[StepReport]]) -> None:
    _, reports = learned
    phases = [report.phase for report in reports]
    share = round(0.15 * len(reports))
    assert phases == ["float"] * share + ["int8"] * (len(reports) - share)
    rates = np.array([report.rate for report in reports])
    assert rates.max() == pytest.approx(0.15)
    peak = int(rates.argmax())
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak + 1 :]) < 0).all()
    assert 0 < rates[-1] < 0.01 * rates.max()


def test_every_tensor_has_a_range_afterwards(
    learned: tuple[Checkpoint, list[StepReport]],
) -> None:
    net = learned[0].supernet()
    lo, hi = net.ranges.unbind(1)
    met = {"input", *(la.name for arch in (SPACE.largest(),) for la in SPACE.layers(arch))}
    assert all(hi[net.row(name)] > lo[net.row(name)] for name in met)


def test_equal_commands_give_equal_weights(tmp_path: Path) -> None:
    one, two = run(tmp_path / "a"), run(tmp_path / "b")
    other = run(tmp_path / "c", RECIPE.override(seed=4))
    assert one.digest() == two.digest() != other.digest()


@pytest.mark.parametrize(("share", "floats"), [(0.0, 0), (0.02, 0), (0.5, 4), (0.99, 7)])
def test_shares_of_float_steps(tmp_path: Path, share: float, floats: int) -> None:
    """However small or large the share: ranges are observed first, and the end is INT8."""
    checkpoint = run(tmp_path, RECIPE.override(epochs=1, float_share=share))
    phases = [report.phase for report in read_metrics(tmp_path)]
    assert phases == ["float"] * floats + ["int8"] * (8 - floats)
    net = checkpoint.supernet()
    x = to_input(digits().images[:64], 9)
    with torch.no_grad():
        spread = net(x, SPACE.largest()).std(0)
    assert spread.min() > 0.02  # logits that differ between images: nothing was clipped away
    widths = net.ranges[:, 1] - net.ranges[:, 0]
    assert widths[net.row("head")] > 0.5


def test_no_float_share_observes_ranges_as_a_small_one_does(tmp_path: Path) -> None:
    recipe = RECIPE.override(epochs=0.5)
    none = run(tmp_path / "none", recipe.override(float_share=0.0))
    small = run(tmp_path / "small", recipe.override(float_share=0.02))
    assert none.digest() == small.digest()


def test_a_single_step(tmp_path: Path) -> None:
    checkpoint = run(tmp_path, RECIPE.override(epochs=0.01))
    assert (checkpoint.step, checkpoint.steps) == (1, 1)
    assert [report.phase for report in read_metrics(tmp_path)] == ["int8"]


@pytest.mark.parametrize("change", ["recipe", "space", "data"])
def test_another_run_in_the_same_folder_is_refused(tmp_path: Path, change: str) -> None:
    run(tmp_path, RECIPE.override(epochs=0.3))
    before = load_checkpoint(tmp_path / "checkpoint.pt").digest()
    with pytest.raises(CheckpointError, match=rf"expected the same {change} .*\n.*there: .*\n"):
        run(
            tmp_path,
            RECIPE.override(epochs=0.3, seed=9 if change == "recipe" else None),
            space=SPACE.restrict(resolutions=(8,)) if change == "space" else SPACE,
            data="others" if change == "data" else DATA,
        )
    assert load_checkpoint(tmp_path / "checkpoint.pt").digest() == before


def test_a_finished_run_is_only_read(tmp_path: Path) -> None:
    first = run(tmp_path, RECIPE.override(epochs=0.3))
    file = tmp_path / "checkpoint.pt"
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    steps: list[int] = []
    second = run(tmp_path, RECIPE.override(epochs=0.3), on_step=lambda r: steps.append(r.step))
    assert second.digest() == first.digest()
    assert not steps
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


def test_a_damaged_checkpoint_stops_the_run(tmp_path: Path) -> None:
    run(tmp_path, RECIPE.override(epochs=0.3))
    file = tmp_path / "checkpoint.pt"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="something unreadable"):
        run(tmp_path, RECIPE.override(epochs=0.3))


def test_a_rate_that_diverges(tmp_path: Path) -> None:
    recipe = RECIPE.override(epochs=4, rate=1e6, warmup=0.0)
    notes: list[str] = []
    words = r"more than 10 steps of late, after 3 returns .* lower the rate \(`--rate 62500`\)"
    with pytest.raises(TrainingDivergedError, match=words):
        run(tmp_path, recipe, on_note=notes.append)
    assert [note.rpartition("going back to ")[2] for note in notes] == [
        f"step 0 and on at {share:g} times the rate" for share in (0.5, 0.25, 0.125)
    ]
    kept = load_checkpoint(tmp_path / "checkpoint.pt")
    assert kept.step < kept.steps
    assert all(value.isfinite().all() for value in kept.weights.values())


def _poison(step: int) -> Callable[[Pixels, int], Tensor]:
    """A preparation of images that gives NaN to all subnets of one step."""
    calls = 0

    def prepare(images: Pixels, resolution: int) -> Tensor:
        nonlocal calls
        calls += 1
        x = to_input(images, resolution)
        archs = 2 + RECIPE.random_subnets
        return x * math.nan if (calls - 1) // archs == step else x

    return prepare


def test_a_step_with_nan_logits_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edgenas.train.loop, "to_input", _poison(9))
    states: list[Checkpoint] = []
    reports: list[StepReport] = []

    def on_step(report: StepReport) -> None:
        reports.append(report)
        states.append(load_checkpoint(tmp_path / "checkpoint.pt"))

    final = run(tmp_path, on_step=on_step)
    assert [report.step for report in reports if report.skipped] == [10]
    assert math.isnan(reports[9].loss_largest)
    assert states[9].digest() == states[8].digest()  # ranges included
    assert states[9].skips == 1.0
    assert all(value.isfinite().all() for value in final.weights.values())
    assert all(math.isfinite(report.loss_largest) for report in reports[10:])


def test_the_guard_against_bad_steps_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edgenas.train.loop, "to_input", _poison(9))

    def stop(report: StepReport) -> None:
        if report.step == 11:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        run(tmp_path / "broken", on_step=stop)
    monkeypatch.setattr(edgenas.train.loop, "to_input", to_input)
    broken = run(tmp_path / "broken")
    monkeypatch.setattr(edgenas.train.loop, "to_input", _poison(9))
    unbroken = run(tmp_path / "unbroken")
    assert broken.digest() == unbroken.digest()
    assert (broken.typical_loss, broken.skips) == (unbroken.typical_loss, unbroken.skips)


def test_a_full_disk_keeps_the_last_whole_step(tmp_path: Path) -> None:
    size: list[int] = []

    def on_step(report: StepReport) -> None:
        if report.step == 5:
            size.append((tmp_path / "run" / "checkpoint.pt").stat().st_size)
            raise _FullError

    with pytest.raises(_FullError):
        run(tmp_path / "run", on_step=on_step)
    with (
        file_size_limit(size[0] // 2),
        pytest.raises(
            CheckpointError, match=r"free disk space .* goes on from the last checkpoint"
        ),
    ):
        run(tmp_path / "run")
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt").step == 5
    assert run(tmp_path / "run").digest() == run(tmp_path / "unbroken").digest()
    assert _steps(tmp_path / "run") == _steps(tmp_path / "unbroken")


class _FullError(Exception):
    """Ends a run from its caller."""


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="expected to write there"):
        run(tmp_path / "file")


def test_metrics_without_a_checkpoint_belong_to_no_run(tmp_path: Path) -> None:
    """A kill before the first checkpoint: the lines of the lost steps go."""
    recipe = RECIPE.override(epochs=0.4, checkpoint_every=10)
    run(tmp_path, recipe)
    (tmp_path / "checkpoint.pt").unlink()
    run(tmp_path, recipe)
    assert _steps(tmp_path) == [1, 2, 3]


def test_metrics_are_cut_to_the_checkpoint(tmp_path: Path) -> None:
    run(tmp_path, RECIPE.override(epochs=0.5))
    path = tmp_path / "metrics.jsonl"
    lines = path.read_text("utf-8").splitlines()
    later = [json.dumps({**json.loads(lines[-1]), "step": step}) for step in (5, 6)]
    torn = json.dumps(json.loads(lines[0]))[:40]
    path.write_bytes("\n".join([*lines, *later, "[]", torn]).encode() + b"\xff\x00")
    assert [report.step for report in read_metrics(tmp_path)] == [1, 2, 3, 4, 5, 6]
    run(tmp_path, RECIPE.override(epochs=0.5))
    assert path.read_text("utf-8").splitlines() == lines
    assert read_metrics(tmp_path / "nowhere") == []


def test_the_last_checkpoint_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[tuple[int, bool]] = []

    def spy(checkpoint: Checkpoint, path: Path, *, durable: bool = True) -> None:
        saved.append((checkpoint.step, durable))
        save_checkpoint(checkpoint, path, durable=durable)

    monkeypatch.setattr(edgenas.train.keeping, "save_checkpoint", spy)
    run(tmp_path, RECIPE.override(epochs=0.4))
    assert saved == [(1, False), (2, False), (3, False), (3, True)]


def test_colour_images_and_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (64, 9, 9, 3), dtype=np.uint8)
    labels = np.arange(64, dtype=np.int64) % 10
    space = SPACE.restrict(resolutions=(9,))
    colour = type(space)(**{**vars(space), "channels": 3})
    recipe = RECIPE.override(epochs=1, checkpoint_every=10)
    checkpoint = train(colour, images, labels, recipe, tmp_path / "a" / "b", DATA)
    assert checkpoint.finished
    assert _steps(tmp_path / "a" / "b") == [1, 2]


def _steps(folder: Path) -> list[int]:
    return [report.step for report in read_metrics(folder)]
