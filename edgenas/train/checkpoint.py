"""Checkpoints: everything that training needs to go on, replaced atomically.

Order of data, augmentation and drawn architectures follow from the step number, so weights, ranges,
optimiser state, what samplers and guards remember and the step are the whole state. Only tensors
and plain values are stored and loaded (`weights_only`): a checkpoint cannot run code.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgenas.errors import EdgenasError
from edgenas.model.supernet import Supernet
from edgenas.space.space import ArchSpace, StageSpace
from edgenas.train.recipe import Recipe
from edgenas.whole_file import sync_folder

FORMAT = "edgenas-checkpoint/1"


class CheckpointError(EdgenasError):
    """A checkpoint cannot be read, or belongs to another run."""


@dataclass(frozen=True)
class Checkpoint:
    """State of a training run after `step` steps.

    Attributes:
        step: optimiser steps done.
        steps: optimiser steps that the run shall have.
        space: whose subnets are trained now, and are what later steps choose from.
        recipe: of the run.
        data: fingerprint of the data set.
        weights: state of the supernet that is evaluated and exported: where the run averages its
            weights, the average.
        optimiser: state of the optimiser.
        typical_loss: what the guards expect of a step (`edgenas.train.guards`), in nats; inf before
            any step.
        skips: steps lately not taken because loss or gradient were unusable, fading out.
        live: the weights under training, where they are others than `weights` and do not follow
            from them and the optimiser's state.
        memory: what sampler, guards and clipping remember, by name; plain values and tensors.
        whole: the space that the run was given and its weights are those of, where `space` is a
            part that it has shrunk to since; None where it is all of it.
    """

    step: int
    steps: int
    space: ArchSpace
    recipe: Recipe
    data: str
    weights: dict[str, Tensor]
    optimiser: dict[str, Any]
    typical_loss: float = math.inf
    skips: float = 0.0
    live: dict[str, Tensor] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)
    whole: ArchSpace | None = None

    @property
    def given(self) -> ArchSpace:
        """The space that the run was given; of the supernet."""
        return self.whole or self.space

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.steps

    def supernet(self) -> Supernet:
        """The supernet with these weights, ready for evaluation."""
        net = Supernet(self.given, self.recipe.activations, self.recipe.weights)
        net.load_state_dict(self.weights)
        return net.eval()

    def digest(self) -> str:
        """SHA-256 over names and bytes of all weights and ranges: the identity of the supernet."""
        return digest_of(self.weights)


def save_checkpoint(checkpoint: Checkpoint, path: Path, *, durable: bool = True) -> None:
    """Write atomically: a kill at any moment leaves the old or the new file.

    Args:
        checkpoint: what to write.
        path: where.
        durable: also wait for the disk (survives a power cut, not only a killed process).

    Raises:
        CheckpointError: there is no room; the earlier file is as it was.
    """
    body = {
        "format": FORMAT,
        "step": checkpoint.step,
        "steps": checkpoint.steps,
        "space": asdict(checkpoint.space),
        "recipe": asdict(checkpoint.recipe),
        "data": checkpoint.data,
        "weights": checkpoint.weights,
        "optimiser": checkpoint.optimiser,
        "typical_loss": checkpoint.typical_loss,
        "skips": checkpoint.skips,
        "live": checkpoint.live,
        "memory": checkpoint.memory,
        "whole": None if checkpoint.whole is None else asdict(checkpoint.whole),
        "sha256": digest_of(tensors_of(checkpoint)),
    }
    buffer = io.BytesIO()  # so that a full disk meets our own write, not torch's
    torch.save(body, buffer)
    # Always the same name, so that what a kill leaves is written over; a run has one writer.
    temporary = path.with_name(path.name + ".tmp")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(temporary, buffer.getvalue(), durable)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if durable:
            sync_folder(path.parent)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into a CheckpointError that names `path`."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{path}: expected to write there, got {error}; free disk space or mend the folder and "
            f"repeat the command: it goes on from the last checkpoint"
        ) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint back.

    Raises:
        CheckpointError: the file is missing, unreadable, damaged or of another format.
    """
    if not path.is_file():
        raise CheckpointError(
            f"checkpoint: expected the file {path}, found none; train first: "
            f"`edgenas train --out {path.parent}`"
        )
    try:
        return _from_body(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # damaged bytes make torch fail in a dozen ways
        raise CheckpointError(
            f"{path}: expected an edgenas checkpoint, got something unreadable "
            f"({type(error).__name__}: {error}); restore it from a copy or train again"
        ) from error


def _from_body(body: dict[str, Any]) -> Checkpoint:
    if body["format"] != FORMAT:
        raise ValueError(f"format {body['format']!r} instead of {FORMAT}")
    checkpoint = Checkpoint(
        int(body["step"]),
        int(body["steps"]),
        _space_from_dict(body["space"]),
        Recipe(**body["recipe"]),
        str(body["data"]),
        body["weights"],
        body["optimiser"],
        float(body.get("typical_loss", math.inf)),
        float(body.get("skips", 0.0)),
        body.get("live", {}),
        body.get("memory", {}),
        None if body.get("whole") is None else _space_from_dict(body["whole"]),
    )
    found = digest_of(tensors_of(checkpoint))
    if body.get("sha256", found) != found:
        raise ValueError("numbers that differ from their digest")
    return checkpoint


def tensors_of(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Every tensor of a checkpoint by name, those of the optimiser included."""
    tensors = dict(checkpoint.weights)
    tensors |= {f"live {name}": value for name, value in checkpoint.live.items()}
    for index, state in checkpoint.optimiser["state"].items():
        values = {f"optimiser {index} {name}": value for name, value in state.items()}
        tensors |= {name: v for name, v in values.items() if isinstance(v, Tensor)}
    return tensors | dict(_tensors_within(checkpoint.memory, "memory"))


def _tensors_within(value: object, name: str) -> Iterator[tuple[str, Tensor]]:
    """The tensors in nested dicts, lists and tuples, by their path."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _tensors_within(inner, f"{name} {key}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _tensors_within(inner, f"{name} {index}")


def digest_of(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over names and bytes of tensors, whatever their order."""
    total = hashlib.sha256()
    for name, value in sorted(weights.items()):
        total.update(name.encode())
        total.update(value.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def _write(path: Path, content: bytes, durable: bool) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def _space_from_dict(data: dict[str, Any]) -> ArchSpace:
    stages = tuple(StageSpace(**_tuples(stage)) for stage in data["stages"])
    rest = {name: value for name, value in data.items() if name != "stages"}
    return ArchSpace(stages=stages, **_tuples(rest))


def _tuples(data: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in data.items()}
