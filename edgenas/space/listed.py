"""The networks of a list, as a space: all its moves stay within the list.

For supernets whose training ran nothing but a list of subnets (PreNAS, SortedNet): whoever moves
within such a space, a searcher above all, meets no other. Which lists there are is the samplers'.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from operator import itemgetter

from edgenas.space.arch import Arch, ArchError
from edgenas.space.space import ArchSpace

_NEAR = 2
_DRAWS_OF_BITS = 14


@dataclass(frozen=True)
class ListedSpace(ArchSpace):
    """The listed networks of a space; see `listed`.

    Neighbours are neighbours by cost. `size` still counts all of the space, and `check` lets all of
    it through, as the form of what is listed.

    Attributes:
        archs: networks of the space, each once, by ascending multiply-accumulates.
    """

    archs: tuple[Arch, ...] = field(default=(), hash=False)  # which would take long

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.archs:
            raise ArchError(
                f"list of networks of space {self.name}: expected at least one, got none; allow "
                f"more, or train with a sampler that draws from all of the space"
            )
        for arch in self.archs:
            self.check(arch)

    def admits(self, arch: Arch) -> bool:
        """Whether a network is listed."""
        return arch in self.archs

    def fitted(self, arch: Arch, rng: random.Random) -> Arch:
        """`arch` itself, or the listed network that comes next by cost."""
        if self.admits(arch):
            return arch
        costs = [self.macs(one) for one in self.archs]
        return self.archs[min(bisect_left(costs, self.macs(arch)), len(costs) - 1)]

    def largest(self) -> Arch:
        """The listed network with the most multiply-accumulates."""
        return self.archs[-1]

    def smallest(self) -> Arch:
        """The listed network with the fewest."""
        return self.archs[0]

    def sample(self, rng: random.Random) -> Arch:
        """A listed network, each as likely as any other."""
        return rng.choice(self.archs)

    def sample_by_size(self, rng: random.Random) -> Arch:
        """The same: lists are made over all sizes."""
        return rng.choice(self.archs)

    def mutate(self, arch: Arch, rng: random.Random, rate: float = 0.1) -> Arch:
        """A listed network near `arch` by cost, another one where there is one."""
        place = self._place(arch, rng)
        near = [*range(place - _NEAR, place), *range(place + 1, place + _NEAR + 1)]
        others = [self.archs[i] for i in near if 0 <= i < len(self.archs)]
        return rng.choice(others) if others else self.archs[place]

    def crossover(self, left: Arch, right: Arch, rng: random.Random) -> Arch:
        """A listed network whose cost lies between those of two others."""
        low, high = sorted((self._place(left, rng), self._place(right, rng)))
        return self.archs[rng.randint(low, high)]

    def _place(self, arch: Arch, rng: random.Random) -> int:
        return self.archs.index(self.fitted(arch, rng))


def listed(
    space: ArchSpace, archs: Iterable[Arch], most_packed_bytes: int | None = None
) -> ListedSpace:
    """The listed networks of `space`, in all the bits that it offers.

    Args:
        space: of the networks.
        archs: the list, in any bits.
        most_packed_bytes: leaves out what takes more, in the bits of its layers.

    Raises:
        ArchError: nothing is left, or a network is not one of the space.
    """
    found = dict.fromkeys(one for arch in archs for one in _in_its_bits(space, arch))
    if most_packed_bytes is not None:
        found = {a: None for a in found if space.packed_bytes(a) <= most_packed_bytes}
    ordered = sorted(found, key=lambda arch: (space.macs(arch), arch.id))
    values = {one.name: getattr(space, one.name) for one in fields(ArchSpace)}
    return ListedSpace(**values, archs=tuple(ordered))


def _in_its_bits(space: ArchSpace, arch: Arch) -> list[Arch]:
    """A network in the bits that a space offers: all of them where they are equal everywhere."""
    if not space.mixes_bits:
        return [arch.in_bits(bits) for bits in space.bits]
    rng = random.Random(f"bits/{arch.in_bits(space.bits[0]).id}")
    ends = (space.with_bits(arch, itemgetter(end)) for end in (0, -1))
    return [*ends, *(space.with_drawn_bits(arch, rng) for _ in range(_DRAWS_OF_BITS))]
