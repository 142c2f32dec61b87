"""The choices of the stem and of one stage, and the form that all blocks of a stage share.

What a block consists of is `edgenas.space.layers`; how choices are drawn and moved is
`edgenas.space.space`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from edgenas.space.arch import FULL_BITS, ArchError, Sides

WIDTH_STEP = 8
BlockKind = Literal["mbconv", "fused", "resnet", "conv"]
Axes = Literal["both", "time"]
LAYERS: Mapping[BlockKind, tuple[str, ...]] = {
    "mbconv": ("expand", "depthwise", "project"),
    "fused": ("expand", "project"),
    "resnet": ("first", "second"),
    "conv": ("conv",),
}
"""The layers of a block that may have bits of their own, by kind. The shortcut of a ResNet block,
which only some shapes have, has those of `first`."""


@dataclass(frozen=True)
class StemSpace:
    """The first convolution.

    Attributes:
        widths: choices of its output channels.
        kernel: (height, width) in pixels.
        stride: (down, across).
    """

    widths: tuple[int, ...]
    kernel: Sides
    stride: Sides


@dataclass(frozen=True)
class StageSpace:
    """The choices of one stage; all tuples ascend.

    Attributes:
        widths: output channels, multiples of 8.
        depths: numbers of blocks.
        kernels: kernel sizes.
        expands: expansion ratios: hidden channels over input channels, in a ResNet block over
            output channels. A plain convolution has none: (1,).
        stride: stride of the stage's first block.
        block: what its blocks are. mbconv: 1x1 expansion, depthwise, 1x1 projection (MobileNetV2);
            fused: a convolution that expands, 1x1 projection (MobileDets); resnet: two
            convolutions and their input, added; conv: one convolution.
        axes: what kernels and strides span. both: k x k; time: k x 1, the first axis alone, as in
            time-delay networks.
        block_kernels: kernel sizes of single blocks, the first block's first, where they are
            others than the stage's; () stands for the stage's.
        block_expands: the same of expansion ratios.
        bits: widths of weights among which every layer of every block chooses for itself (SimQ-NAS,
            Nagarajan et al. 2023); () where all have the network's.
        layer_bits: the same of single layers: those of the first block, in the order of `LAYERS`,
            then those of the second one, and so on; () stands for the stage's.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    kernels: tuple[int, ...] = (3, 5, 7)
    expands: tuple[int, ...] = (2, 3, 4)
    stride: int = 1
    block: BlockKind = "mbconv"
    axes: Axes = "both"
    block_kernels: tuple[tuple[int, ...], ...] = ()
    block_expands: tuple[tuple[int, ...], ...] = ()
    bits: tuple[int, ...] = ()
    layer_bits: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        for name in ("widths", "depths", "kernels", "expands"):
            check_choices(f"stage {name}", getattr(self, name))
        check_named("stage block", self.block, get_args(BlockKind))
        for name in ("kernels", "expands"):
            self._settle(f"block_{name}", getattr(self, name), self.depths[-1])
        check_widths("stage widths", self.widths)
        if self.layer_bits and not self.bits:
            raise ArchError(
                f"stage layer_bits: expected none without bits for the stage, got "
                f"{self.layer_bits}; say bits as well, or leave both out"
            )
        self._settle("layer_bits", self.bits, self.depths[-1] * len(self.layers_with_bits))
        for bits in filter(None, (self.bits, *self.layer_bits)):
            check_bits(bits)
        check_named("stage axes", self.axes, get_args(Axes))
        if self.stride < 1:
            raise ArchError(f"stage stride: expected >= 1, got {self.stride}")
        for kernels in (self.kernels, *filter(None, self.block_kernels)):
            if any(k % 2 == 0 for k in kernels):
                raise ArchError(f"stage kernels: expected odd sizes, got {kernels}")
        for expands in (self.expands, *filter(None, self.block_expands)):
            if self.block == "conv" and expands != (1,):
                raise ArchError(
                    f"stage expands: expected (1,) for blocks of one convolution, got {expands}"
                )

    def spanned(self, length: int) -> Sides:
        """A kernel or stride of this length, over the axes of the stage."""
        return spanned(length, self.axes)

    def kernels_at(self, number: int) -> tuple[int, ...]:
        """Kernel sizes of block `number`, counted from 0."""
        return _own(self.block_kernels, number) or self.kernels

    def expands_at(self, number: int) -> tuple[int, ...]:
        """Expansion ratios of block `number`, counted from 0."""
        return _own(self.block_expands, number) or self.expands

    @property
    def layers_with_bits(self) -> tuple[str, ...]:
        """The layers of a block that choose their bits; none where all have the network's."""
        return LAYERS[self.block] if self.bits else ()

    def bits_at(self, number: int, layer: int) -> tuple[int, ...]:
        """Bits of layer `layer` of block `number`, both counted from 0."""
        return _own(self.layer_bits, number * len(self.layers_with_bits) + layer) or self.bits

    def _settle(self, name: str, whole: tuple[int, ...], most: int) -> None:
        """Check what single ones have, and write it in one way: equal spaces are equal."""
        kept = [() if own == whole else own for own in map(tuple, getattr(self, name)[:most])]
        for own in filter(None, kept):
            check_choices(name.replace("_", " "), own)
        while kept and not kept[-1]:
            kept.pop()
        object.__setattr__(self, name, tuple(kept))


def _own(of_blocks: tuple[tuple[int, ...], ...], number: int) -> tuple[int, ...]:
    return of_blocks[number] if number < len(of_blocks) else ()


def spanned(length: int, axes: Axes, across: int = 1) -> Sides:
    """(length, length), or along time only: (length, across)."""
    return (length, length) if axes == "both" else (length, across)


def check_named(name: str, value: str, known: Sequence[str]) -> None:
    """Let a known name through.

    Raises:
        ArchError: it is another one.
    """
    if value not in known:
        raise ArchError(f"{name}: expected one of {', '.join(known)}, got {value!r}")


def check_choices(name: str, values: tuple[int, ...]) -> None:
    """Let ascending positive integers through.

    Raises:
        ArchError: they are something else.
    """
    if not values or list(values) != sorted(set(values)) or values[0] < 1:
        raise ArchError(f"{name}: expected ascending distinct positive integers, got {values}")


def check_widths(name: str, values: tuple[int, ...]) -> None:
    """Let multiples of 8 through.

    Raises:
        ArchError: a value is none.
    """
    if any(v % WIDTH_STEP for v in values):
        raise ArchError(f"{name}: expected multiples of {WIDTH_STEP}, got {values}")


def check_bits(values: tuple[int, ...]) -> None:
    """Let ascending numbers of bits that a weight may have through.

    Raises:
        ArchError: they are something else.
    """
    check_choices("bits", values)
    if values[0] < 2 or values[-1] > FULL_BITS:
        raise ArchError(f"bits: expected 2 to {FULL_BITS}, got {values}")
