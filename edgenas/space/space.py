"""`ArchSpace`: which architectures exist, and how to move among them.

Sampling, mutation, crossover, encoding and counting live here, together with the costs that need
no device. Presets are in `edgenas.space.presets`; what an architecture's layers are is in
`edgenas.space.layers`. No torch: the search side imports this module too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from math import prod
from typing import TypeVar, get_args

from edgenas.space.arch import (
    FULL_BITS,
    Arch,
    ArchError,
    BlockArch,
    Resolution,
    Sides,
    StageArch,
    sides,
)
from edgenas.space.layers import Layer, lower
from edgenas.space.stage import (
    LAYERS,
    Axes,
    StageSpace,
    StemSpace,
    check_bits,
    check_choices,
    check_named,
    check_widths,
    spanned,
)

__all__ = ["ArchSpace", "StageSpace"]

_Gene = TypeVar("_Gene")


@dataclass(frozen=True)
class ArchSpace:
    """A space of networks with elastic resolution, width, depth, kernel and expansion.

    Attributes:
        name: name of the preset or of the user's own space.
        channels: channels of the input image.
        classes: number of classes.
        resolutions: input sides in pixels, or (height, width) where inputs are not square.
        stems: output channels of the stem.
        stages: the stages in order.
        heads: output channels of the last 1x1 convolution.
        stem_stride: stride of the stem.
        stem_kernel: kernel size of the stem.
        stem_axes: both: the stem is a square convolution. time: its window spans the whole width
            of the input, which so becomes channels; kernel and stride are along the height.
        bits: of the weights of a whole network, ascending. More than one makes the precision a
            choice like any other. Layers of stages that have `bits` choose for themselves; this one
            is then of the rest: stem, head, classifier.
    """

    name: str
    channels: int
    classes: int
    resolutions: tuple[Resolution, ...]
    stems: tuple[int, ...]
    stages: tuple[StageSpace, ...]
    heads: tuple[int, ...]
    stem_stride: int = 1
    stem_kernel: int = 3
    stem_axes: Axes = "both"
    bits: tuple[int, ...] = (FULL_BITS,)

    def __post_init__(self) -> None:
        _check_resolutions(self.resolutions, self.stem_axes)
        for name in ("stems", "heads"):
            check_choices(name, getattr(self, name))
            check_widths(name, getattr(self, name))
        check_bits(self.bits)
        check_named("stem axes", self.stem_axes, get_args(Axes))
        if self.stem_stride < 1:
            raise ArchError(f"stem stride: expected >= 1, got {self.stem_stride}")
        if self.stem_kernel < 1 or self.stem_kernel % 2 == 0:
            raise ArchError(f"stem kernel: expected an odd size, got {self.stem_kernel}")
        if self.channels < 1 or self.classes < 2 or not self.stages:
            raise ArchError(
                f"space {self.name}: expected >= 1 channel, >= 2 classes and >= 1 stage, got "
                f"{self.channels}, {self.classes}, {len(self.stages)}"
            )

    # --- members -------------------------------------------------------------------------------

    def largest(self) -> Arch:
        """Every choice at its maximum."""
        return self._corner(-1)

    def smallest(self) -> Arch:
        """Every choice at its minimum."""
        return self._corner(0)

    def sample(self, rng: random.Random) -> Arch:
        """Every choice uniform and independent (SPOS)."""
        return self._draw(rng.randrange)

    def sample_by_size(self, rng: random.Random) -> Arch:
        """A draw whose *total size* is spread out: one rate p ~ U(0,1) rules all its choices.

        Independent choices pile up in the middle (a bell curve of cost); here each gene's index
        is binomial(n - 1, p), so small and large networks are as likely as medium ones.
        """
        p = rng.random()
        return self._draw(lambda count: sum(rng.random() < p for _ in range(count - 1)))

    def check(self, arch: Arch) -> Arch:
        """Return `arch` if it belongs to this space.

        Raises:
            ArchError: names the first choice that does not exist here.
        """
        self.check_form(arch)
        self._expect("bits", arch.bits, self.bits)
        for index, (stage, choices) in enumerate(zip(arch.stages, self.stages, strict=True)):
            for i, block in enumerate(stage.blocks):
                offered = [choices.bits_at(i, k) for k in range(len(choices.layers_with_bits))]
                self._expect(f"number of bits in stage {index}", len(block.bits), (len(offered),))
                for bits, options in zip(block.bits, offered, strict=True):
                    self._expect(f"stage {index} bits", bits, options)
        return arch

    def check_form(self, arch: Arch) -> Arch:
        """Return `arch` if it belongs to this space but perhaps for the bits of its weights.

        Raises:
            ArchError: names the first choice that does not exist here.
        """
        self._expect("resolution", arch.resolution, self.resolutions)
        self._expect("stem", arch.stem, self.stems)
        self._expect("head", arch.head, self.heads)
        self._expect("number of stages", len(arch.stages), (len(self.stages),))
        for index, (stage, choices) in enumerate(zip(arch.stages, self.stages, strict=True)):
            self._expect(f"stage {index} width", stage.width, choices.widths)
            self._expect(f"stage {index} depth", stage.depth, choices.depths)
            for i, block in enumerate(stage.blocks):
                self._expect(f"stage {index} kernel", block.kernel, choices.kernels_at(i))
                self._expect(f"stage {index} expand", block.expand, choices.expands_at(i))
                known = (0, len(LAYERS[choices.block]))
                self._expect(f"number of bits in stage {index}", len(block.bits), known)
        return arch

    def size(self) -> int:
        """Exact number of distinct architectures."""
        total = len(self.resolutions) * len(self.stems) * len(self.heads) * len(self.bits)
        for stage in self.stages:
            per_block = [
                len(stage.kernels_at(i))
                * len(stage.expands_at(i))
                * prod(len(stage.bits_at(i, k)) for k in range(len(stage.layers_with_bits)))
                for i in range(stage.depths[-1])
            ]
            total *= len(stage.widths) * sum(prod(per_block[:depth]) for depth in stage.depths)
        return total

    # --- moves ---------------------------------------------------------------------------------

    def mutate(self, arch: Arch, rng: random.Random, rate: float = 0.1) -> Arch:
        """Redraw each gene with probability `rate`, at least one; the result differs from `arch`.

        A depth that grows brings freshly drawn blocks. Bounded: in the rare case that no redraw
        changed anything, a fresh sample is returned.
        """
        for _ in range(50):
            child = self._redraw(arch, rng, rate)
            if child != arch:
                return child
            rate = min(1.0, rate * 1.5 + 0.02)
        return self.sample(rng)

    def crossover(self, left: Arch, right: Arch, rng: random.Random) -> Arch:
        """Uniform crossover: each gene from either parent; blocks that one lacks from the other."""

        def pick(a: _Gene, b: _Gene) -> _Gene:
            return a if rng.random() < 0.5 else b

        stages = []
        for a, b in zip(left.stages, right.stages, strict=True):
            blocks = []
            for i in range(pick(a.depth, b.depth)):
                x = a.blocks[i] if i < a.depth else b.blocks[i]
                y = b.blocks[i] if i < b.depth else a.blocks[i]
                bits = tuple(pick(*pair) for pair in zip(x.bits, y.bits, strict=False))  # or none
                blocks.append(BlockArch(pick(x.kernel, y.kernel), pick(x.expand, y.expand), bits))
            stages.append(StageArch(pick(a.width, b.width), tuple(blocks)))
        return Arch(
            pick(left.resolution, right.resolution),
            pick(left.stem, right.stem),
            tuple(stages),
            pick(left.head, right.head),
            pick(left.bits, right.bits) if self._chooses_bits else left.bits,
        )

    def encode(self, arch: Arch) -> tuple[int, ...]:
        """Masked ordinals: the values themselves, 0 for the genes of blocks that are absent.

        The bits come last, where they are a choice: rows of other spaces are as they always were.
        """
        squares = all(isinstance(resolution, int) for resolution in self.resolutions)
        row = [*arch.sides[: 1 if squares else 2], arch.stem, arch.head]
        for stage, choices in zip(arch.stages, self.stages, strict=True):
            row += [stage.width, stage.depth]
            for i in range(choices.depths[-1]):
                block = stage.blocks[i] if i < stage.depth else None
                row += [block.kernel, block.expand] if block else [0, 0]
                count = len(choices.layers_with_bits)
                row += (block.bits or [arch.bits] * count) if block else [0] * count
        return (*row, arch.bits) if self._chooses_bits else tuple(row)

    def fitted(self, arch: Arch, rng: random.Random) -> Arch:
        """`arch` itself; a space that moves within a limit gives a network like it."""
        return arch

    def restrict(self, **choices: tuple[Resolution, ...]) -> ArchSpace:
        """A subspace with fewer resolutions, stems, heads or bits; any choice by its name is
        `edgenas.space.narrowing`'s.

        Raises:
            ArchError: a value is not a choice of this space.
        """
        for name, values in choices.items():
            for value in values:
                self._expect(name, value, getattr(self, name))
        return replace(self, name=f"{self.name}-restricted", **choices)  # type: ignore[arg-type]

    # --- layers and cost -----------------------------------------------------------------------

    def layers(self, arch: Arch) -> tuple[Layer, ...]:
        """The layers of `arch`, in execution order."""
        return _lowered(self, arch)

    def every_layer(self) -> tuple[Layer, ...]:
        """Each layer that some subnet has, as large as any needs it, in execution order.

        The largest subnet alone does not show every addition and shortcut: they depend on shapes.
        """
        return _lower(self, self._corner(-1), everything=True)

    def map_sizes(self, arch: Arch) -> tuple[Sides, ...]:
        """Height and width of the feature map after the stem and after each stage."""
        layers, ends = self.layers(arch), ["stem"]
        for index, stage in enumerate(arch.stages):
            block = f"s{index}.b{stage.depth - 1}."
            ends.append([layer.name for layer in layers if layer.name.startswith(block)][-1])
        return tuple(layer.out_size for layer in layers if layer.name in ends)

    def macs(self, arch: Arch) -> int:
        """Multiply-accumulates of one inference."""
        return sum(layer.macs for layer in self.layers(arch))

    def weight_bytes(self, arch: Arch) -> int:
        """INT8 weights and INT32 biases, in bytes (the file adds its graph to this)."""
        return sum(layer.weight_bytes for layer in self.layers(arch))

    def packed_bytes(self, arch: Arch) -> int:
        """Weights in the bits of their layers and INT32 biases, in bytes: what has to be told.

        The file keeps every weight in a byte, whatever its bits; one that compresses tends to this.
        """
        return sum(layer.packed_bytes for layer in self.layers(arch))

    # --- helpers -------------------------------------------------------------------------------

    @property
    def precisions(self) -> frozenset[int]:
        """Every width that weights of some network of the space have."""
        return frozenset(self.bits).union(*(stage.bits for stage in self.stages))

    @property
    def mixes_bits(self) -> bool:
        """Whether layers of one network may differ in the width of their weights."""
        return any(stage.bits for stage in self.stages)

    def with_drawn_bits(self, arch: Arch, rng: random.Random) -> Arch:
        """The same network with all bits drawn anew, as `sample` draws them."""
        return self.with_bits(arch, rng.choice)

    def with_bits(self, arch: Arch, choose: Callable[[Sequence[int]], int]) -> Arch:
        """The same network with all bits chosen anew, in the order of the blocks."""
        stages = []
        for stage, choices in zip(arch.stages, self.stages, strict=True):
            blocks = [
                replace(block, bits=_each_bits(choices, i, choose))
                for i, block in enumerate(stage.blocks)
            ]
            stages.append(replace(stage, blocks=tuple(blocks)))
        return replace(arch, stages=tuple(stages), bits=choose(self.bits))

    @property
    def _chooses_bits(self) -> bool:
        """Where they are no choice nothing is drawn for them: draws stay as they always were."""
        return len(self.bits) > 1

    def _corner(self, index: int) -> Arch:
        return self._draw(lambda count: index)

    def _draw(self, index_of: Callable[[int], int]) -> Arch:
        """An architecture; `index_of` says which one of so many choices to take."""

        def choose(choices: Sequence[_Gene]) -> _Gene:
            return choices[index_of(len(choices))]

        stages = []
        resolution, stem = choose(self.resolutions), choose(self.stems)
        for stage in self.stages:
            width, depth = choose(stage.widths), choose(stage.depths)
            blocks = tuple(
                BlockArch(
                    choose(stage.kernels_at(i)),
                    choose(stage.expands_at(i)),
                    _each_bits(stage, i, choose),
                )
                for i in range(depth)
            )
            stages.append(StageArch(width, blocks))
        head = choose(self.heads)
        bits = choose(self.bits) if self._chooses_bits else self.bits[0]
        return Arch(resolution, stem, tuple(stages), head, bits)

    def _redraw(self, arch: Arch, rng: random.Random, rate: float) -> Arch:
        def maybe(value: _Gene, choices: Sequence[_Gene]) -> _Gene:
            return rng.choice(choices) if rng.random() < rate else value

        stages = []
        for stage, choices in zip(arch.stages, self.stages, strict=True):
            depth = maybe(stage.depth, choices.depths)
            blocks = []
            for i in range(depth):
                kernels, expands = choices.kernels_at(i), choices.expands_at(i)
                if i < stage.depth:
                    old = stage.blocks[i]
                    bits = tuple(maybe(b, choices.bits_at(i, k)) for k, b in enumerate(old.bits))
                    new = BlockArch(maybe(old.kernel, kernels), maybe(old.expand, expands), bits)
                else:
                    bits = _each_bits(choices, i, rng.choice)
                    new = BlockArch(rng.choice(kernels), rng.choice(expands), bits)
                blocks.append(new)
            stages.append(StageArch(maybe(stage.width, choices.widths), tuple(blocks)))
        return Arch(
            maybe(arch.resolution, self.resolutions),
            maybe(arch.stem, self.stems),
            tuple(stages),
            maybe(arch.head, self.heads),
            maybe(arch.bits, self.bits) if self._chooses_bits else arch.bits,
        )

    def _expect(self, what: str, got: Resolution, choices: tuple[Resolution, ...]) -> None:
        if got not in choices:
            raise ArchError(
                f"space {self.name}: expected {what} among {choices}, got {got}; "
                f"use an architecture that was drawn from this space"
            )


@lru_cache(maxsize=4096)
def _lowered(space: ArchSpace, arch: Arch) -> tuple[Layer, ...]:
    return _lower(space, arch, everything=False)


def _lower(space: ArchSpace, arch: Arch, *, everything: bool) -> tuple[Layer, ...]:
    width = arch.sides[1]
    kernel = spanned(space.stem_kernel, space.stem_axes, across=width)
    stride = spanned(space.stem_stride, space.stem_axes, across=width)
    return lower(
        arch,
        channels=space.channels,
        classes=space.classes,
        stem=StemSpace(space.stems, kernel, stride),
        stages=space.stages,
        everything=everything,
    )


def _each_bits(
    stage: StageSpace, number: int, choose: Callable[[Sequence[int]], int]
) -> tuple[int, ...]:
    """Bits of each layer of block `number` that has some of its own."""
    return tuple(choose(stage.bits_at(number, k)) for k in range(len(stage.layers_with_bits)))


def _check_resolutions(values: tuple[Resolution, ...], stem_axes: Axes) -> None:
    pairs = [sides(value) for value in values]
    ascends = all(a[0] <= b[0] and a[1] <= b[1] and a != b for a, b in pairwise(pairs))
    if not pairs or not ascends or min(pairs[0]) < 1:
        raise ArchError(f"resolutions: expected ascending distinct positive sizes, got {values}")
    for value in values:
        if not isinstance(value, int) and value[0] == value[1]:
            raise ArchError(f"resolutions: expected {value[0]} for a square, got {value}")
    if stem_axes == "time" and len({width for _, width in pairs}) > 1:
        raise ArchError(f"resolutions: expected one width for a stem that spans it, got {values}")
