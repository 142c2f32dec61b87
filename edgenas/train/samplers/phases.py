"""Phases: which part of the space is elastic at a step, and how much the subnets weigh.

Progressive shrinking (Cai et al., Once-for-All) and the delayed, ramped start of DepS (Annavajjala
et al.). Both are functions of the step, given as shares of the run, so a resumed run is in the
phase that the unbroken one would be in. What is drawn within a phase is the proposal's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from edgenas.space.space import ArchSpace
from edgenas.train.samplers.base import SamplerError
from edgenas.train.samplers.composed import Always, Moment, Phase


@dataclass(frozen=True)
class Stretch:
    """One phase of progressive shrinking: how many of the largest options are elastic.

    Attributes:
        share: of all steps.
        kernels: sizes a stage; 0 means all of them, here and below.
        depths: depths a stage.
        expands: expansion ratios a stage; while they are held, so are widths, stem and head.
        subnets: forward-backward passes a step.
        sorts: whether channels are sorted by importance before it.
    """

    share: float
    kernels: int = 0
    depths: int = 0
    expands: int = 0
    subnets: int = 1
    sorts: bool = False

    def part(self, space: ArchSpace) -> ArchSpace:
        """What of `space` is elastic; the resolution always is."""
        stages = tuple(
            replace(
                stage,
                kernels=stage.kernels[-self.kernels :],
                depths=stage.depths[-self.depths :],
                expands=stage.expands[-self.expands :],
                widths=stage.widths[-self.expands :],
                block_kernels=tuple(own[-self.kernels :] for own in stage.block_kernels),
                block_expands=tuple(own[-self.expands :] for own in stage.block_expands),
            )
            for stage in space.stages
        )
        return replace(
            space,
            stages=stages,
            stems=space.stems[-self.expands :],
            heads=space.heads[-self.expands :],
        )


# The published lengths (180; 120; 25, 120; 25, 120 epochs) as shares of their sum.
ONCE_FOR_ALL = (
    Stretch(0.30, kernels=1, depths=1, expands=1),
    Stretch(0.20, depths=1, expands=1),
    Stretch(0.05, depths=2, expands=1, subnets=2),
    Stretch(0.20, expands=1, subnets=2),
    Stretch(0.05, expands=2, subnets=4, sorts=True),
    Stretch(0.20, subnets=4, sorts=True),
)


class Progressive(Phase):
    """Kernel, then depth, then expansion become elastic, the largest options first.

    Args:
        space: of the supernet.
        steps: of the run.
        stretches: in order; their shares sum to 1.

    Raises:
        SamplerError: the shares do not sum to 1.
    """

    def __init__(
        self, space: ArchSpace, steps: int, stretches: Sequence[Stretch] = ONCE_FOR_ALL
    ) -> None:
        total = sum(stretch.share for stretch in stretches)
        if not abs(total - 1) < 1e-6:
            raise SamplerError(f"phases: expected shares that sum to 1, got {total:g}")
        ends = list(accumulate(stretch.share for stretch in stretches))
        self.starts = [0, *(round(end * steps) for end in ends[:-1])]
        self._moments = [Moment(s.part(space), slots=s.subnets) for s in stretches]
        pairs = zip(self.starts, stretches, strict=True)
        self.sort_steps = frozenset(start for start, stretch in pairs if stretch.sorts)

    def at(self, step: int) -> Moment:
        """The stretch that `step` lies in."""
        return self._moments[max(0, bisect_right(self.starts, step) - 1)]


class SortedFirst(Always):
    """The whole space from the first step on, channels sorted before it (InstaTune).

    A network trained alone has its important channels anywhere; narrow subnets use the first.
    """

    sort_steps = frozenset({0})


class Delayed(Phase):
    """The largest subnet alone for half of the run; then all, ramped in (DepS).

    The gradient weight e(t) of the small subnets rises over the last `ramp` steps before `full`
    so that e(t) * rate(t) grows linearly from 0 to rate(full); from `full` on it is 1.

    Args:
        space: of the supernet.
        steps: of the run.
        rate: learning rate at a step.
        warm: share of the steps before the small subnets count fully (published: 50 to 55 %).
        ramp: share of the steps over which they are ramped in (published: 5 of 270 epochs).
    """

    def __init__(
        self,
        space: ArchSpace,
        steps: int,
        rate: Callable[[int], float],
        *,
        warm: float = 0.5,
        ramp: float = 0.02,
    ) -> None:
        self.full = round(warm * steps)
        self.ramp = min(self.full, max(1, round(ramp * steps)))
        self._space, self._rate = space, rate
        self.sort_steps = frozenset({self.full - self.ramp + 1} if self.full else ())

    def at(self, step: int) -> Moment:
        """Alone, ramped, or everything at full weight."""
        if step >= self.full:
            return Moment(self._space)
        risen = (step - (self.full - self.ramp)) / self.ramp
        if risen <= 0:
            return Moment(self._space, alone=True, weight=0.0)
        rate = self._rate(step)
        return Moment(self._space, weight=risen * self._rate(self.full) / rate if rate > 0 else 0.0)
