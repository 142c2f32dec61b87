"""Draws the picked architecture: a row of stages, each with one box a block.

Colour says kernel, height says expansion, and both are written into the box. Plain HTML, so that
the stages wrap on a narrow page.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgenas.report import units
from edgenas.report.markup import Markup, element, join
from edgenas.space import Arch, BlockArch, Sides, StageArch, StageSpace

_LOWEST_PX = 34.0
_GROWTH_PX = 34.0
_LINE_PX = 15.0
_COLOURED_KERNELS = (1, 3, 5, 7, 9)
_KINDS = {"mbconv": "MBConv", "fused": "fused MBConv", "resnet": "ResNet", "conv": "convolution"}


def draw_arch(arch: Arch, sizes: Sequence[Sides] = (), forms: Sequence[StageSpace] = ()) -> Markup:
    """Return the architecture from input to head, with a legend.

    Args:
        arch: what to draw.
        sizes: (height, width) of the feature map after the stem and after each stage; without them
            none is written.
        forms: what the blocks of each stage are; without them all are square MBConv.
    """
    tallest = max((one.expand for stage in arch.stages for one in stage.blocks), default=1)
    forms = forms or [StageSpace((8,), (1,)) for _ in arch.stages]
    notes = [_size(size) for size in sizes] or [""] * (1 + len(arch.stages))
    parts = [_end("input", _size(arch.sides)), _end("stem", f"{arch.stem} ch", notes[0])]
    for index, (stage, form) in enumerate(zip(arch.stages, forms, strict=True), 1):
        note = " · ".join(filter(None, (f"{stage.width} ch", notes[index])))
        parts.append(_draw_stage(index, stage, form, note, tallest))
    parts.append(_end("head", f"{arch.head} ch"))
    return join((element("div", *parts, class_="arch"), _legend(arch, forms, bool(sizes))))


def _size(sides: Sides) -> str:
    return f"{sides[0]}×{sides[1]}"


def _end(name: str, value: str, note: str = "") -> Markup:
    return element(
        "div",
        element("div", name, class_="stage-name"),
        element("div", element("div", value, class_="end-box"), class_="stage-blocks"),
        element("div", note or "\u00a0", class_="stage-note"),
        class_="stage end",
    )


def _draw_stage(number: int, stage: StageArch, form: StageSpace, note: str, tallest: int) -> Markup:
    blocks = [_draw_block(block, form, tallest) for block in stage.blocks]
    return element(
        "div",
        element("div", f"stage {number}", class_="stage-name"),
        element("div", *blocks, class_="stage-blocks"),
        element("div", note, class_="stage-note"),
        class_="stage",
        title=f"stage {number}: {units.plural(stage.depth, 'block')}, {stage.width} channels",
    )


def _draw_block(block: BlockArch, form: StageSpace, tallest: int) -> Markup:
    height = _LOWEST_PX + _GROWTH_PX * block.expand / tallest + _LINE_PX * bool(block.bits)
    kernel = _size(form.spanned(block.kernel))
    colour = f"k{block.kernel}" if block.kernel in _COLOURED_KERNELS else "k-other"
    return element(
        "div",
        element("b", kernel),
        element("span", f"e{block.expand}"),
        _bits(block),
        class_=f"block {colour}",
        style=f"height:{height:.0f}px",
        title=f"{_KINDS[form.block]}: kernel {kernel}, expansion {block.expand}"
        + (f", weights of {'/'.join(map(str, block.bits))} bits" if block.bits else ""),
    )


def _bits(block: BlockArch) -> Markup:
    """Bits of the block's layers, where they are its own."""
    return element("span", "/".join(map(str, block.bits)) + " bit") if block.bits else Markup()


def _legend(arch: Arch, forms: Sequence[StageSpace], with_sides: bool) -> Markup:
    depths = {_KINDS[form.block]: 0 for form in forms}
    for stage, form in zip(arch.stages, forms, strict=True):
        depths[_KINDS[form.block]] += stage.depth
    blocks = ", ".join(units.plural(depth, f"{name} block") for name, depth in depths.items())
    sides = ", with the sides of its feature map" if with_sides else ""
    told = (
        f"{blocks} in {units.plural(len(arch.stages), 'stage')}. "
        f"Colour: kernel. Height and e: expansion. ch: output channels of the stage{sides}."
    )
    return element("p", told, class_="note")
