"""A fixed list of subnets, and the nested lists of SortedNet and MatFormer.

Every tensor of a listed subnet is a prefix slice of the full one: widths take the first channels,
depths the first blocks. A smaller kernel is a centre crop, no prefix, so nested lists keep kernels
at their largest. Lists chosen by a score are `edgenas.train.samplers.prenas`'s.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Hashable, Sequence

from edgenas.space.arch import Arch
from edgenas.space.space import ArchSpace
from edgenas.train.samplers.base import SamplerError
from edgenas.train.samplers.composed import Proposal
from edgenas.train.samplers.genes import Gene, Kind, compose

_WIDE: tuple[Kind, ...] = ("stem", "width", "head")


class FixedList(Proposal):
    """Draws from a list: first a group, then one of the group, both uniformly.

    Args:
        groups: subnets that share their turn; none is empty.

    Raises:
        SamplerError: there is nothing to draw.
    """

    def __init__(self, groups: Sequence[Sequence[Arch]]) -> None:
        if not groups or not all(groups):
            raise SamplerError("fixed list: expected at least one subnet a group, got none")
        self.groups = [tuple(group) for group in groups]

    @property
    def archs(self) -> tuple[Arch, ...]:
        """Every subnet of the list."""
        return tuple(itertools.chain.from_iterable(self.groups))

    @property
    def listed(self) -> Sequence[Arch]:
        """All of them."""
        return self.archs

    def least(self, space: ArchSpace) -> Arch:
        """The one with the fewest multiply-accumulates."""
        return min(self.archs, key=space.macs)

    def propose(
        self, space: ArchSpace, rng: random.Random, step: int, count: int
    ) -> Sequence[Arch]:
        """Independent draws from the list."""
        return [rng.choice(rng.choice(self.groups)) for _ in range(count)]


def grouped(archs: Sequence[Arch]) -> list[list[Arch]]:
    """By widths and depths, so that neither is trained more for having more variants (PreNAS)."""

    def shape(arch: Arch) -> Hashable:
        return (arch.stem, arch.head, tuple((s.width, s.depth) for s in arch.stages))

    groups: dict[Hashable, list[Arch]] = {}
    for arch in archs:
        groups.setdefault(shape(arch), []).append(arch)
    return list(groups.values())


def sorted_nets(space: ArchSpace, most: int = 160) -> list[Arch]:
    """Nested subnets: resolution, width, depth and expansion, each at one level throughout.

    Valipour et al., SortedNet, who train up to 160 at once. Ordered by cost, ends included.

    Args:
        space: of the supernet.
        most: subnets listed at most, evenly thinned out.
    """
    widths = max(map(len, (space.stems, space.heads, *(s.widths for s in space.stages))))
    depths = max(len(stage.depths) for stage in space.stages)
    expands = max(len(stage.expands) for stage in space.stages)
    counts = (len(space.resolutions), widths, depths, expands)
    levels = itertools.product(*(_levels(count) for count in counts))
    archs = dict.fromkeys(_nested(space, *level) for level in levels)
    return _thinned(sorted(archs, key=space.macs), most)


def mat_nets(space: ArchSpace) -> list[Arch]:
    """One subnet a granularity: the inner width of every block at one level, all else at its
    largest (Devvrit et al., MatFormer, with the expansion in the part of the feed-forward width).
    """
    expands = max(len(stage.expands) for stage in space.stages)
    archs = [_nested(space, 1.0, 1.0, 1.0, level) for level in _levels(expands)]
    return list(dict.fromkeys(archs))


def _levels(count: int) -> list[float]:
    """Evenly spaced from 0 to 1; 1 alone if there is no choice."""
    return [i / (count - 1) for i in range(count)] if count > 1 else [1.0]


def _nested(space: ArchSpace, resolution: float, width: float, depth: float, expand: float) -> Arch:
    level: dict[Kind, float] = {
        "resolution": resolution, "depth": depth, "expand": expand, "kernel": 1.0,
        **dict.fromkeys(_WIDE, width),
    }  # fmt: skip

    def at_level(gene: Gene) -> int:
        return round(level[gene.kind] * gene.last)

    return compose(space, at_level)


def _thinned(ordered: list[Arch], most: int) -> list[Arch]:
    if len(ordered) <= most:
        return ordered
    return [ordered[round(i * (len(ordered) - 1) / (most - 1))] for i in range(most)]
