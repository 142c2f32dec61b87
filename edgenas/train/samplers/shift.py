"""Cost bins drawn by how much they still improve (Zhang et al., ShiftNAS).

Cost bins themselves are `edgenas.train.samplers.cost_bins`'.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from edgenas.space.arch import Arch
from edgenas.space.space import ArchSpace
from edgenas.train.samplers.base import Setting, expect_keys
from edgenas.train.samplers.composed import Proposal
from edgenas.train.samplers.cost_bins import bank_of, expect_space

PROBES = 2
MEMORY = 0.5


def shifted(gains: Sequence[float], explore: float) -> list[float]:
    """Probability of each bin: softmax of its gain over the mean gain, mixed with uniform.

    Args:
        gains: how far each bin's loss fell of late, in nats, >= 0.
        explore: share of the uniform part.
    """
    mean = sum(gains) / len(gains)
    uniform = 1.0 / len(gains)
    if not mean > 0:
        return [uniform] * len(gains)
    top = max(gains)
    weights = [math.exp((gain - top) / mean) for gain in gains]
    return [(1 - explore) * w / sum(weights) + explore * uniform for w in weights]


class ShiftedBins(Proposal):
    """Every `every` steps a held-out loss a bin; those that still fall are drawn more often.

    Args:
        setting: space, seed, cost, and a judge with held-out images.
        bins: of cost; the probes of all of them are judged each time.
        every: steps between two looks.
        explore: share of draws that stay uniform over the bins.

    Raises:
        SamplerError: there is no judge.
    """

    def __init__(
        self, setting: Setting, *, bins: int = 10, every: int = 100, explore: float = 0.15
    ) -> None:
        self._space, self._judge = setting.space, setting.judged("shiftnas")
        self._every, self._explore = every, explore
        self.bank = bank_of(setting, bins)
        self._probes = [self.bank.known(bin)[:PROBES] for bin in self.bank.live]
        self.chances = [1.0 / len(self._probes)] * len(self._probes)
        self._losses: dict[int, float] = {}
        self._looks = 0

    def propose(
        self, space: ArchSpace, rng: random.Random, step: int, count: int
    ) -> Sequence[Arch]:
        """All from one bin, drawn by the present probabilities."""
        expect_space(space, self._space)
        bin = rng.choices(self.bank.live, self.chances)[0]
        return [self.bank.sample_at(bin, rng) for _ in range(count)]

    def refresh(self, step: int) -> None:
        """Look at the probes of every bin when it is time."""
        due = 1 + step // self._every
        if due > self._looks:
            self._looks = due
            pairs = zip(self.bank.live, self._probes, strict=True)
            self.chances = shifted([self._look(*pair) for pair in pairs], self._explore)

    def state_dict(self) -> dict[str, Any]:
        """Probabilities, smoothed losses by bin, and the number of looks."""
        losses = {str(bin): loss for bin, loss in self._losses.items()}
        return {"chances": list(self.chances), "losses": losses, "looks": self._looks}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        expect_keys(state, ("chances", "losses", "looks"))
        self.chances, self._looks = [float(p) for p in state["chances"]], int(state["looks"])
        self._losses = {int(bin): float(loss) for bin, loss in state["losses"].items()}

    def _look(self, bin: int, probes: Sequence[Arch]) -> float:
        """Judge the probes of a bin; how far its smoothed loss fell, 0 if that is not known."""
        loss = sum(self._judge.held_out_loss(arch) for arch in probes) / len(probes)
        if not math.isfinite(loss):
            return 0.0
        before = self._losses.get(bin, loss)
        self._losses[bin] = MEMORY * before + (1 - MEMORY) * loss
        return max(0.0, before - self._losses[bin])
