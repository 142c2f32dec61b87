"""Draws the training curve: the loss of the largest, the smallest and of random subnets.

Where steps do not train the extreme subnets, their losses are those of the looks at them. Long
histories are averaged in equal windows, so that the picture stays small; the raw history is in
report.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from edgenas.report import units
from edgenas.report.axis import Axis, linear_axis, positive_axis
from edgenas.report.frame import Plane, PlotSize, axis_titles, grid, line, svg, text
from edgenas.report.markup import Markup, element, join
from edgenas.report.placing import Box
from edgenas.report.training import TrainingPoint, TrainingSummary

CURVE_WIDE = PlotSize("wide", 1100, 300, x_ticks=10, y_ticks=5)
CURVE_NARROW = PlotSize("narrow", 360, 260, x_ticks=4, y_ticks=5)

_LARGEST_POINTS = 300
_SERIES = (
    ("smallest", "loss_smallest", "watched_smallest"),
    ("random", "loss_random", "loss_random"),
    ("largest", "loss_largest", "watched_largest"),
)
"""Name, its losses in training, and those drawn where the extreme subnets are only looked at."""

Curve = list[tuple[float, float]]


def training_curve(training: TrainingSummary, size: PlotSize = CURVE_WIDE) -> Markup:
    """Return the losses against the step as SVG; empty markup for a history without losses."""
    curves = {name: curve for name, curve in _curves(training.history) if curve}
    if not curves:
        return Markup()
    area = Box(
        4.2 * size.font_px, 2.4 * size.font_px, size.width - 64, size.height - 3.6 * size.font_px
    )
    losses = [loss for curve in curves.values() for _, loss in curve]
    steps = [step for curve in curves.values() for step, _ in curve]
    plane = Plane(_step_axis(max(steps), area, size), _loss_axis(losses, area, size), area, size)
    return svg(
        size,
        f"Training loss over {training.steps} steps",
        grid(plane),
        axis_titles("step", "Loss", plane),
        _draw_warm_up(training, plane),
        *(_draw_curve(name, curve, plane) for name, curve in curves.items()),
        _draw_names(curves, plane),
    )


def ends_are_looks(history: Sequence[TrainingPoint]) -> bool:
    """Whether steps that train the largest subnet are rarer than looks at it."""
    trained = sum(point.loss_largest is not None for point in history)
    return trained < sum(point.watched_largest is not None for point in history)


def median_images_per_s(history: Sequence[TrainingPoint]) -> float | None:
    """Return the median of the logged training throughput; None where none was logged."""
    rates = sorted(one.images_per_s for one in history if one.images_per_s is not None)
    return rates[len(rates) // 2] if rates else None


def _step_axis(last: float, area: Box, size: PlotSize) -> Axis:
    """Return an axis from step 0 to the last one, without air, for the names follow there."""
    end = max(last, 1.0)
    axis = linear_axis([0.0, end], area.left, area.right, tick_count=size.x_ticks, floor=0.0)
    ticks = tuple(tick for tick in axis.ticks if tick <= end)
    return replace(axis, low=0.0, high=end, ticks=ticks)


def _loss_axis(losses: Sequence[float], area: Box, size: PlotSize) -> Axis:
    if min(losses) <= 0:
        return linear_axis(losses, area.bottom, area.top, tick_count=size.y_ticks)
    return positive_axis(losses, area.bottom, area.top, tick_count=size.y_ticks)


def _curves(history: Sequence[TrainingPoint]) -> list[tuple[str, Curve]]:
    window = max(1, -(-len(history) // _LARGEST_POINTS))
    windows = [history[start : start + window] for start in range(0, len(history), window)]
    looks = ends_are_looks(history)
    return [(name, _averaged(windows, seen if looks else own)) for name, own, seen in _SERIES]


def _averaged(windows: Sequence[Sequence[TrainingPoint]], field: str) -> Curve:
    curve: Curve = []
    for points in windows:
        losses = [getattr(one, field) for one in points if getattr(one, field) is not None]
        if losses:
            curve.append((fmean(one.step for one in points), fmean(losses)))
    return curve


def _draw_curve(name: str, curve: Curve, plane: Plane) -> Markup:
    placed = [plane.place(step, loss) for step, loss in curve]
    title = element("title", f"{name}: {units.significant(curve[-1][1])} at the end")
    if len(placed) == 1:
        x, y = placed[0]
        return element("circle", title, cx=x, cy=y, r=3, class_=f"dot {name}")
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    return element("polyline", title, points=points, class_=f"curve {name}")


def _draw_names(curves: dict[str, Curve], plane: Plane) -> Markup:
    """Write each curve's name at its end, moved apart where the ends are close."""
    area, font_px = plane.area, plane.size.font_px
    ends = sorted((plane.place(*curve[-1])[1], name) for name, curve in curves.items())
    gap = 1.25 * font_px
    lowest = area.bottom - gap * (len(ends) - 1)
    drawn: list[Markup] = []
    free_from = float("-inf")
    for index, (y, name) in enumerate(ends):
        placed = max(min(y, lowest + gap * index), free_from)
        free_from = placed + gap
        baseline = placed + 0.35 * font_px
        class_ = f"curve-name {name}"
        drawn.append(text(area.right + 6, baseline, name, class_, font_px=font_px))
    return join(drawn)


def _draw_warm_up(training: TrainingSummary, plane: Plane) -> Markup:
    if not 0 < training.warm_up_steps < plane.x_axis.high:
        return Markup()
    area = plane.area
    x = plane.x_axis.place(training.warm_up_steps)
    at_left = x > (area.left + area.right) / 2
    return join(
        (
            line(x, area.top, x, area.bottom, "limit"),
            text(
                x - 6 if at_left else x + 6,
                area.top + plane.size.font_px,
                "INT8 from here",
                "limit-label",
                anchor="end" if at_left else "start",
                font_px=plane.size.font_px,
            ),
        )
    )
