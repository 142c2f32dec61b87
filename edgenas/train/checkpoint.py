"""Checkpoints: everything that training needs to go on, replaced atomically.

Order of data, augmentation and drawn architectures follow from the step number, so weights, ranges,
optimiser state and the step are the whole state. Only tensors and plain values are stored and
loaded (`weights_only`): a checkpoint cannot run code.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgenas.errors import EdgenasError
from edgenas.model.supernet import Supernet
from edgenas.space.space import ArchSpace, StageSpace
from edgenas.train.recipe import Recipe

FORMAT = "edgenas-checkpoint/1"


class CheckpointError(EdgenasError):
    """A checkpoint cannot be read, or belongs to another run."""


@dataclass(frozen=True)
class Checkpoint:
    """State of a training run after `step` steps.

    Attributes:
        step: optimiser steps done.
        steps: optimiser steps that the run shall have.
        space: of the supernet.
        recipe: of the run.
        data: fingerprint of the data set.
        weights: state of the supernet.
        optimiser: state of the optimiser.
    """

    step: int
    steps: int
    space: ArchSpace
    recipe: Recipe
    data: str
    weights: dict[str, Tensor]
    optimiser: dict[str, Any]

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.steps

    def supernet(self) -> Supernet:
        """The supernet with these weights, ready for evaluation."""
        net = Supernet(self.space)
        net.load_state_dict(self.weights)
        return net.eval()

    def digest(self) -> str:
        """SHA-256 over names and bytes of all weights and ranges: the identity of the supernet."""
        total = hashlib.sha256()
        for name, value in sorted(self.weights.items()):
            total.update(name.encode())
            total.update(value.detach().cpu().contiguous().numpy().tobytes())
        return total.hexdigest()


def save_checkpoint(checkpoint: Checkpoint, path: Path, *, durable: bool = True) -> None:
    """Write atomically: a kill at any moment leaves the old or the new file.

    Args:
        checkpoint: what to write.
        path: where.
        durable: also wait for the disk (survives a power cut, not only a killed process).
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
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        torch.save(body, file)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    os.replace(temporary, path)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint back.

    Raises:
        CheckpointError: the file is missing, damaged or of another format.
    """
    if not path.is_file():
        raise CheckpointError(
            f"checkpoint: expected the file {path}, found none; train first: "
            f"`edgenas train --out {path.parent}`"
        )
    try:
        body = torch.load(path, map_location="cpu", weights_only=True)
        if body["format"] != FORMAT:
            raise CheckpointError(
                f"{path}: expected format {FORMAT}, got {body['format']!r}; train again"
            )
        return Checkpoint(
            int(body["step"]),
            int(body["steps"]),
            _space_from_dict(body["space"]),
            Recipe(**body["recipe"]),
            str(body["data"]),
            body["weights"],
            body["optimiser"],
        )
    except (KeyError, TypeError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{path}: expected an edgenas checkpoint, got something unreadable "
            f"({type(error).__name__}: {error}); restore it from a copy or train again"
        ) from error


def _space_from_dict(data: dict[str, Any]) -> ArchSpace:
    stages = tuple(
        StageSpace(**{k: tuple(v) if isinstance(v, list | tuple) else v for k, v in s.items()})
        for s in data["stages"]
    )
    rest = {
        k: tuple(v) if isinstance(v, list | tuple) else v for k, v in data.items() if k != "stages"
    }
    return ArchSpace(stages=stages, **rest)
