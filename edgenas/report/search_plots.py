"""How the search went: hypervolume and front against measurements, predicted against measured.

Decides what is shown and draws it between the axes of `frame`. The figures are in the report; who
computes them is the campaign's business.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgenas.report import units
from edgenas.report.axis import linear_axis, positive_axis
from edgenas.report.frame import (
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
)
from edgenas.report.marks import Look, circle, looks
from edgenas.report.markup import Markup, element
from edgenas.report.model import CandidatePoint, DeviceReport, Prediction
from edgenas.report.placing import Box

THIRD = PlotSize("wide", 380, 310, marker_px=3.2, x_ticks=4, y_ticks=5)
THIRD_NARROW = PlotSize("narrow", 360, 270, marker_px=3.2, x_ticks=4, y_ticks=4)

_LEAST = 3  # measurements below which there is no course to show
_MOMENTS = (0.25, 0.5, 1.0)
_OPACITY = {0.25: "0.7", 0.5: "0.85", 1.0: "1"}
_DASHES = {0.25: "1.5 2.5", 0.5: "6 3", 1.0: ""}


def progress_plot(device: DeviceReport, size: PlotSize = THIRD) -> Markup:
    """Return the share of the final hypervolume against measurements, a line a searcher."""
    courses = _courses(device)
    if max((len(course) for course in courses.values()), default=0) < _LEAST:
        return Markup()
    drawn = looks(courses)
    rows = legend_rows([_line_entry(look) for look in drawn.values()], size)
    most = max(course[-1][0] for course in courses.values())
    best = max(share for course in courses.values() for _, share in course)
    area = _area(size, legend_height(rows, size))
    plane = Plane(
        linear_axis([0.0, float(most)], area.left, area.right, tick_count=size.x_ticks, floor=0.0),
        linear_axis([0.0, 100 * best], area.bottom, area.top, tick_count=size.y_ticks, floor=0.0),
        area,
        size,
    )
    return svg(
        size,
        f"Hypervolume against measurements on {device.device_id}",
        legend(rows, size),
        grid(plane),
        axis_titles("measurements", "Hypervolume, % of all together", plane),
        *(_draw_course(drawn[name], course, plane) for name, course in courses.items()),
    )


def fronts_plot(device: DeviceReport, size: PlotSize = THIRD) -> Markup:
    """Return the front after a quarter, a half and all of the measurements."""
    found = device.candidates
    if len(found) < 2 * _LEAST:
        return Markup()
    counts = [max(1, round(share * len(found))) for share in _MOMENTS]
    entries = [
        LegendEntry(_front_line([(-9.0, 0.0), (9.0, 0.0)], share), f"after {count}")
        for share, count in zip(_MOMENTS, counts, strict=True)
    ]
    rows = legend_rows(entries, size)
    area = _area(size, legend_height(rows, size))
    plane = Plane(
        positive_axis(
            [one.latency_p95_ms for one in found], area.left, area.right, tick_count=size.x_ticks
        ),
        linear_axis(
            [100 * one.accuracy_search for one in found], area.bottom, area.top,
            tick_count=size.y_ticks, floor=0.0, ceiling=100.0, smallest_span=1.0,
        ),
        area,
        size,
    )  # fmt: skip
    return svg(
        size,
        f"Front over time on {device.device_id}",
        legend(rows, size),
        grid(plane),
        axis_titles("p95 latency, ms", "Top-1 accuracy, search split, %", plane),
        *(
            _front_line(_steps(found[:count], plane), share)
            for share, count in zip(_MOMENTS, counts, strict=True)
        ),
    )


def prediction_plot(device: DeviceReport, size: PlotSize = THIRD) -> Markup:
    """Return predicted against measured latency of candidates that the prediction had not seen."""
    found = device.predictions
    if len(found) < _LEAST:
        return Markup()
    area = _area(size, 0.0)
    both = [ms for one in found for ms in (one.measured_ms, one.predicted_ms)]
    plane = Plane(
        positive_axis(both, area.left, area.right, tick_count=size.x_ticks),
        positive_axis(both, area.bottom, area.top, tick_count=size.y_ticks),
        area,
        size,
    )
    low, high = (plane.place(end, end) for end in (min(both), max(both)))
    return svg(
        size,
        f"Predicted against measured latency on {device.device_id}",
        grid(plane),
        axis_titles("measured p50, ms", "Predicted p50, ms", plane),
        line(*low, *high, "limit"),
        *(_draw_prediction(one, plane) for one in found),
    )


def within(predictions: Sequence[Prediction], share: float) -> int:
    """Return how many predictions are within a share of what was measured."""
    return sum(abs(one.predicted_ms / one.measured_ms - 1) <= share for one in predictions)


def _courses(device: DeviceReport) -> dict[str, list[tuple[int, float]]]:
    courses: dict[str, list[tuple[int, float]]] = {}
    for point in device.progress:
        courses.setdefault(point.searcher, []).append((point.measurements, point.hypervolume_share))
    return courses


def _area(size: PlotSize, legend_px: float) -> Box:
    top = legend_px + 2.2 * size.font_px
    return Box(4.2 * size.font_px, top, size.width - 12, size.height - 3.6 * size.font_px)


def _line_entry(look: Look) -> LegendEntry:
    return LegendEntry(line(-9, 0, 9, 0, f"progress {look.colour}"), look.searcher)


def _draw_course(look: Look, course: Sequence[tuple[int, float]], plane: Plane) -> Markup:
    placed = [plane.place(float(count), 100 * share) for count, share in course]
    title = element("title", f"{look.searcher}: {100 * course[-1][1]:.1f} % at the end")
    if len(placed) == 1:
        return circle(*placed[0], 2.5, f"mark {look.colour} in")
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    return element("polyline", title, points=points, class_=f"progress {look.colour}")


def _steps(found: Sequence[CandidatePoint], plane: Plane) -> list[tuple[float, float]]:
    """Return the corners of the front's step line in pixels."""
    corners: list[tuple[float, float]] = []
    best = -1.0
    for one in sorted(found, key=lambda one: (one.latency_p95_ms, -one.accuracy_search)):
        if one.accuracy_search <= best:
            continue
        best = one.accuracy_search
        x, y = plane.place(one.latency_p95_ms, 100 * best)
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    return [*corners, (plane.area.right, corners[-1][1])]


def _front_line(corners: Sequence[tuple[float, float]], share: float) -> Markup:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    dashes = {"stroke_dasharray": _DASHES[share]} if _DASHES[share] else {}
    return element(
        "polyline", points=points, class_="front-line", stroke_opacity=_OPACITY[share], **dashes
    )


def _draw_prediction(one: Prediction, plane: Plane) -> Markup:
    gap = 100 * (one.predicted_ms / one.measured_ms - 1)
    told = (
        f"{one.label}\nmeasured {units.milliseconds(one.measured_ms)}, predicted "
        f"{units.milliseconds(one.predicted_ms)} ({gap:+.1f} %)"
    )
    x, y = plane.place(one.measured_ms, one.predicted_ms)
    mark = circle(x, y, plane.size.marker_px, "mark guided1 in")
    return element("g", element("title", told), mark, class_="point")
