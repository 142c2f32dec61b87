"""Splitting a run: the record, and parts that train, export and score through the same commands."""

import json
import random
import shlex
from pathlib import Path

import pytest

from edgenas.campaign.errors import RunFolderError
from edgenas.campaign.progress import Silent
from edgenas.campaign.rundir import RunDir
from edgenas.campaign.splitting import Piece, SplitOptions, split_run
from edgenas.campaign.training import TrainOptions, open_run, train_run
from edgenas.cli.main import main
from edgenas.space import Arch, ArchError, ArchSpace
from edgenas.train.checkpoint import load_checkpoint
from edgenas.train.recipe_file import read_recipe_file
from edgenas.train.splitting import SplittingError
from tests.edgenas.campaign.runs import Listener, copy_of


@pytest.fixture(scope="module")
def split(
    trained: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunDir, Path, list[Piece], Listener]:
    """A run and its parts, by one batch a choice."""
    folder, listener = tmp_path_factory.mktemp("split"), Listener()
    run, out = copy_of(trained, folder / "run"), folder / "parts"
    pieces = split_run(run, SplitOptions(out, batches=1), listener)
    return run, out, pieces, listener


def test_the_record(split: tuple[RunDir, Path, list[Piece], Listener]) -> None:
    run, out, pieces, listener = split
    body = json.loads((out / "split.json").read_text("utf-8"))
    parent = load_checkpoint(run.checkpoint)
    assert body["parent_digest"] == parent.digest()
    assert [one["command"] for one in body["pieces"]] == [piece.command for piece in pieces]
    assert sum(piece.subnets for piece in pieces) == parent.space.size()
    assert body["expected_bytes"] == sum(piece.expected_bytes for piece in pieces)
    first = body["decisions"][0]
    measured = {one["choice"]: one for one in first["measured"]}
    assert set(measured) >= {"resolution", "stem", "s0.width", "s1.b0.kernel", "head"}
    cut = measured[first["choice"]]
    places = [[cut["options"].index(o) for o in group] for group in first["groups"]]
    across = [cut["distances"][i][j] for i in places[0] for j in places[1]]
    assert first["mean_distance"] == pytest.approx(sum(across) / len(across))
    assert len(body["decisions"]) == 1
    assert listener.phases[0][1] == len(first["measured"])


def test_parts_of_a_run_that_shrank_do_not_shrink_again(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    shrinking = TrainOptions(recipe="digits-quick", overrides={"epochs": 0.25, "shrink_at": 0.5})
    parent, _ = train_run(run, shrinking, "edgenas train", Silent())
    assert parent.space.size() < parent.given.size()
    pieces = split_run(run, SplitOptions(tmp_path / "parts", batches=1), Silent())
    read = read_recipe_file(tmp_path / "parts" / "recipe.toml")
    assert parent.recipe.override(**read) == parent.recipe.override(shrink_at=0.0)
    assert sum(piece.subnets for piece in pieces) == parent.space.size()


@pytest.mark.slow
def test_each_part_trains_exports_and_scores(
    split: tuple[RunDir, Path, list[Piece], Listener],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    run, _, pieces, _ = split
    parent = load_checkpoint(run.checkpoint)
    opened = []
    for piece in pieces:
        program, *words = shlex.split(piece.command)
        assert program == "edgenas"
        assert main([*words, "--epochs", "0.3"]) == 0
        checkpoint, _ = open_run(RunDir(piece.folder))
        assert checkpoint.recipe == parent.recipe.override(epochs=0.3)
        assert checkpoint.memory["source"] == parent.digest()
        assert (piece.folder / "checkpoint.pt").stat().st_size == pytest.approx(
            piece.expected_bytes, rel=0.05
        )
        opened.append(checkpoint)
    capsys.readouterr()
    assert main(["export", str(pieces[0].folder), "--out", str(tmp_path / "a.tflite")]) == 0
    exported = json.loads(capsys.readouterr().out)
    assert exported["arch"] == opened[0].space.largest().id
    assert exported["parity"]["top1_agreement"] == 1.0
    rng, homes = random.Random(0), []
    for _ in range(300):
        arch = parent.space.sample(rng)
        homes.append([n for n, one in enumerate(opened) if _belongs(one.space, arch)])
    assert all(len(home) == 1 for home in homes)
    assert {home[0] for home in homes} == {0, 1}


def _belongs(space: ArchSpace, arch: Arch) -> bool:
    try:
        space.check(arch)
    except ArchError:
        return False
    return True


def test_what_cannot_be_split_writes_nothing(trained: Path, tmp_path: Path) -> None:
    run, out = copy_of(trained, tmp_path / "run"), tmp_path / "parts"
    with pytest.raises(SplittingError, match="expected room for two parts, at least"):
        split_run(run, SplitOptions(out, limit=1000, batches=1), Silent())
    with pytest.raises(RunFolderError, match="at least 2 pieces, got 1"):
        SplitOptions(out, pieces=1)
    with pytest.raises(RunFolderError, match="at least 1 batches, got 0"):
        SplitOptions(out, batches=0)
    assert not out.exists()
