"""Learning rates, momentum and image sizes as functions of the step; nothing here has a state.

All lengths are shares of a run, so that a schedule fits runs of any length. Which schedule a run
has is its recipe's; halving after a roll-back is `edgenas.train.guards`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgenas.space.arch import Resolution, sides

ONE_CYCLE_START = 1 / 25
"""Where a one-cycle schedule begins, as a share of its peak (Smith and Topin)."""
ONE_CYCLE_END = 1e-4
"""Where it ends, as a share of its peak."""


@dataclass(frozen=True)
class Span:
    """A run as schedules see it.

    Attributes:
        peak: highest rate.
        steps: optimiser steps of the run.
        warm: steps over which the rate rises, at least 1.
        floor: lowest rate after the rise, as a share of the peak.
        until: share of the steps after the rise at which an exponential decay reaches its floor.
    """

    peak: float
    steps: int
    warm: int
    floor: float = 0.0
    until: float = 1.0

    def done(self, step: int) -> float:
        """How much of what follows the rise is over, 0 to 1."""
        return (step - self.warm) / max(1, self.steps - self.warm)

    def rise(self, step: int) -> float:
        """Rate of a linear warm-up."""
        return self.peak * (step + 1) / self.warm


type Schedule = Callable[[int, Span], float]


def cosine(step: int, span: Span) -> float:
    """Linear warm-up, then half a cosine down to the floor."""
    if step < span.warm:
        return span.rise(step)
    fall = 0.5 * (1 + math.cos(math.pi * span.done(step)))
    return span.peak * (span.floor + (1 - span.floor) * fall)


def exponential(step: int, span: Span) -> float:
    """Linear warm-up, equal factors down to the floor, which is kept to the end (BigNAS).

    The constant ending leaves the smaller subnets time to learn at a rate that still moves them.
    """
    if step < span.warm:
        return span.rise(step)
    fall: float = span.floor ** (span.done(step) / span.until)
    return span.peak * max(span.floor, fall)


def one_cycle(step: int, span: Span) -> float:
    """Half a cosine up from a 25th of the peak, another down to nothing (super-convergence)."""
    if step < span.warm:
        return span.peak * _half_wave(ONE_CYCLE_START, 1.0, (step + 1) / span.warm)
    return span.peak * _half_wave(1.0, ONE_CYCLE_END, span.done(step))


def constant(step: int, span: Span) -> float:
    """Linear warm-up, then the peak to the end (what Schedule-Free averaging wants)."""
    return span.rise(step) if step < span.warm else span.peak


SCHEDULES: dict[str, Schedule] = {
    "cosine": cosine,
    "exponential": exponential,
    "one_cycle": one_cycle,
    "constant": constant,
}


def cycled_momentum(step: int, span: Span, momentum: float, dip: float) -> float:
    """Momentum that is lower by `dip` where a one-cycle rate peaks."""
    if dip == 0:
        return momentum
    if step < span.warm:
        return _half_wave(momentum, momentum - dip, (step + 1) / span.warm)
    return _half_wave(momentum - dip, momentum, span.done(step))


def allowed_resolution(
    share_done: float, resolutions: Sequence[Resolution], start: float
) -> Resolution:
    """Largest resolution while images grow with the run (progressive resolution).

    The bound grows linearly from `start` times the largest to all of it, measured along the side
    that shrinks most; only resolutions of the space are used, at least its smallest.

    Args:
        share_done: how much of the growing is over, 0 to 1 or more.
        resolutions: of the space, ascending, in pixels.
        start: share of the largest at the beginning.
    """
    bound = start + (1 - start) * min(1.0, share_done)
    fitting = [r for r in resolutions if _relative(r, resolutions[-1]) <= bound + 1e-9]
    return fitting[-1] if fitting else resolutions[0]


def _relative(resolution: Resolution, largest: Resolution) -> float:
    return min(a / b for a, b in zip(sides(resolution), sides(largest), strict=True))


def _half_wave(begin: float, end: float, share: float) -> float:
    """Half a cosine from `begin` to `end`."""
    return end + (begin - end) * 0.5 * (1 + math.cos(math.pi * share))
