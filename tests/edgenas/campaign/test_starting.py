"""Runs of a part of a space, and runs that start from weights: kept, refused, told."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgenas.campaign.errors import RunFolderError
from edgenas.campaign.progress import Silent
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.starting import Start
from edgenas.campaign.training import open_run, scorer_of, train_run
from edgenas.space.arch import ArchError
from edgenas.train.inheriting import MismatchError, SourceError
from tests.edgenas.campaign.runs import COMMAND, OPTIONS, Killer, Listener, copy_of
from tests.edgenas.campaign.test_training import content

SMALL = ("s1.width=24", "s1.depth=1", "resolution=8", "s0.depth=1", "head=64", "stem=8")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A small network trained alone."""
    run = RunDir(tmp_path_factory.mktemp("alone") / "run")
    options = replace(OPTIONS, recipe="spos", overrides={"epochs": 1.5, "batch": 64})
    train_run(run, replace(options, start=Start((*SMALL, "largest"))), COMMAND, Silent())
    return run


def test_one_network_alone_and_a_supernet_from_it(alone: RunDir, tmp_path: Path) -> None:
    checkpoint, data = open_run(alone)
    assert checkpoint.space.size() == 1
    accuracy = scorer_of(alone, checkpoint, data).candidate(checkpoint.space.largest()).accuracy
    run, listener = RunDir(tmp_path / "run"), Listener()
    options = replace(OPTIONS, recipe="instatune", start=Start(SMALL, alone.checkpoint))
    supernet, _ = train_run(run, options, COMMAND, listener)
    assert supernet.space.largest() == checkpoint.space.largest()
    assert supernet.space.size() > 1
    (first,) = (note for note in listener.notes if note.startswith("first weights: "))
    assert "bit for bit from a checkpoint of space digits-part" in first
    (told,) = (note for note in listener.notes if "before any step" in note)
    share = float(told.partition(": ")[2].split(" %")[0]) / 100
    assert share == pytest.approx(accuracy, abs=0.02)  # in float there, in INT8 here
    card = run.read_card()
    assert card.weights == checkpoint.digest()
    assert card.weights_file == str(alone.checkpoint.resolve())
    assert card.only == "resolution=8 stem=8 s0.depth=1 s1.width=24 s1.depth=1 head=64"
    assert open_run(run)[0].digest() == supernet.digest()


def test_a_started_run_goes_on_and_is_not_mixed(
    alone: RunDir, trained: Path, tmp_path: Path
) -> None:
    start = Start(SMALL, alone.checkpoint)
    options, run = replace(OPTIONS, start=start), RunDir(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        train_run(run, options, COMMAND, Killer(3))
    before = content(run)
    moved = tmp_path / "moved.pt"
    moved.write_bytes(alone.checkpoint.read_bytes())
    others = [
        replace(start, weights=None),
        replace(start, weights=trained / "checkpoint.pt"),
        replace(start, new_classifier=True),
        replace(start, only=SMALL[:-1]),
    ]
    for other in others:
        with pytest.raises(RunFolderError, match=r"expected the run that began there .*--out"):
            train_run(run, replace(options, start=other), COMMAND, Silent())
    assert content(run) == before
    goes_on = replace(options, start=replace(start, only=SMALL[::-1], weights=moved))
    finished, _ = train_run(run, goes_on, COMMAND, Silent())
    assert finished.finished


WRONG: dict[str, tuple[Start, type[Exception], str]] = {
    "choice": (Start(("s9.width=8",)), ArchError, "'s9.width'"),
    "option": (Start(("s0.width=9",)), ArchError, "s0.width: expected some of the options 16,24"),
    "text": (Start(("s0.width",)), ArchError, "such as s0.width=16,24"),
    "file": (Start(weights=Path("none.pt")), SourceError, "none.pt, got none"),
    "names": (Start(names=Path("names.toml")), SourceError, "name one with --weights"),
    "head": (Start(new_classifier=True), SourceError, "name one with --weights"),
    "model": (Start(weights=Path("model.pt")), MismatchError, r"stem: expected \[16, 1, 3, 3\]"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_start_makes_no_folder(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"conv.weight": torch.zeros(8, 1, 3, 3)}, "model.pt")
    start, kind, words = WRONG[what]
    with pytest.raises(kind, match=words):
        train_run(RunDir(tmp_path / "run"), replace(OPTIONS, start=start), COMMAND, Silent())
    assert not (tmp_path / "run").exists()


def test_a_run_of_the_whole_is_no_run_of_a_part(trained: Path, tmp_path: Path) -> None:
    run = copy_of(trained, tmp_path / "run")
    part = replace(OPTIONS, start=Start(("s0.width=16",)))
    with pytest.raises(RunFolderError, match=r"got digits, preset digits with s0.width=16"):
        train_run(run, part, COMMAND, Silent())
    train_run(run, replace(OPTIONS, start=Start(("s0.width=16,24",))), COMMAND, Silent())
