"""What was trained, on what, and how that went: the part of a report ahead of any device.

The rest of the report is `edgenas.report.model`; the same rules hold for these values.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgenas.report.checks import (
    check_finite,
    check_not_negative,
    check_text,
)
from edgenas.report.choices import Options
from edgenas.report.errors import ReportFieldError


@dataclass(frozen=True, slots=True)
class DataSummary:
    """The data set and its three disjoint splits; `test` is read once, for the picks."""

    name: str
    classes: tuple[str, ...]
    train_images: int
    search_images: int
    test_images: int
    fingerprint: str

    def __post_init__(self) -> None:
        """Refuse a data set without a name and negative counts."""
        check_text("name", self.name)
        for name in ("train_images", "search_images", "test_images"):
            check_not_negative(name, getattr(self, name))


@dataclass(frozen=True, slots=True)
class TrainingPoint:
    """One logged training step; a loss that was not computed in that step is None.

    Attributes:
        step: steps done.
        loss_largest: that the largest subnet was trained with, in nats.
        loss_smallest: the smallest.
        loss_random: mean of the others.
        images_per_s: speed of the step.
        watched_largest: loss of the largest subnet on training images as they are, after the step.
        watched_smallest: of the smallest.
    """

    step: int
    loss_largest: float | None
    loss_smallest: float | None
    loss_random: float | None
    images_per_s: float | None
    watched_largest: float | None = None
    watched_smallest: float | None = None

    def __post_init__(self) -> None:
        """Refuse negative steps and numbers that JSON cannot hold."""
        check_not_negative("step", self.step)
        for name in ("largest", "smallest"):
            check_finite(f"loss_{name}", getattr(self, f"loss_{name}"))
            check_finite(f"watched_{name}", getattr(self, f"watched_{name}"))
        check_finite("loss_random", self.loss_random)
        check_not_negative("images_per_s", self.images_per_s)


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """How the supernet was trained.

    Attributes:
        steps: optimiser steps in all.
        seconds: wall time of training.
        warm_up_steps: steps before INT8 fake quantisation was switched on.
        history: logged steps, in ascending order.
    """

    steps: int
    seconds: float
    warm_up_steps: int
    history: tuple[TrainingPoint, ...] = ()

    def __post_init__(self) -> None:
        """Refuse negative totals and a history that runs backwards."""
        for name in ("steps", "seconds", "warm_up_steps"):
            check_not_negative(name, getattr(self, name))
        steps = [point.step for point in self.history]
        if steps != sorted(steps):
            raise ReportFieldError("history", "steps in ascending order", steps[:8])


@dataclass(frozen=True, slots=True)
class SupernetSummary:
    """The trained supernet; `subnets` counts its architectures (a text where it is a bound).

    `preset` is empty where `space` is the run's own, from a space file. Of a space that was reduced
    in training, `shrunk` lists every choice.
    """

    preset: str
    space: str
    subnets: int | str
    training: TrainingSummary
    shrunk: tuple[Options, ...] = ()
