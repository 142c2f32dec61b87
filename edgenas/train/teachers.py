"""Who teaches the subnets of a step: the largest subnet, now or before; other supernets.

A teacher gives logits; several make an ensemble, over which losses are averaged. Which divergence
is taken is `edgenas.train.losses`, which subnet learns from what `edgenas.train.objective`.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgenas.errors import EdgenasError
from edgenas.model.calibrate import estimate_statistics
from edgenas.model.images import Pixels, to_input
from edgenas.model.numerics import Numerics
from edgenas.model.supernet import Supernet
from edgenas.space.arch import Resolution
from edgenas.space.space import ArchSpace
from edgenas.train.averaging import WeightAverage
from edgenas.train.checkpoint import Checkpoint, load_checkpoint

STATISTICS_IMAGES, STATISTICS_BATCH = 1024, 128


class TeacherError(EdgenasError):
    """A teacher cannot teach this run."""


@dataclass(frozen=True)
class Question:
    """What a teacher may look at.

    Attributes:
        images: of the step, uint8 [n, h, w, c].
        numerics: in which the step runs.
        resolution: largest image size of the step, in pixels.
        largest: logits of the largest subnet in this step, if it has run, detached.
    """

    images: Pixels
    numerics: Numerics
    resolution: Resolution
    largest: Tensor | None


class Teacher(ABC):
    """Gives the logits that subnets learn from."""

    @abstractmethod
    def answer(self, question: Question) -> Tensor | None:
        """Logits [n, classes], detached; None if there is nothing to learn from in this step."""


class Largest(Teacher):
    """The largest subnet of the same step (in-place distillation; BigNAS)."""

    def answer(self, question: Question) -> Tensor | None:
        """What the largest subnet has said, if it was drawn."""
        return question.largest


class Averaged(Teacher):
    """The largest subnet under the moving average of the weights."""

    def __init__(self, average: WeightAverage) -> None:
        self.net = average.net

    @torch.no_grad()
    def answer(self, question: Question) -> Tensor | None:
        """Its logits, with BatchNorm statistics of the batch as in training."""
        arch = replace(self.net.space.largest(), resolution=question.resolution)
        x = to_input(question.images, arch.resolution).to(self.net.ranges.device)
        logits: Tensor = self.net(x, arch, numerics=question.numerics)
        return logits


class Frozen(Teacher):
    """The largest subnet as it was before any other was trained (once-for-all).

    Silent until then. What it holds is part of a run's state.
    """

    def __init__(self) -> None:
        self.net: Supernet | None = None
        self._numerics = Numerics.FLOAT

    def freeze(self, net: Supernet, numerics: Numerics) -> None:
        """Keep the weights as they are now; only the first time counts."""
        if self.net is None:
            self.net = copy.deepcopy(net).eval().requires_grad_(False)
            self._numerics = numerics

    @torch.no_grad()
    def answer(self, question: Question) -> Tensor | None:
        """Its logits in the numbers it was frozen in, with statistics of the batch."""
        if self.net is None:
            return None
        arch = replace(self.net.space.largest(), resolution=question.resolution)
        x = to_input(question.images, arch.resolution).to(self.net.ranges.device)
        logits: Tensor = self.net(x, arch, numerics=self._numerics)
        return logits

    def state(self) -> dict[str, Any]:
        """What it holds; empty while it is silent."""
        if self.net is None:
            return {}
        return {"weights": dict(self.net.state_dict()), "numerics": self._numerics.value}

    def restore(self, state: Mapping[str, Any], net: Supernet) -> None:
        """Take over a state; `net` is any supernet of the same space."""
        self.net = None
        if state:
            frozen = copy.deepcopy(net)
            frozen.load_state_dict(state["weights"])
            self.freeze(frozen, Numerics(state["numerics"]))


class External(Teacher):
    """The largest subnet of a trained supernet, in INT8, with BatchNorm statistics of its own.

    Args:
        net: the supernet, which is not trained further.
        images: training images for its statistics, uint8 [n, h, w, c].
        device: where it runs.
    """

    def __init__(self, net: Supernet, images: Pixels, device: torch.device) -> None:
        self.net: Supernet = net.to(device).eval().requires_grad_(False)
        self.arch, self.device = net.space.largest(), device
        chosen = images[:STATISTICS_IMAGES]
        starts = range(0, len(chosen), STATISTICS_BATCH)
        batches = [self._input(chosen[start : start + STATISTICS_BATCH]) for start in starts]
        self.statistics = estimate_statistics(self.net, self.arch, batches)

    @torch.no_grad()
    def answer(self, question: Question) -> Tensor | None:
        """Its logits at its own resolution."""
        x = self._input(question.images)
        logits: Tensor = self.net(x, self.arch, calibration=self.statistics)
        return logits

    def _input(self, images: Pixels) -> Tensor:
        return to_input(images, self.arch.resolution).to(self.device)


def load_teachers(files: Sequence[str], space: ArchSpace) -> list[Checkpoint]:
    """The checkpoints of external teachers.

    Raises:
        CheckpointError: a file is missing or damaged.
        TeacherError: a teacher knows other channels or classes, or its training has not ended.
    """
    found = [load_checkpoint(Path(file)) for file in files]
    for file, checkpoint in zip(files, found, strict=True):
        theirs, ours = (
            f"{s.channels} channels and {s.classes} classes" for s in (checkpoint.space, space)
        )
        if theirs != ours:
            raise TeacherError(
                f"teacher {file}: expected {ours} as in the data, got {theirs}; choose a "
                f"checkpoint that was trained on the same data set"
            )
        if not checkpoint.finished:
            raise TeacherError(
                f"teacher {file}: expected a finished training, got step {checkpoint.step} of "
                f"{checkpoint.steps}; go on with it first"
            )
    return found
