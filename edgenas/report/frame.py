"""The frame of a plot: its size on the page, grid, tick labels, axis titles and legend.

Says nothing about the data inside; `scatter` and `curve` draw that between the same axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgenas.report.axis import Axis
from edgenas.report.markup import Markup, element, join
from edgenas.report.placing import Box, text_width_px


@dataclass(frozen=True, slots=True)
class PlotSize:
    """How large a plot is drawn; every length in pixels of its own view box."""

    name: str
    width: float
    height: float
    font_px: float = 12.0
    marker_px: float = 4.2
    x_ticks: int = 6
    y_ticks: int = 6


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """A drawn sample, centred on (0, 0) and at most 18 px wide, and its name."""

    sample: Markup
    name: str


@dataclass(frozen=True, slots=True)
class Plane:
    """Two axes over the part of the plot that shows data."""

    x_axis: Axis
    y_axis: Axis
    area: Box
    size: PlotSize

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return the pixel of a point of values."""
        return self.x_axis.place(x), self.y_axis.place(y)


@dataclass(frozen=True, slots=True)
class Alone:
    """What an image needs outside the page: a style sheet, and a heading above it."""

    style: Markup
    heading: str


def svg(
    size: PlotSize,
    label: str,
    *children: Markup,
    alone: Alone | None = None,
    quiet: bool = False,
) -> Markup:
    """Return an SVG image that scales with the page; `label` is what a screen reader says.

    A `quiet` plot shows the intervals of ordinary marks only while they are pointed at.
    """
    return element(
        "svg",
        *_alone_parts(alone),
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=_view_box(size, alone),
        class_=f"plot {size.name}{' quiet' if quiet else ''}",
        role="img",
        aria_label=label,
    )


def text(
    x: float, y: float, content: str, class_: str, *, anchor: str = "start", font_px: float = 12.0
) -> Markup:
    """Return one line of text whose baseline begins, ends or is centred at (x, y)."""
    return element("text", content, x=x, y=y, class_=class_, text_anchor=anchor, font_size=font_px)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """Return a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def legend_rows(entries: Sequence[LegendEntry], size: PlotSize) -> list[list[LegendEntry]]:
    """Break a legend into rows that fit the width of the plot."""
    rows: list[list[LegendEntry]] = [[]]
    used = 0.0
    for entry in entries:
        wide = _entry_width(entry, size)
        if rows[-1] and used + wide > size.width:
            rows.append([])
            used = 0.0
        rows[-1].append(entry)
        used += wide
    return rows


def legend(rows: Sequence[Sequence[LegendEntry]], size: PlotSize) -> Markup:
    """Draw a legend from the top of the plot downwards."""
    drawn: list[Markup] = []
    for row, entries in enumerate(rows):
        x, y = 0.0, 10 + row * 1.6 * size.font_px
        for entry in entries:
            place = f"translate({x + 9:.1f} {y:.1f})"
            drawn.append(element("g", entry.sample, transform=place))
            baseline = y + 0.35 * size.font_px
            drawn.append(text(x + 22, baseline, entry.name, "legend", font_px=size.font_px))
            x += _entry_width(entry, size)
    return join(drawn)


def legend_height(rows: Sequence[Sequence[LegendEntry]], size: PlotSize) -> float:
    """Return the height that a legend takes at the top of the plot."""
    return 1.6 * size.font_px * len(rows) + 8 if any(rows) else 0.0


def grid(plane: Plane) -> Markup:
    """Draw the grid, the base line and the tick labels."""
    area, font_px = plane.area, plane.size.font_px - 0.5
    drawn: list[Markup] = []
    for tick in plane.y_axis.ticks:
        y, label = plane.y_axis.place(tick), plane.y_axis.tick_text(tick)
        drawn.append(line(area.left, y, area.right, y, "grid"))
        beside = y + 0.35 * font_px
        drawn.append(text(area.left - 7, beside, label, "tick", anchor="end", font_px=font_px))
    for tick in _uncrowded(plane.x_axis, font_px):
        x, label = plane.x_axis.place(tick), plane.x_axis.tick_text(tick)
        drawn.append(line(x, area.bottom, x, area.bottom + 4, "axis"))
        below = area.bottom + 6 + font_px
        drawn.append(text(x, below, label, "tick", anchor="middle", font_px=font_px))
    drawn.append(line(area.left, area.bottom, area.right, area.bottom, "axis"))
    return join(drawn)


def axis_titles(x_title: str, y_title: str, plane: Plane, *, raised_px: float = 0.0) -> Markup:
    """Write what the axes mean: y above its labels, x below the right end of its labels."""
    area, font_px = plane.area, plane.size.font_px
    below, above = area.bottom + 14 + 2 * font_px, area.top - 10 - raised_px
    x_told, y_told = plane.x_axis.titled(x_title), plane.y_axis.titled(y_title)
    return join(
        (
            text(area.right, below, x_told, "title", anchor="end", font_px=font_px),
            text(2, above, y_told, "title", font_px=font_px),
        )
    )


def _view_box(size: PlotSize, alone: Alone | None) -> str:
    """Return the part of the plane that is shown; an image alone has a margin and a heading."""
    if alone is None:
        return f"0 0 {size.width:.0f} {size.height:.0f}"
    return f"-16 -44 {size.width + 32:.0f} {size.height + 54:.0f}"


def _alone_parts(alone: Alone | None) -> tuple[Markup, ...]:
    if alone is None:
        return ()
    return alone.style, text(0, -17, alone.heading, "strong", font_px=15)


def _uncrowded(axis: Axis, font_px: float) -> list[float]:
    """Leave out ticks whose labels would touch the one before."""
    kept: list[float] = []
    free_from = float("-inf")
    for tick in axis.ticks:
        half = text_width_px(axis.tick_text(tick), font_px) / 2
        if axis.place(tick) - half >= free_from:
            kept.append(tick)
            free_from = axis.place(tick) + half + 8
    return kept


def _entry_width(entry: LegendEntry, size: PlotSize) -> float:
    return 22 + text_width_px(entry.name, size.font_px) + 14
