"""The two plots of a device: accuracy against latency, and accuracy against peak memory.

Decides what is shown and in which units; `scatter` draws it. The latency axis is the p95, because
the budget limits the p95: a filled mark is never right of the budget line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from edgenas.report import units
from edgenas.report.axis import Axis, linear_axis, positive_axis
from edgenas.report.callouts import Callout
from edgenas.report.files import write_text_atomically
from edgenas.report.frame import Alone, PlotSize
from edgenas.report.marks import Look, Mark, looks
from edgenas.report.markup import Markup, trusted_style
from edgenas.report.model import CandidatePoint, DeviceReport
from edgenas.report.scatter import Limit, ScatterSpec, draw_scatter
from edgenas.report.style import SVG_STYLE
from edgenas.report.wording import candidate_tooltip

WIDE = PlotSize("wide", 680, 430)
NARROW = PlotSize("narrow", 360, 360, marker_px=3.8, x_ticks=4, y_ticks=5)
WIDE_SMALL = PlotSize("wide", 410, 330, marker_px=3.6, x_ticks=4, y_ticks=5)
NARROW_SMALL = PlotSize("narrow", 360, 270, marker_px=3.4, x_ticks=4, y_ticks=4)

_Y_TITLE = "Top-1 accuracy of the bytes, search split, %"
_SMALLEST_SPAN_PT = 1.0
_LIMIT_SHOWN_UP_TO = 1.8
_LIMIT_SHOWN_DOWN_TO = 1 / 3


def latency_plot(device: DeviceReport, size: PlotSize = WIDE, alone: Alone | None = None) -> Markup:
    """Return accuracy against p95 latency as SVG.

    Each bar is the 95 % confidence interval of the p50, joined to its mark by a thread.
    """
    budget = device.budget
    drawn = looks(one.searcher for one in device.candidates)
    marks = [
        _mark(device, one, one.latency_p95_ms, one.p50_ci95_ms, drawn) for one in device.candidates
    ]
    allowed = budget.latency_p95_ms
    limit = None if allowed is None else Limit(allowed, f"budget: p95 ≤ {units.limit_ms(allowed)}")
    values = [mark.x for mark in marks] + [one.x for one in _latency_callouts(device)]
    starts = [mark.interval[0] for mark in marks if mark.interval]
    return draw_scatter(
        ScatterSpec(
            label=f"Accuracy against latency of {len(marks)} candidates on {device.device_id}",
            x_title="p95 latency, ms",
            y_title=_Y_TITLE,
            x_axis=partial(_x_axis, [*values, *starts], limit),
            y_axis=partial(_accuracy_axis, device),
            marks=marks,
            callouts=_latency_callouts(device),
            limit=limit,
            front=True,
            legend=True,
        ),
        size,
        alone,
    )


def memory_plot(device: DeviceReport, size: PlotSize = WIDE_SMALL) -> Markup:
    """Return accuracy against peak memory as SVG; colours and shapes as in `latency_plot`."""
    sizes = [float(one.peak_memory_bytes) for one in device.candidates]
    if device.pick is not None:
        sizes.append(float(device.pick.peak_memory_bytes))
    unit_name, unit = units.binary_unit(max(sizes, default=1.0))
    drawn = looks(one.searcher for one in device.candidates)
    marks = [
        _mark(device, one, max(one.peak_memory_bytes, 1) / unit, None, drawn)
        for one in device.candidates
    ]
    allowed = device.budget.peak_memory_bytes
    limit = None if allowed is None else Limit(allowed / unit, f"budget ≤ {units.size(allowed)}")
    return draw_scatter(
        ScatterSpec(
            label=f"Accuracy against peak memory of {len(marks)} candidates on {device.device_id}",
            x_title=f"peak memory, {unit_name}",
            y_title="Top-1 accuracy, search split, %",
            x_axis=partial(_x_axis, [max(one, 1.0) / unit for one in sizes], limit),
            y_axis=partial(_accuracy_axis, device),
            marks=marks,
            callouts=_memory_callouts(device, unit),
            limit=limit,
            front=False,
            legend=False,
        ),
        size,
    )


def write_plot_svg(device_report: DeviceReport, path: Path) -> None:
    """Write accuracy against latency as a file of its own, for light and for dark pages.

    Raises:
        ReportFileError: the file cannot be written.
    """
    number = units.plural(len(device_report.candidates), "candidate")
    heading = f"{device_report.device_id}: {number} measured"
    drawn = latency_plot(device_report, WIDE, Alone(trusted_style(SVG_STYLE), heading))
    write_text_atomically(path, f'<?xml version="1.0" encoding="UTF-8"?>\n{drawn}\n')


def _mark(
    device: DeviceReport,
    one: CandidatePoint,
    x: float,
    interval: tuple[float, float] | None,
    drawn: Mapping[str, Look],
) -> Mark:
    return Mark(
        x=x,
        y=100 * one.accuracy_search,
        look=drawn[one.searcher],
        inside_budget=one.inside_budget,
        on_front=one.on_front,
        tooltip=candidate_tooltip(one, device.budget),
        interval=interval,
    )


def _latency_callouts(device: DeviceReport) -> list[Callout]:
    callouts: list[Callout] = []
    pick, baseline = device.pick, device.random_baseline
    if pick is not None:
        p95 = units.milliseconds(pick.latency_p95_ms)
        accuracy = units.percent(pick.accuracy_search)
        tooltip = f"picked: {pick.label}\n{accuracy} (search split), p95 {p95} at level certify"
        lines = (f"picked: {accuracy}", f"p95 {p95}")
        callouts.append(
            Callout(pick.latency_p95_ms, 100 * pick.accuracy_search, lines, tooltip, ringed=True)
        )
    if baseline is not None and (pick is None or baseline.arch_id != pick.arch_id):
        accuracy = units.percent(baseline.accuracy_search)
        tooltip = f"best of {baseline.evaluations} random candidates: {baseline.label}"
        x, y = baseline.latency_p95_ms, 100 * baseline.accuracy_search
        callouts.append(Callout(x, y, (f"best random: {accuracy}",), tooltip))
    return callouts


def _memory_callouts(device: DeviceReport, unit: int) -> list[Callout]:
    pick = device.pick
    if pick is None:
        return []
    lines = (f"picked: {units.size(pick.peak_memory_bytes)}",)
    x, y = max(pick.peak_memory_bytes, 1) / unit, 100 * pick.accuracy_search
    return [Callout(x, y, lines, f"picked: {pick.label}", ringed=True)]


def _x_axis(
    values: Sequence[float], limit: Limit | None, start_px: float, end_px: float, tick_count: int
) -> Axis:
    """Show all values, and the limit where it is not so far off that it would squeeze them."""
    shown = list(values) or ([limit.x] if limit else [1.0])
    if limit is not None:
        nearest = _LIMIT_SHOWN_DOWN_TO * min(shown), _LIMIT_SHOWN_UP_TO * max(shown)
        if nearest[0] <= limit.x <= nearest[1]:
            shown.append(limit.x)
    return positive_axis(shown, start_px, end_px, tick_count=tick_count)


def _accuracy_axis(device: DeviceReport, start_px: float, end_px: float, tick_count: int) -> Axis:
    values = [100 * one.accuracy_search for one in device.candidates]
    if device.pick is not None:
        values.append(100 * device.pick.accuracy_search)
    if device.random_baseline is not None:
        values.append(100 * device.random_baseline.accuracy_search)
    return linear_axis(
        values or [50.0],
        start_px,
        end_px,
        tick_count=tick_count,
        floor=0.0,
        ceiling=100.0,
        smallest_span=_SMALLEST_SPAN_PT,
    )
