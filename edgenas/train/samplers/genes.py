"""The genes of a space by name, for samplers that treat each choice on its own.

Independent uniform draws are `ArchSpace.sample`'s; here a caller decides gene by gene. The bits of
weights are no gene of theirs: a composed subnet has the most, and training runs it in all others
as well (`edgenas.train.quantisers`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from edgenas.space.arch import Arch, BlockArch, Resolution, StageArch
from edgenas.space.layers import Layer
from edgenas.space.space import ArchSpace, StageSpace

Kind = Literal["resolution", "stem", "width", "depth", "kernel", "expand", "head"]


@dataclass(frozen=True)
class Gene:
    """One choice of a space.

    Attributes:
        owner: what it belongs to: `stem`, `head`, a stage `s0`, a block `s0.b1`; empty for the
            resolution, which has no weights.
        kind: what is chosen.
        choices: the values, ascending.
    """

    owner: str
    kind: Kind
    choices: tuple[Resolution, ...]

    @property
    def name(self) -> str:
        """Unique within a space."""
        return f"{self.owner}.{self.kind}" if self.owner else self.kind

    @property
    def last(self) -> int:
        """Index of the largest choice."""
        return len(self.choices) - 1

    def owns(self, layer: Layer) -> bool:
        """Whether the weights of `layer` are those of this choice."""
        inside = layer.name == self.owner or layer.name.startswith(f"{self.owner}.")
        sized = self.kind != "kernel" or max(layer.kernel) > 1
        return bool(self.owner) and layer.weighted and inside and sized


Choose = Callable[[Gene], int]
"""Index of the choice that a gene takes."""


def compose(space: ArchSpace, choose: Choose) -> Arch:
    """The subnet whose every gene is as `choose` says, its weights in the most bits.

    Blocks that are absent are not asked for.
    """

    def chosen(owner: str, kind: Kind, choices: tuple[int, ...]) -> int:
        return choices[choose(Gene(owner, kind, choices))]

    def stage(owner: str, of: StageSpace) -> StageArch:
        width, depth = chosen(owner, "width", of.widths), chosen(owner, "depth", of.depths)
        blocks = [
            BlockArch(
                chosen(f"{owner}.b{i}", "kernel", of.kernels_at(i)),
                chosen(f"{owner}.b{i}", "expand", of.expands_at(i)),
                tuple(of.bits_at(i, k)[-1] for k in range(len(of.layers_with_bits))),
            )
            for i in range(depth)
        ]
        return StageArch(width, tuple(blocks))

    resolution = space.resolutions[choose(Gene("", "resolution", space.resolutions))]
    stem = chosen("stem", "stem", space.stems)
    stages = tuple(stage(f"s{i}", of) for i, of in enumerate(space.stages))
    head = chosen("head", "head", space.heads)
    return Arch(resolution, stem, stages, head, space.bits[-1])


def genes(space: ArchSpace) -> tuple[Gene, ...]:
    """Every gene of a space, those of blocks that only deep subnets have included."""
    found: list[Gene] = []

    def largest(gene: Gene) -> int:
        found.append(gene)
        return gene.last

    compose(space, largest)
    return tuple(found)


def indices(space: ArchSpace, arch: Arch) -> dict[Gene, int]:
    """The genes that `arch` has, in whatever bits, with the index of what it chose."""
    listed = _listed(arch)
    found: dict[Gene, int] = {}

    def recorded(gene: Gene) -> int:
        found[gene] = gene.choices.index(next(listed))
        return found[gene]

    compose(space, recorded)
    return found


def _listed(arch: Arch) -> Iterator[Resolution]:
    """Values in the order in which `compose` asks for them."""
    yield from (arch.resolution, arch.stem)
    for stage in arch.stages:
        yield from (stage.width, stage.depth)
        for block in stage.blocks:
            yield from (block.kernel, block.expand)
    yield arch.head


def graft(depths: Arch, widths: Arch) -> Arch:
    """`widths` with the depths of `depths`; a missing block repeats the stage's last one."""
    stages = []
    for deep, wide in zip(depths.stages, widths.stages, strict=True):
        grown = wide.blocks + wide.blocks[-1:] * (deep.depth - wide.depth)
        stages.append(replace(wide, blocks=grown[: deep.depth]))
    return replace(widths, stages=tuple(stages))
