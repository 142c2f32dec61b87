"""Draws one scatter plot from marks that already know where they stand and what they mean.

Which candidates become marks, what is compared with which budget and what the tooltips say is
`plots`' business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgenas.report.axis import Axis
from edgenas.report.callouts import Callout, Corners, draw_callouts, pick_entry
from edgenas.report.frame import (
    Alone,
    LegendEntry,
    Plane,
    PlotSize,
    axis_titles,
    grid,
    legend,
    legend_height,
    legend_rows,
    line,
    svg,
    text,
)
from edgenas.report.marks import Mark, draw_mark, legend_entries
from edgenas.report.markup import Markup, element, join
from edgenas.report.placing import Box, text_width_px

QUIET_ABOVE = 60
"""With more marks than this only the front shows its intervals at rest."""

AxisBuilder = Callable[[float, float, int], Axis]
"""Builds an axis from its two ends in pixels and the number of ticks."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The budget on the x axis and its label."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class ScatterSpec:
    """Everything that one scatter plot shows."""

    label: str
    x_title: str
    y_title: str
    x_axis: AxisBuilder
    y_axis: AxisBuilder
    marks: Sequence[Mark]
    callouts: Sequence[Callout]
    limit: Limit | None
    front: bool
    legend: bool


def draw_scatter(spec: ScatterSpec, size: PlotSize, alone: Alone | None = None) -> Markup:
    """Return the plot as SVG, `size.width` x `size.height` in its own pixels.

    Args:
        alone: style sheet and heading of an image of its own; None inside the page.
    """
    rows = legend_rows(_legend_entries(spec, size), size)
    limit_px = 1.8 * size.font_px if spec.limit else 0.0
    top = legend_height(rows, size) + 2.2 * size.font_px + limit_px
    area = Box(4.2 * size.font_px, top, size.width - 12, size.height - 3.6 * size.font_px)
    plane = Plane(
        spec.x_axis(area.left, area.right, size.x_ticks),
        spec.y_axis(area.bottom, area.top, size.y_ticks),
        area,
        size,
    )
    front = _front_corners(spec.marks, plane) if spec.front else []
    ordered = sorted(spec.marks, key=lambda mark: (mark.on_front, mark.inside_budget))
    points = [(mark.x, mark.y) for mark in spec.marks]
    return svg(
        size,
        spec.label,
        legend(rows, size),
        grid(plane),
        axis_titles(spec.x_title, spec.y_title, plane, raised_px=limit_px),
        _draw_limit(spec.limit, plane),
        _draw_front(front),
        *(draw_mark(mark, plane) for mark in ordered),
        draw_callouts(spec.callouts, plane, points, (front, _limit_corners(spec.limit, plane))),
        alone=alone,
        quiet=len(spec.marks) > QUIET_ABOVE,
    )


def _legend_entries(spec: ScatterSpec, size: PlotSize) -> list[LegendEntry]:
    """Name only what the plot really shows."""
    if not spec.legend:
        return []
    entries = legend_entries(list(spec.marks), size.marker_px)
    if spec.front and any(mark.on_front for mark in spec.marks):
        entries.append(LegendEntry(line(-9, 0, 9, 0, "front-line"), "Pareto front"))
    if any(one.ringed for one in spec.callouts):
        entries.append(pick_entry(size.marker_px))
    return entries


def _front_corners(marks: Sequence[Mark], plane: Plane) -> list[tuple[float, float]]:
    """Return the corners of the step line that rises over the marks of the front, in pixels."""
    corners: list[tuple[float, float]] = []
    best = float("-inf")
    for mark in sorted((one for one in marks if one.on_front), key=lambda one: one.x):
        if mark.y <= best:
            continue
        best = mark.y
        x, y = plane.place(mark.x, mark.y)
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    if corners:
        corners.append((plane.area.right, corners[-1][1]))
    return corners


def _draw_front(corners: Corners) -> Markup:
    if not corners:
        return Markup()
    path = " ".join(f"{x:.2f},{y:.2f}" for x, y in corners)
    return element("polyline", points=path, class_="front-line")


def _limit_corners(limit: Limit | None, plane: Plane) -> Corners:
    if limit is None or not plane.x_axis.contains(limit.x):
        return []
    x = plane.x_axis.place(limit.x)
    return [(x, plane.area.top), (x, plane.area.bottom)]


def _draw_limit(limit: Limit | None, plane: Plane) -> Markup:
    """Draw the budget as a line with the forbidden side shaded, or as an arrow at the edge."""
    if limit is None:
        return Markup()
    area, font_px = plane.area, plane.size.font_px
    above = area.top - 7
    if not plane.x_axis.contains(limit.x):
        return _draw_far_limit(limit, plane, above)
    x = plane.x_axis.place(limit.x)
    half = text_width_px(limit.label, font_px) / 2
    middle = min(max(x, area.left + half - 7), area.right - half + 7)
    height, width = area.bottom - area.top, max(0.0, area.right - x)
    return join(
        (
            element("rect", x=x, y=area.top, width=width, height=height, class_="beyond"),
            line(x, area.top - 3, x, area.bottom, "limit"),
            text(middle, above, limit.label, "limit-label", anchor="middle", font_px=font_px),
        )
    )


def _draw_far_limit(limit: Limit, plane: Plane, y: float) -> Markup:
    area, font_px = plane.area, plane.size.font_px
    if limit.x > plane.x_axis.high:
        label = f"{limit.label} →"
        return text(area.right, y, label, "limit-label", anchor="end", font_px=font_px)
    return text(area.left, y, f"← {limit.label}", "limit-label", font_px=font_px)
