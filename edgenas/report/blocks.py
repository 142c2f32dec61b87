"""Draws the picked architecture: a row of stages, each with one box a block.

Colour says kernel, height says expansion, and both are written into the box. Plain HTML, so that
the stages wrap on a narrow page.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgenas.report import units
from edgenas.report.markup import Markup, element, join
from edgenas.space import Arch, BlockArch, StageArch

_LOWEST_PX = 34.0
_GROWTH_PX = 34.0
_COLOURED_KERNELS = (1, 3, 5, 7, 9)


def draw_arch(arch: Arch, stem_stride: int = 1, strides: Sequence[int] = ()) -> Markup:
    """Return the architecture from input to head, with a legend.

    Args:
        stem_stride: stride of the stem.
        strides: stride of each stage's first block; without them no side of a feature map is
            written. Padding is SAME, so a stride halves a side and rounds up.
    """
    tallest = max((one.expand for stage in arch.stages for one in stage.blocks), default=1)
    side = -(-arch.resolution // stem_stride)
    parts = [
        _end("input", f"{arch.resolution}×{arch.resolution}"),
        _end("stem", f"{arch.stem} ch", f"{side}×{side}" if strides else ""),
    ]
    for index, stage in enumerate(arch.stages):
        note = f"{stage.width} ch"
        if strides:
            side = -(-side // strides[index])
            note = f"{note} · {side}×{side}"
        parts.append(_draw_stage(index + 1, stage, note, tallest))
    parts.append(_end("head", f"{arch.head} ch"))
    return join((element("div", *parts, class_="arch"), _legend(arch, bool(strides))))


def _end(name: str, value: str, note: str = "") -> Markup:
    return element(
        "div",
        element("div", name, class_="stage-name"),
        element("div", element("div", value, class_="end-box"), class_="stage-blocks"),
        element("div", note or "\u00a0", class_="stage-note"),
        class_="stage end",
    )


def _draw_stage(number: int, stage: StageArch, note: str, tallest: int) -> Markup:
    blocks = [_draw_block(block, tallest) for block in stage.blocks]
    return element(
        "div",
        element("div", f"stage {number}", class_="stage-name"),
        element("div", *blocks, class_="stage-blocks"),
        element("div", note, class_="stage-note"),
        class_="stage",
        title=f"stage {number}: {units.plural(stage.depth, 'block')}, {stage.width} channels",
    )


def _draw_block(block: BlockArch, tallest: int) -> Markup:
    height = _LOWEST_PX + _GROWTH_PX * block.expand / tallest
    kernel = f"{block.kernel}×{block.kernel}"
    colour = f"k{block.kernel}" if block.kernel in _COLOURED_KERNELS else "k-other"
    return element(
        "div",
        element("b", kernel),
        element("span", f"e{block.expand}"),
        class_=f"block {colour}",
        style=f"height:{height:.0f}px",
        title=f"MBConv: kernel {kernel}, expansion {block.expand}",
    )


def _legend(arch: Arch, with_sides: bool) -> Markup:
    depth = sum(stage.depth for stage in arch.stages)
    sides = ", with the side of its feature map" if with_sides else ""
    told = (
        f"{units.plural(depth, 'MBConv block')} in {units.plural(len(arch.stages), 'stage')}. "
        f"Colour: kernel. Height and e: expansion. ch: output channels of the stage{sides}."
    )
    return element("p", told, class_="note")
