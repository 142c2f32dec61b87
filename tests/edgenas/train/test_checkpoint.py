"""Checkpoints: whole or refused, free of code, and never lost to a full disk."""

import io
import math
import os
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from edgenas.train.checkpoint import (
    FORMAT,
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from tests.edgenas.train.quota import file_size_limit
from tests.edgenas.train.runs import RECIPE, run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """The checkpoint of a short run, momentum and all."""
    return run(tmp_path_factory.mktemp("made"), RECIPE.override(epochs=0.5))


@pytest.fixture
def path(made: Checkpoint, tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "checkpoint.pt"
    save_checkpoint(made, file)
    yield file
    assert not list(tmp_path.glob("*.tmp"))


class _Creates:
    """What a malicious file would unpickle to: a call."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.file),)


def test_everything_comes_back(made: Checkpoint, path: Path) -> None:
    loaded = load_checkpoint(path)
    assert replace(loaded, weights={}, optimiser={}) == replace(made, weights={}, optimiser={})
    assert loaded.digest() == made.digest()
    assert loaded.weights.keys() == made.weights.keys()
    ours, theirs = made.optimiser["state"], loaded.optimiser["state"]
    assert ours.keys() == theirs.keys()
    assert len(ours) > 5
    for index in ours:
        assert torch.equal(ours[index]["momentum_buffer"], theirs[index]["momentum_buffer"])
    assert loaded.finished
    assert math.isfinite(loaded.typical_loss)


def test_the_digest_is_that_of_the_numbers(made: Checkpoint) -> None:
    net = made.supernet()
    assert not net.training
    assert replace(made, weights=net.state_dict()).digest() == made.digest()
    changed = dict(made.weights)
    changed["ranges"] = torch.nextafter(changed["ranges"], torch.tensor(9.0))
    assert replace(made, weights=changed).digest() != made.digest()


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected the file .* found none; train first"):
        load_checkpoint(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.3, 0.5, 0.8, 0.97, 0.999])
def test_a_truncated_file(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match="something unreadable"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "content",
    [b"not a checkpoint", b"PK\x03\x04" + bytes(300), b"\x80\x02."],
    ids=["text", "zip", "pickle"],
)
def test_garbage(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="something unreadable"):
        load_checkpoint(path)


def test_a_changed_number_anywhere(made: Checkpoint, path: Path) -> None:
    content = path.read_bytes()
    index, state = next(iter(made.optimiser["state"].items()))
    name = next(name for name in made.weights if name.endswith("weight"))
    for tensor in (made.weights[name], state["momentum_buffer"]):
        stored = tensor.detach().flatten()[:16].numpy().tobytes()
        if tensor.dim() == 4:  # stored in channels_last order
            stored = tensor.detach().permute(0, 2, 3, 1).flatten()[:16].numpy().tobytes()
        assert content.count(stored) == 1, index
        place = content.index(stored)
        damaged = bytearray(content)
        damaged[place + 1] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="differ from their digest"):
            load_checkpoint(path)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"format": "edgenas-checkpoint/0"},
        {"format": FORMAT},
        {"format": FORMAT, "step": "many"},
        [1, 2],
        torch.zeros(3),
        None,
    ],
)
def test_other_contents(path: Path, body: object) -> None:
    torch.save(body, path)
    with pytest.raises(CheckpointError, match="something unreadable"):
        load_checkpoint(path)


def test_a_recipe_or_space_that_cannot_work(path: Path) -> None:
    body = torch.load(path, weights_only=True)
    for part, field, value in (("recipe", "rate", -1.0), ("space", "stems", (7,))):
        torch.save({**body, part: {**body[part], field: value}}, path)
        with pytest.raises(CheckpointError, match="something unreadable"):
            load_checkpoint(path)


@pytest.mark.parametrize("form", ["zip", "pickle"])
def test_code_in_a_checkpoint_does_not_run(tmp_path: Path, form: str) -> None:
    proof, path = tmp_path / "it-ran", tmp_path / "checkpoint.pt"
    body = {"format": FORMAT, "step": _Creates(proof)}
    if form == "zip":
        torch.save(body, path)
    else:
        path.write_bytes(pickle.dumps(body))
    with pytest.raises(CheckpointError, match="something unreadable"):
        load_checkpoint(path)
    assert not proof.exists()
    pickle.load(io.BytesIO(pickle.dumps(_Creates(proof))))  # noqa: S301 the payload does work
    assert proof.exists()


@pytest.mark.parametrize("durable", [False, True])
def test_a_full_disk_keeps_the_earlier_checkpoint(
    made: Checkpoint, path: Path, durable: bool
) -> None:
    before = path.read_bytes()
    with (
        file_size_limit(len(before) // 2),
        pytest.raises(CheckpointError, match=r"expected to write there, got .*; free disk space"),
    ):
        save_checkpoint(replace(made, step=1), path, durable=durable)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_be(made: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="expected to write there"):
        save_checkpoint(made, tmp_path / "file" / "checkpoint.pt")
