"""Bounds on the norm of a step's gradient: fixed, or following what is usual in this run."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable

from torch import nn

from edgenas.model.peers import ALONE, Peers

MEMORY_STEPS = 100
LEAST_STEPS = 10
FACTOR = 2.0


class Clip:
    """Scales a gradient that is too long; remembers the norms of the last steps.

    Args:
        fixed: the bound, or with `by_median` the bound until enough steps are known.
        by_median: bound by twice the median norm of the last 100 steps (TODM), which fits itself
            to the phase of the run and to how many subnets a step adds up.
    """

    def __init__(self, fixed: float, by_median: bool) -> None:
        self.fixed, self.by_median = fixed, by_median
        self._norms: deque[float] = deque(maxlen=MEMORY_STEPS)

    @property
    def bound(self) -> float:
        """Longest norm that the next step may have."""
        if not self.by_median or len(self._norms) < LEAST_STEPS:
            return self.fixed
        return FACTOR * statistics.median(self._norms)

    def apply(self, parameters: Iterable[nn.Parameter], peers: Peers = ALONE) -> float:
        """Scale the gradients down to the bound; their norm before.

        Args:
            parameters: with gradients that are the same in all processes.
            peers: who agree on the norm, to the last bit, whatever each has computed it on.
        """
        every = list(parameters)
        norm = nn.utils.get_total_norm([p.grad for p in every if p.grad is not None])
        norm = peers.mean(norm)
        nn.utils.clip_grads_with_norm_(every, self.bound, norm)
        return norm.item()

    def remember(self, norm: float) -> None:
        """Count the norm of a step that was taken."""
        if self.by_median:
            self._norms.append(norm)

    @property
    def norms(self) -> list[float]:
        """The state: norms of the last steps, oldest first."""
        return list(self._norms)

    def restore(self, norms: Iterable[float]) -> None:
        """Take over a state."""
        self._norms = deque(norms, maxlen=MEMORY_STEPS)
