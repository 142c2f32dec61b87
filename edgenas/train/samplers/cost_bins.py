"""Cost bins: subnets of a wanted cost, whatever cost is measured in.

Several samplers choose a cost first and a subnet of that cost second (`CostBank.sample_at`). Cost
is any function of a subnet: multiply-accumulates, bytes, a device's predicted latency. Which bin
is wanted is up to the samplers.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgenas.space.arch import Arch
from edgenas.space.space import ArchSpace
from edgenas.train.samplers.base import SamplerError, Setting
from edgenas.train.samplers.composed import Proposal

WALK_STEPS = 200
Cost = Callable[[Arch], float]


@dataclass(frozen=True)
class CostScale:
    """Bins of equal width over a range of costs; what lies outside belongs to an end bin.

    Attributes:
        low: least cost, in the unit of the cost function.
        high: greatest cost.
        bins: number of bins.
    """

    low: float
    high: float
    bins: int

    @property
    def width(self) -> float:
        """Width of a bin, in the unit of the cost function."""
        return (self.high - self.low) / self.bins

    def bin_of(self, cost: float) -> int:
        """The bin that `cost` lies in."""
        if not self.width > 0:
            return 0
        return min(max(int((cost - self.low) / self.width), 0), self.bins - 1)

    def ends(self, bin: int) -> tuple[float, float]:
        """Least and greatest cost of a bin."""
        return self.low + bin * self.width, self.low + (bin + 1) * self.width

    def distance(self, cost: float, bin: int) -> float:
        """How far `cost` lies from a bin; 0 within."""
        if self.bin_of(cost) == bin:
            return 0.0
        low, high = self.ends(bin)
        return max(low - cost, cost - high, math.ulp(cost))


def scale_between_corners(space: ArchSpace, cost: Cost, bins: int) -> CostScale:
    """The scale from the smallest to the largest subnet's cost.

    Raises:
        SamplerError: one of these costs is no number.
    """
    low, high = cost(space.smallest()), cost(space.largest())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise SamplerError(
            f"cost: expected finite costs of the smallest and the largest subnet, got {low} and "
            f"{high}; give a cost function that knows the whole space"
        )
    low, high = min(low, high), max(low, high)
    return CostScale(low, high, bins if high > low else 1)


class CostBank:
    """Subnets by cost bin, gathered once, so that any cost can be drawn at once.

    Draws spread over all sizes until every bin is full, then mutation walks towards thin bins. A
    bin that stays empty is left out and reported. A subnet whose cost is no number is left out.

    Args:
        space: of the supernet.
        cost: of a subnet, in any unit.
        bins: of equal width between the smallest and the largest subnet.
        seed: of the gathering.
        keep: subnets kept a bin.
        draws: at most; fewer where the space is small.
        warn: is told which bins stay empty.

    Raises:
        SamplerError: the cost of the smallest or the largest subnet is no number.
    """

    def __init__(
        self,
        space: ArchSpace,
        cost: Cost,
        *,
        bins: int = 20,
        seed: int = 0,
        keep: int = 500,
        draws: int = 5_000,
        warn: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.space, self.keep, self._cost = space, keep, cost
        self.scale = scale_between_corners(space, cost, bins)
        self._kept: list[dict[Arch, float]] = [{} for _ in range(self.scale.bins)]
        self._gather(random.Random(f"{seed}/cost bins"), draws)
        self._lists = [list(kept) for kept in self._kept]
        self.live = [bin for bin, kept in enumerate(self._kept) if kept]
        self._report(warn)

    def sample_at(self, bin: int, rng: random.Random) -> Arch:
        """A subnet whose cost lies in `bin`, one of `live`: a kept one, or a neighbour of it."""
        kept = rng.choice(self._lists[bin])
        near = self.space.mutate(kept, rng)
        return near if self.bin_of(near) == bin else kept

    def bin_of(self, arch: Arch) -> int | None:
        """The bin that the cost of `arch` lies in; None if that cost is no number."""
        cost = self._cost(arch)
        return self.scale.bin_of(cost) if math.isfinite(cost) else None

    def cheapest(self, bin: int) -> Arch:
        """The cheapest subnet known in `bin`."""
        kept = self._kept[bin]
        return min(kept, key=kept.__getitem__)

    def known(self, bin: int) -> Sequence[Arch]:
        """All subnets kept in `bin`."""
        return self._lists[bin]

    def _gather(self, rng: random.Random, draws: int) -> None:
        for corner in (self.space.smallest(), self.space.largest()):
            self._keep(corner)
        for _ in range(min(draws, 40 * self.space.size())):
            self._keep(self.space.sample_by_size(rng))
            if all(len(kept) >= self.keep for kept in self._kept):
                return
        for bin in range(self.scale.bins):
            self._walk_to(bin, rng)

    def _keep(self, arch: Arch) -> float:
        """Put `arch` where it belongs, if there is room; its cost."""
        cost = self._cost(arch)
        if math.isfinite(cost):
            kept = self._kept[self.scale.bin_of(cost)]
            if len(kept) < self.keep:
                kept.setdefault(arch, cost)
        return cost

    def _walk_to(self, bin: int, rng: random.Random) -> None:
        """Mutate the nearest known subnet towards a thin bin, and on within it until it is not."""
        if not self._thin(bin):
            return
        known = {arch: cost for kept in self._kept for arch, cost in kept.items()}
        arch = min(known, key=lambda arch: self.scale.distance(known[arch], bin))
        gap = self.scale.distance(known[arch], bin)
        for _ in range(WALK_STEPS):
            child = self.space.mutate(arch, rng)
            cost = self._keep(child)
            if math.isfinite(cost) and self.scale.distance(cost, bin) <= gap:
                arch, gap = child, self.scale.distance(cost, bin)
            if not self._thin(bin):
                return

    def _thin(self, bin: int) -> bool:
        return len(self._kept[bin]) < max(1, self.keep // 20)

    def _report(self, warn: Callable[[str], None]) -> None:
        empty = [bin for bin in range(self.scale.bins) if bin not in self.live]
        if empty:
            spans = ", ".join("{:.4g} to {:.4g}".format(*self.scale.ends(bin)) for bin in empty)
            warn(
                f"{len(empty)} of {self.scale.bins} cost bins stay empty and are never drawn: no "
                f"subnet of space {self.space.name} was found that costs {spans}"
            )


def bank_of(setting: Setting, bins: int) -> CostBank:
    """The bank of a run."""
    return CostBank(
        setting.space, setting.cost_of, bins=bins, seed=setting.seed, draws=setting.cost_draws,
        warn=setting.warn,
    )  # fmt: skip


class SameBin(Proposal):
    """Candidates of one cost: a uniform draw, and others from its cost bin (AttentiveNAS).

    The first draw's bin follows the space's own distribution of cost; the others are redrawn
    until they lie in it, at most `tries` times, then taken as they are. A first draw whose cost is
    no number is redrawn as often.

    Args:
        setting: space and cost.
        bins: of equal width between the smallest and the largest subnet.
        tries: draws a candidate.
    """

    def __init__(self, setting: Setting, *, bins: int = 20, tries: int = 100) -> None:
        self._cost, self._tries = setting.cost_of, tries
        self.scale = scale_between_corners(setting.space, setting.cost_of, bins)

    def propose(
        self, space: ArchSpace, rng: random.Random, step: int, count: int
    ) -> Sequence[Arch]:
        """`count` uniform draws that cost about the same."""
        first = self._drawn(lambda bin: bin is not None, space, rng)
        bin = self._bin_of(first)
        alike = (self._drawn(lambda other: other == bin, space, rng) for _ in range(count - 1))
        return [first, *alike]

    def _drawn(
        self, fits: Callable[[int | None], bool], space: ArchSpace, rng: random.Random
    ) -> Arch:
        """A draw whose bin fits, or after so many tries the last one."""
        arch = space.sample(rng)
        for _ in range(self._tries - 1):
            if fits(self._bin_of(arch)):
                break
            arch = space.sample(rng)
        return arch

    def _bin_of(self, arch: Arch) -> int | None:
        """The bin that the cost of `arch` lies in; None if that cost is no number."""
        cost = self._cost(arch)
        return self.scale.bin_of(cost) if math.isfinite(cost) else None


def expect_space(got: ArchSpace, made_for: ArchSpace) -> None:
    """Refuse to draw for a part of the space where the bins are those of the whole.

    Raises:
        SamplerError: the phase narrows the space.
    """
    if got != made_for:
        raise SamplerError(
            "sampler: expected a phase that leaves the whole space elastic, got one that narrows "
            "it; cost bins go together with no phase or the delayed one"
        )
