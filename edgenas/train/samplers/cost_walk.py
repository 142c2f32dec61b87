"""Walk over costs, a bank of good subnets for each, wide ones first (Tang et al., ElasticViT).

Neighbouring steps train subnets of nearly the same cost, so that their gradients agree; cheap
subnets that proved good come back from a bank; and a cheapest subnet of each band of cost learns
from the soft outputs of the others, the largest never running. Cost bins are
`edgenas.train.samplers.cost_bins`'.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from edgenas.space.arch import Arch
from edgenas.space.space import ArchSpace
from edgenas.train.samplers.base import Draw, Judge, Setting, expect_keys
from edgenas.train.samplers.composed import Proposal
from edgenas.train.samplers.cost_bins import bank_of, expect_space
from edgenas.train.samplers.genes import graft

BANDS = 3
FRESH = 5
SCORINGS_AN_EPOCH = 3


class CostWalk:
    """A random walk over places 0 to `places` - 1, one place a step at most; pure in (seed, step).

    Args:
        places: at least 1.
        seed: of the walk.
    """

    def __init__(self, places: int, seed: int) -> None:
        self._places = places
        self._rng = random.Random(f"{seed}/cost walk")
        self._path = [self._rng.randrange(places)]

    def at(self, step: int) -> int:
        """Where the walk is at `step`."""
        while len(self._path) <= step:
            self._path.append(self._next(self._path[-1]))
        return self._path[step]

    def _next(self, here: int) -> int:
        """-1, 0, +1 alike; at an end the outward move stays instead, as published."""
        return min(max(here + self._rng.choice((-1, 0, 1)), 0), self._places - 1)


class GoodBank:
    """The lowest losses met so far, for one bin.

    Args:
        capacity: subnets kept.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.losses: dict[Arch, float] = {}

    @property
    def half_full(self) -> bool:
        """Whether it is worth drawing from."""
        return 2 * len(self.losses) >= self.capacity

    @property
    def best(self) -> Arch | None:
        """The subnet with the lowest loss."""
        return min(self.losses, key=self.losses.__getitem__, default=None)

    def add(self, arch: Arch, loss: float) -> None:
        """Remember a loss in nats; of too many the highest is forgotten."""
        if not math.isfinite(loss):
            return
        self.losses[arch] = loss
        if len(self.losses) > self.capacity:
            del self.losses[max(self.losses, key=self.losses.__getitem__)]

    def sample(self, rng: random.Random) -> Arch:
        """A subnet with probability softmax(-loss)."""
        least = min(self.losses.values())
        chances = [math.exp(least - loss) for loss in self.losses.values()]
        return rng.choices(list(self.losses), chances)[0]

    def rescore(self, judge: Judge) -> None:
        """Losses of the present weights, all on the same batch; what has none is forgotten."""
        fresh = {arch: judge.loss(arch) for arch in self.losses}
        self.losses = {arch: loss for arch, loss in fresh.items() if math.isfinite(loss)}


class NearCost(Proposal):
    """Subnets of the walk's cost: from the bank, or fresh ones, wide and shallow ones first.

    Args:
        setting: space, seed, cost, lengths, and a judge that scores banks anew.
        bins: places of the walk; the paper has 8.
        capacities: of the banks in the cheaper and in the dearer half; the paper has 150 and 50,
            whose scoring would cost a short epoch more than its training.

    Raises:
        SamplerError: there is no judge.
    """

    def __init__(
        self, setting: Setting, *, bins: int = 8, capacities: tuple[int, int] = (30, 10)
    ) -> None:
        self._setting, self._judge = setting, setting.judged("elasticvit")
        self.bank = bank_of(setting, bins)
        self._walk = CostWalk(len(self.bank.live), setting.seed)
        half = (len(self.bank.live) + 1) // 2
        self.good = {
            bin: GoodBank(capacities[0] if place < half else capacities[1])
            for place, bin in enumerate(self.bank.live)
        }
        self._smallest = self._smallest_by_band()
        self._scored = 0

    @property
    def gap_limit(self) -> float:
        """Most that costs of subnets in neighbouring steps differ by, in the unit of the cost."""
        live, scale = self.bank.live, self.bank.scale
        pairs = zip(live, live[1:] or live, strict=False)
        return max(scale.ends(upper)[1] - scale.ends(lower)[0] for lower, upper in pairs)

    def bin(self, step: int) -> int:
        """The cost bin that `step` draws from."""
        return self.bank.live[self._walk.at(step)]

    def propose(
        self, space: ArchSpace, rng: random.Random, step: int, count: int
    ) -> Sequence[Arch]:
        """Independent draws at the walk's cost."""
        expect_space(space, self._setting.space)
        return [self._draw(self.bin(step), rng, step) for _ in range(count)]

    def companions(self, step: int) -> Sequence[Draw]:
        """The cheapest subnet of the walk's band, taught by the others."""
        band = BANDS * self._walk.at(step) // len(self.bank.live)
        return [Draw(self._smallest[band], learns_from="others")]

    def refresh(self, step: int) -> None:
        """Score the banks anew, some times an epoch."""
        due = SCORINGS_AN_EPOCH * step // self._setting.epoch_steps
        if due > self._scored:
            self._scored = due
            for good in self.good.values():
                good.rescore(self._judge)

    def tell(self, step: int, arch: Arch, loss: float, norms: Mapping[str, float]) -> None:
        """Put a drawn subnet into the bank of its cost; the small companions never go there."""
        bin = self.bank.bin_of(arch)
        if bin in self.good and arch not in self._smallest:
            self.good[bin].add(arch, loss)

    def state_dict(self) -> dict[str, Any]:
        """The banks, and how often they were scored."""
        good = {
            str(bin): [[arch.to_dict(), loss] for arch, loss in bank.losses.items()]
            for bin, bank in self.good.items()
        }
        return {"good": good, "scored": self._scored}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        expect_keys(state, ("good", "scored"))
        expect_keys(state["good"], [str(bin) for bin in self.good])
        for bin, bank in self.good.items():
            pairs = state["good"][str(bin)]
            bank.losses = {Arch.from_dict(arch): float(loss) for arch, loss in pairs}
        self._scored = int(state["scored"])

    def _draw(self, bin: int, rng: random.Random, step: int) -> Arch:
        good = self.good[bin]
        from_bank = rng.random() < self._bank_chance(step)
        if from_bank and good.half_full:
            return good.sample(rng)
        fresh = [self.bank.sample_at(bin, rng) for _ in range(FRESH)]
        return min(fresh, key=self._depth_premium)

    def _bank_chance(self, step: int) -> float:
        """0.2 at first, 0.15 more every sixth of the run."""
        return 0.2 + 0.15 * min(5, 6 * step // self._setting.steps)

    def _depth_premium(self, arch: Arch) -> float:
        """Cost of its depths on the anchor's widths less the opposite: shallow and wide first."""
        lowest = self.bank.live[0]
        anchor = self.good[lowest].best or self.bank.cheapest(lowest)
        cost = self._setting.cost_of
        return cost(graft(depths=arch, widths=anchor)) - cost(graft(depths=anchor, widths=arch))

    def _smallest_by_band(self) -> list[Arch]:
        places = len(self.bank.live)
        firsts = [-(-band * places // BANDS) for band in range(BANDS)]
        cheapest = [self.bank.cheapest(self.bank.live[min(p, places - 1)]) for p in firsts]
        return [self._setting.space.smallest(), *cheapest[1:]]
