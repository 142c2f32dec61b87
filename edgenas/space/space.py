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

from edgenas.space.arch import Arch, ArchError, BlockArch, StageArch
from edgenas.space.layers import Layer, lower

WIDTH_STEP = 8
_Choose = Callable[[Sequence[int]], int]


@dataclass(frozen=True)
class StageSpace:
    """The choices of one stage; all tuples ascend.

    Attributes:
        widths: output channels, multiples of 8.
        depths: numbers of blocks.
        kernels: depthwise kernel sizes.
        expands: expansion ratios.
        stride: stride of the stage's first block.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    kernels: tuple[int, ...] = (3, 5, 7)
    expands: tuple[int, ...] = (2, 3, 4)
    stride: int = 1

    def __post_init__(self) -> None:
        for name in ("widths", "depths", "kernels", "expands"):
            _check_choices(f"stage {name}", getattr(self, name))
        _check_widths("stage widths", self.widths)
        if self.stride < 1:
            raise ArchError(f"stage stride: expected >= 1, got {self.stride}")
        if any(k % 2 == 0 for k in self.kernels):
            raise ArchError(f"stage kernels: expected odd sizes, got {self.kernels}")


@dataclass(frozen=True)
class ArchSpace:
    """A space of MBConv networks with elastic resolution, width, depth, kernel and expansion.

    Attributes:
        name: name of the preset or of the user's own space.
        channels: channels of the input image.
        classes: number of classes.
        resolutions: input sides in pixels.
        stems: output channels of the stem.
        stages: the stages in order.
        heads: output channels of the last 1x1 convolution.
        stem_stride: stride of the stem.
    """

    name: str
    channels: int
    classes: int
    resolutions: tuple[int, ...]
    stems: tuple[int, ...]
    stages: tuple[StageSpace, ...]
    heads: tuple[int, ...]
    stem_stride: int = 1

    def __post_init__(self) -> None:
        _check_choices("resolutions", self.resolutions)
        for name in ("stems", "heads"):
            _check_choices(name, getattr(self, name))
            _check_widths(name, getattr(self, name))
        if self.stem_stride < 1:
            raise ArchError(f"stem stride: expected >= 1, got {self.stem_stride}")
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
        return self._draw(lambda choices: rng.choice(choices))

    def sample_by_size(self, rng: random.Random) -> Arch:
        """A draw whose *total size* is spread out: one rate p ~ U(0,1) rules all its choices.

        Independent choices pile up in the middle (a bell curve of cost); here each gene's index
        is binomial(n - 1, p), so small and large networks are as likely as medium ones.
        """
        p = rng.random()
        return self._draw(
            lambda choices: choices[sum(rng.random() < p for _ in range(len(choices) - 1))]
        )

    def check(self, arch: Arch) -> Arch:
        """Return `arch` if it belongs to this space.

        Raises:
            ArchError: names the first choice that does not exist here.
        """
        self._expect("resolution", arch.resolution, self.resolutions)
        self._expect("stem", arch.stem, self.stems)
        self._expect("head", arch.head, self.heads)
        self._expect("bits", arch.bits, (8,))
        self._expect("number of stages", len(arch.stages), (len(self.stages),))
        for index, (stage, choices) in enumerate(zip(arch.stages, self.stages, strict=True)):
            self._expect(f"stage {index} width", stage.width, choices.widths)
            self._expect(f"stage {index} depth", stage.depth, choices.depths)
            for block in stage.blocks:
                self._expect(f"stage {index} kernel", block.kernel, choices.kernels)
                self._expect(f"stage {index} expand", block.expand, choices.expands)
        return arch

    def size(self) -> int:
        """Exact number of distinct architectures."""
        total = len(self.resolutions) * len(self.stems) * len(self.heads)
        for stage in self.stages:
            per_block = len(stage.kernels) * len(stage.expands)
            total *= len(stage.widths) * sum(per_block**depth for depth in stage.depths)
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

        def pick(a: int, b: int) -> int:
            return a if rng.random() < 0.5 else b

        stages = []
        for a, b in zip(left.stages, right.stages, strict=True):
            blocks = []
            for i in range(pick(a.depth, b.depth)):
                x = a.blocks[i] if i < a.depth else b.blocks[i]
                y = b.blocks[i] if i < b.depth else a.blocks[i]
                blocks.append(BlockArch(pick(x.kernel, y.kernel), pick(x.expand, y.expand)))
            stages.append(StageArch(pick(a.width, b.width), tuple(blocks)))
        return Arch(
            pick(left.resolution, right.resolution),
            pick(left.stem, right.stem),
            tuple(stages),
            pick(left.head, right.head),
        )

    def encode(self, arch: Arch) -> tuple[int, ...]:
        """Masked ordinals: the values themselves, 0 for the genes of blocks that are absent."""
        row = [arch.resolution, arch.stem, arch.head]
        for stage, choices in zip(arch.stages, self.stages, strict=True):
            row += [stage.width, stage.depth]
            for i in range(choices.depths[-1]):
                block = stage.blocks[i] if i < stage.depth else None
                row += [block.kernel, block.expand] if block else [0, 0]
        return tuple(row)

    def restrict(self, **choices: tuple[int, ...]) -> ArchSpace:
        """A subspace with fewer resolutions, stems or heads.

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

    def macs(self, arch: Arch) -> int:
        """Multiply-accumulates of one inference."""
        return sum(layer.macs for layer in self.layers(arch))

    def weight_bytes(self, arch: Arch) -> int:
        """INT8 weights and INT32 biases, in bytes (the file adds its graph to this)."""
        return sum(layer.weight_bytes for layer in self.layers(arch))

    # --- helpers -------------------------------------------------------------------------------

    def _corner(self, index: int) -> Arch:
        return self._draw(lambda choices: choices[index])

    def _draw(self, choose: _Choose) -> Arch:
        stages = []
        resolution, stem = choose(self.resolutions), choose(self.stems)
        for stage in self.stages:
            width, depth = choose(stage.widths), choose(stage.depths)
            blocks = tuple(
                BlockArch(choose(stage.kernels), choose(stage.expands)) for _ in range(depth)
            )
            stages.append(StageArch(width, blocks))
        return Arch(resolution, stem, tuple(stages), choose(self.heads))

    def _redraw(self, arch: Arch, rng: random.Random, rate: float) -> Arch:
        def maybe(value: int, choices: Sequence[int]) -> int:
            return rng.choice(choices) if rng.random() < rate else value

        stages = []
        for stage, choices in zip(arch.stages, self.stages, strict=True):
            depth = maybe(stage.depth, choices.depths)
            blocks = []
            for i in range(depth):
                if i < stage.depth:
                    old = stage.blocks[i]
                    new = BlockArch(
                        maybe(old.kernel, choices.kernels), maybe(old.expand, choices.expands)
                    )
                else:
                    new = BlockArch(rng.choice(choices.kernels), rng.choice(choices.expands))
                blocks.append(new)
            stages.append(StageArch(maybe(stage.width, choices.widths), tuple(blocks)))
        return Arch(
            maybe(arch.resolution, self.resolutions),
            maybe(arch.stem, self.stems),
            tuple(stages),
            maybe(arch.head, self.heads),
        )

    def _expect(self, what: str, got: int, choices: tuple[int, ...]) -> None:
        if got not in choices:
            raise ArchError(
                f"space {self.name}: expected {what} among {choices}, got {got}; "
                f"use an architecture that was drawn from this space"
            )


@lru_cache(maxsize=4096)
def _lowered(space: ArchSpace, arch: Arch) -> tuple[Layer, ...]:
    return lower(
        arch,
        channels=space.channels,
        classes=space.classes,
        stem_stride=space.stem_stride,
        strides=tuple(stage.stride for stage in space.stages),
    )


def _check_choices(name: str, values: tuple[int, ...]) -> None:
    if not values or list(values) != sorted(set(values)) or values[0] < 1:
        raise ArchError(f"{name}: expected ascending distinct positive integers, got {values}")


def _check_widths(name: str, values: tuple[int, ...]) -> None:
    if any(v % WIDTH_STEP for v in values):
        raise ArchError(f"{name}: expected multiples of {WIDTH_STEP}, got {values}")
