"""The training step: what it keeps, what it refuses, and that refusing changes nothing."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgenas.campaign import training
from edgenas.campaign.errors import RunFolderError
from edgenas.campaign.progress import Silent
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.training import Figures, TrainOptions, open_run, scorer_of, train_run
from edgenas.data import DataError, load_data
from edgenas.space.arch import ArchError
from edgenas.space.presets import preset
from edgenas.space.space_file import read_space_file
from edgenas.train.checkpoint import CheckpointError, load_checkpoint
from edgenas.train.loop import StepReport
from edgenas.train.recipe import RecipeError
from tests.edgenas.campaign.runs import COMMAND, OPTIONS, Killer, Listener


def content(run: RunDir) -> dict[str, str]:
    """Digest of every file of the training step."""
    paths = (run.card, run.checkpoint, run.path / "metrics.jsonl")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_a_finished_training_is_left_as_it_is(run: RunDir) -> None:
    before, listener = content(run), Listener()
    checkpoint, data = train_run(run, OPTIONS, "edgenas train again", listener)
    assert content(run) == before
    assert checkpoint.finished
    assert listener.advances == []
    assert run.read_card().command == COMMAND
    reopened, _ = open_run(run)
    assert reopened.digest() == checkpoint.digest()
    assert data.test_reads == 0


OTHERS: dict[str, TrainOptions] = {
    "seed": replace(OPTIONS, seed=1),
    "preset": replace(OPTIONS, preset="fashion"),
    "epochs": replace(OPTIONS, overrides={"epochs": 3.0}),
    "recipe": replace(OPTIONS, recipe="digits"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_run_does_not_touch_the_folder(run: RunDir, what: str) -> None:
    before = content(run)
    with pytest.raises((RunFolderError, CheckpointError), match="--out"):
        train_run(run, OTHERS[what], "edgenas train --other", Silent())
    assert content(run) == before
    open_run(run)


def test_an_interrupted_training_is_told_and_goes_on(trained: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        train_run(run, OPTIONS, COMMAND, Killer(3))
    kept = load_checkpoint(run.checkpoint)
    assert kept.step == 3
    with pytest.raises(RunFolderError, match=rf"got step 3 of {kept.steps}.*{COMMAND}"):
        open_run(run)
    listener = Listener()
    checkpoint, _ = train_run(run, OPTIONS, COMMAND, listener)
    assert [done for done, _ in listener.advances] == list(range(4, kept.steps + 1))
    assert checkpoint.digest() == load_checkpoint(trained / "checkpoint.pt").digest()


def test_a_run_without_an_end_is_given_more_epochs(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    free = replace(OPTIONS, recipe="schedule-free", overrides={"epochs": 0.2})
    command = "edgenas train --recipe schedule-free --epochs 0.2"
    first, _ = train_run(run, free, command, Silent())
    more = replace(free, overrides={"epochs": 0.5})
    with pytest.raises(KeyboardInterrupt):
        train_run(run, more, "edgenas train --epochs 0.5", Killer(first.steps + 1))
    with pytest.raises(RunFolderError, match=rf"to go on: {command} --epochs 0\.5$"):
        open_run(run)
    checkpoint, _ = train_run(run, more, command, Silent())
    assert checkpoint.finished
    assert checkpoint.steps > first.steps
    open_run(run)


def test_a_lost_card_is_written_anew(run: RunDir) -> None:
    card = run.read_card()
    run.card.unlink()
    with pytest.raises(RunFolderError, match="run `edgenas train`"):
        open_run(run)
    train_run(run, OPTIONS, COMMAND, Silent())
    assert run.read_card() == card


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "preset": ({"preset": "huge"}, ArchError, "preset: expected one of digits, .*'huge'"),
    "recipe": ({"recipe": "huge"}, RecipeError, "recipe: expected one of digits, .*'huge'"),
    "data": ({"data": "no such folder"}, DataError, "'no such folder'"),
    "root": ({"data": "cifar10", "preset": "cifar"}, DataError, "cifar10"),
    "batch": ({"overrides": {"batch": 5000}}, RecipeError, "5000 images, got .*--batch"),
    "epochs": ({"overrides": {"epochs": 0}}, RecipeError, "epochs"),
    "unseen": (
        {"overrides": {"sampler": "shiftnas"}},
        RecipeError,
        "held_out: expected > 0 .* --recipe-file, or .* `--recipe shiftnas`",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_options_make_no_folder(tmp_path: Path, what: str) -> None:
    changes, kind, words = WRONG[what]
    options: TrainOptions = replace(OPTIONS, **changes)
    with pytest.raises(kind, match=words):
        train_run(RunDir(tmp_path / "run"), options, COMMAND, Silent())
    assert not (tmp_path / "run").exists()


def test_other_images_under_the_same_name_are_noticed(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain: Callable[..., Any] = load_data
    monkeypatch.setattr(
        training,
        "load_data",
        lambda data, root, **options: plain(data, root, **options | {"seed": 9}),
    )
    with pytest.raises(RunFolderError, match="restore the data set"):
        open_run(run)


def test_a_damaged_checkpoint_is_named(run: RunDir) -> None:
    body = bytearray(run.checkpoint.read_bytes())
    body[len(body) // 2] ^= 0xFF
    run.checkpoint.write_bytes(bytes(body))
    with pytest.raises(CheckpointError, match=r"checkpoint.pt: expected an edgenas checkpoint"):
        open_run(run)
    run.checkpoint.write_bytes(b"")
    with pytest.raises(CheckpointError, match="restore it from a copy"):
        train_run(run, OPTIONS, COMMAND, Silent())
    assert run.checkpoint.read_bytes() == b""


def _report(step: int, **changes: float) -> StepReport:
    plain = StepReport(step, 1000, "int8", 0.1, 0.5, 0.75, 0.625, 128.0, False)
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_the_live_line() -> None:
    figures = Figures(batch=64)
    line = figures.of(_report(1000 - 130))
    assert line == (
        "int8  loss 0.500 largest, 0.750 smallest, 0.625 random; 128 images/s, 1:05 left"
    )
    slower = figures.of(_report(1000 - 129, images_per_s=32.0))  # one slow step in many
    assert slower.endswith("111 images/s, 1:14 left")


def test_the_live_line_leaves_out_what_did_not_run() -> None:
    line = Figures(64).of(_report(10, loss_smallest=math.nan, loss_random=math.nan))
    assert "loss 0.500 largest; 128" in line
    assert line.endswith("8:15 left")
    assert Figures(64).of(_report(10, images_per_s=1.0)).endswith("17 h 36 min left")


def test_the_live_line_tells_extreme_subnets_as_the_last_look_found_them() -> None:
    alone = {"loss_largest": math.nan, "loss_smallest": math.nan}
    figures = Figures(64)
    assert "loss 0.625 random; " in figures.of(_report(1, **alone))
    looked = _report(2, **alone, watched_largest=0.25, watched_smallest=0.375)
    for report in (looked, _report(3, **alone)):
        assert "loss 0.250 largest, 0.375 smallest, 0.625 random; " in figures.of(report)


def test_the_live_line_tells_extreme_subnets_that_have_turns_as_they_were_trained_last() -> None:
    neither = {"loss_largest": math.nan, "loss_smallest": math.nan}
    reports = [
        _report(1, loss_smallest=math.nan, loss_random=math.nan),
        _report(2, **neither, watched_largest=0.25, watched_smallest=0.375),
        _report(3, **neither),
    ]
    figures = Figures(64)
    lines = [figures.of(report) for report in reports]
    assert "loss 0.500 largest; " in lines[0]
    for line in lines[1:]:  # the smallest has not had its turn
        assert "loss 0.500 largest, 0.375 smallest, 0.625 random; " in line
    later = figures.of(_report(4, **neither, watched_largest=0.125, watched_smallest=0.25))
    assert "loss 0.125 largest, 0.250 smallest, " in later  # nor either of them since


def test_a_run_that_shrinks_its_space_keeps_what_is_left_as_a_file(tmp_path: Path) -> None:
    run, listener = RunDir(tmp_path / "run"), Listener()
    options = replace(OPTIONS, overrides={"epochs": 0.75, "shrink_at": 0.4})
    checkpoint, data = train_run(run, options, COMMAND, listener)
    whole = preset("digits", channels=1, classes=10)
    assert (checkpoint.given, checkpoint.space.largest()) == (whole, whole.largest())
    assert checkpoint.space.size() < whole.size()
    left = replace(read_space_file(run.shrunk), channels=1, classes=10)
    assert left == checkpoint.space
    assert any("subnets are left" in note for note in listener.notes)
    run.shrunk.unlink()  # as if killed between the last step and the file
    reopened, _ = open_run(run)
    assert reopened.space == left
    train_run(run, options, COMMAND, Silent())
    assert run.shrunk.exists()
    arch = left.smallest()
    assert scorer_of(run, reopened, data).candidate(arch).exported.arch == arch
    with pytest.raises(CheckpointError, match="expected the same recipe"):
        train_run(run, OPTIONS, COMMAND, Silent())
