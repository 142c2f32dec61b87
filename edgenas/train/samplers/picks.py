"""Picks: which of some candidates is trained (Wang et al., AttentiveNAS)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgenas.space.arch import Arch
from edgenas.train.samplers.base import Judge
from edgenas.train.samplers.composed import Pick


class ExtremeOf(Pick):
    """The candidate with the lowest loss on the step's own batch, or the one with the highest.

    The lowest pushes the best accuracy at a cost (BestUp), the highest lifts the worst (WorstUp).
    A candidate whose loss is not finite is never taken unless all are like that.

    Args:
        count: candidates a slot; the paper trains one of 3.
        judge: tells the losses: `count` forward passes a slot.
        worst: take the highest loss instead of the lowest.
    """

    def __init__(self, count: int, judge: Judge, *, worst: bool = False) -> None:
        self.count, self._judge, self._worst = count, judge, worst

    def pick(self, candidates: Sequence[Arch]) -> Arch:
        """The extreme candidate; the earliest of equals. Equal candidates are judged once."""
        distinct = list(dict.fromkeys(candidates))
        if len(distinct) == 1:
            return distinct[0]
        return min(distinct, key=self._rank)

    def _rank(self, arch: Arch) -> float:
        loss = self._judge.loss(arch)
        if not math.isfinite(loss):
            return math.inf
        return -loss if self._worst else loss
