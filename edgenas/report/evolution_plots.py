"""Draws how a space evolved: its stages before and after, all spaces scored, the table's rows.

Arranges plain figures between the axes of `frame`; what they mean is `evolution`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from edgenas.report import units
from edgenas.report.axis import linear_axis, positive_axis
from edgenas.report.evolution import Evolution, ScoredSpace, TimedSubStage
from edgenas.report.frame import (
    LegendEntry,
    Plane,
    PlotSize,
    axis_titles,
    grid,
    legend,
    legend_height,
    legend_rows,
    svg,
    text,
)
from edgenas.report.marks import Draw, circle, diamond, square, triangle
from edgenas.report.markup import Markup, element, join
from edgenas.report.placing import Box
from edgenas.space.stage import StageSpace
from edgenas.space.superspace import BlockForm

WIDE = PlotSize("wide", 1080, 0, x_ticks=10)
NARROW = PlotSize("narrow", 360, 0, x_ticks=5)
FULL = PlotSize("wide", 1080, 380, marker_px=3.4, x_ticks=8)
FULL_NARROW = PlotSize("narrow", 360, 300, marker_px=2.8, x_ticks=4, y_ticks=5)
THIRD = PlotSize("wide", 380, 290, marker_px=3.0, x_ticks=4, y_ticks=4)
THIRD_NARROW = PlotSize("narrow", 360, 260, marker_px=3.0, x_ticks=4, y_ticks=4)

SHOWN_SPACES = 600
"""Of more spaces than this the best half of as many is drawn, and of the rest every n-th."""

_STAGE_PX, _BAR_PX, _STEP_PX = 66.0, 11.0, 19.0
_LOOKS: tuple[tuple[Draw, str], ...] = (
    (circle, "guided1"),
    (triangle, "random"),
    (square, "guided2"),
    (diamond, "guided3"),
    (circle, "neutral"),
    (square, "neutral"),
)


def stages_plot(evolution: Evolution, size: PlotSize = WIDE) -> Markup:
    """Return the form and the widths of every stage, before above after, along the channels."""
    stages = list(zip(evolution.before.stages, evolution.after.stages, strict=True))
    entries = [
        LegendEntry(_bar(-9, 9, 0, "span before"), "before"),
        LegendEntry(_bar(-9, 9, 0, "span after"), "after"),
        LegendEntry(circle(0, 0, 2.2, "choice"), "widths to choose from"),
    ]
    rows = legend_rows(entries, size)
    top = legend_height(rows, size) + 4
    size = replace(size, height=top + _STAGE_PX * len(stages) + 3.6 * size.font_px)
    area = Box(8, top, size.width - 12, size.height - 3.6 * size.font_px)
    every = [float(width) for widths in evolution.widths for width in widths]
    plane = Plane(
        linear_axis([0.0, *every], area.left, area.right, tick_count=size.x_ticks, floor=0.0),
        replace(linear_axis([0.0, 1.0], area.bottom, area.top), ticks=()),
        area,
        size,
    )
    bands = (
        _band(index, before, after, widths, plane)
        for index, ((before, after), widths) in enumerate(
            zip(stages, evolution.widths, strict=True)
        )
    )
    below = area.bottom + 14 + 2 * size.font_px
    named = text(area.right, below, "output channels", "title", anchor="end", font_px=size.font_px)
    return svg(
        size,
        f"Stages of {evolution.before.name} before and after",
        legend(rows, size),
        grid(plane),
        named,
        *bands,
    )


def spaces_plot(evolution: Evolution, size: PlotSize = FULL) -> Markup:
    """Return every scored space: networks within the limit against what the best of them lose."""
    shown = thinned(evolution.scored)
    entries = [
        LegendEntry(circle(0, 0, size.marker_px, "mark neutral in"), "spaces scored"),
        LegendEntry(diamond(0, 0, 5.5, "mark guided1 in front"), "after"),
    ]
    marked = [(evolution.best, diamond, "guided1", "the space after")]
    if evolution.own is not None:
        entries.insert(1, LegendEntry(triangle(0, 0, 5.5, "mark random in front"), "before"))
        marked.insert(0, (evolution.own, triangle, "random", "the space before"))
    rows = legend_rows(entries, size)
    plane = _plane(
        [100 * one.share for one in (*shown, *(m[0] for m in marked))],
        [one.loss for one in (*shown, *(m[0] for m in marked))],
        legend_height(rows, size),
        size,
    )
    return svg(
        size,
        "Spaces that were scored",
        legend(rows, size),
        grid(plane),
        axis_titles("networks within the limit, %", "Mean of the lowest losses", plane),
        *(_space(one, circle, "neutral", size.marker_px, plane, "") for one in reversed(shown)),
        *(_space(one, draw, colour, 5.5, plane, told) for one, draw, colour, told in marked),
    )


def table_plot(evolution: Evolution, stage: int, size: PlotSize = THIRD) -> Markup:
    """Return what the forms of one stage lose and take, a mark a sub-stage."""
    rows = [row for row in evolution.rows if row.stage == stage]
    if not rows:
        return Markup()
    looks = looks_of_forms(evolution.rows)
    forms = list(dict.fromkeys(row.form for row in rows))
    entries = [
        LegendEntry(draw(0, 0, size.marker_px, f"mark {colour} in"), form)
        for form, (draw, colour) in ((form, looks[form]) for form in forms)
    ]
    lines = legend_rows(entries, size)
    plane = _plane(
        [row.latency_ms for row in rows],
        [row.loss for row in rows],
        legend_height(lines, size),
        size,
    )
    return svg(
        size,
        f"Sub-stages of stage {stage + 1}",
        legend(lines, size),
        grid(plane),
        axis_titles("median latency, ms", f"Stage {stage + 1}: loss in INT8", plane),
        *(_sub_stage(row, *looks[row.form], plane) for row in rows),
    )


def looks_of_forms(rows: Iterable[TimedSubStage]) -> dict[str, tuple[Draw, str]]:
    """A shape and a colour for every form, the same in all stages."""
    forms = dict.fromkeys(row.form for row in rows)
    return {form: _LOOKS[place % len(_LOOKS)] for place, form in enumerate(forms)}


def thinned(scored: Sequence[ScoredSpace], most: int = SHOWN_SPACES) -> list[ScoredSpace]:
    """The spaces that are drawn: all, or the best and evenly spread ones of the rest."""
    if len(scored) <= most:
        return list(scored)
    best, rest = scored[: most // 2], scored[most // 2 :]
    step = len(rest) / (most - len(best))
    return [*best, *(rest[int(place * step)] for place in range(most - len(best)))]


def form_of(stage: StageSpace) -> str:
    """What the blocks of a stage may be: `mbconv k3,5 e2,3,4`."""
    return BlockForm(stage.block, stage.kernels, stage.expands).describe()


def _band(
    index: int, before: StageSpace, after: StageSpace, widths: Sequence[int], plane: Plane
) -> Markup:
    """One stage: a line of text, the window before, the window after, the widths there are."""
    top, font_px = plane.area.top + index * _STAGE_PX, plane.size.font_px
    forms = form_of(before), form_of(after)
    told = f"{forms[0]}, as before" if forms[0] == forms[1] else f"{forms[0]} → {forms[1]}"
    bars = []
    for row, (stage, class_) in enumerate(((before, "span before"), (after, "span after"))):
        y = top + 24 + row * _STEP_PX
        ends = plane.x_axis.place(stage.widths[0]) - 4, plane.x_axis.place(stage.widths[-1]) + 4
        channels = ", ".join(map(str, stage.widths))
        title = element("title", f"{class_[5:]}: {form_of(stage)}; {channels} channels")
        bars.append(element("g", title, _bar(*ends, y, class_)))
    middle = top + 24 + _STEP_PX / 2
    choices = (circle(plane.x_axis.place(width), middle, 2.2, "choice") for width in widths)
    heading = text(plane.area.left, top + 12, f"stage {index + 1}: {told}", "tick", font_px=font_px)
    return join((heading, *bars, *choices))


def _bar(left: float, right: float, y: float, class_: str) -> Markup:
    return element(
        "rect", x=left, y=y - _BAR_PX / 2, width=right - left, height=_BAR_PX, rx=3, class_=class_
    )


def _plane(xs: Sequence[float], ys: Sequence[float], legend_px: float, size: PlotSize) -> Plane:
    top = legend_px + 2.2 * size.font_px
    area = Box(4.2 * size.font_px, top, size.width - 12, size.height - 3.6 * size.font_px)
    return Plane(
        positive_axis([max(x, 1e-6) for x in xs], area.left, area.right, tick_count=size.x_ticks),
        linear_axis(ys, area.bottom, area.top, tick_count=size.y_ticks, floor=0.0),
        area,
        size,
    )


def _space(
    one: ScoredSpace, draw: Draw, colour: str, radius: float, plane: Plane, told: str
) -> Markup:
    x, y = plane.place(max(100 * one.share, 1e-6), one.loss)
    named = f"{told}\n" if told else ""
    title = element(
        "title",
        f"{named}{units.percent(one.share)} of its networks within the limit, loss "
        f"{one.loss:.3f}, score {one.score:.3f}",
    )
    emphasis = " front" if told else ""
    mark = draw(x, y, radius, f"mark {colour} in{emphasis}")
    return element("g", title, mark, class_="point")


def _sub_stage(row: TimedSubStage, draw: Draw, colour: str, plane: Plane) -> Markup:
    taken = units.milliseconds(row.latency_ms)
    told = f"{row.form}, {row.width} channels\n{taken}, loss {row.loss:.3f}"
    x, y = plane.place(row.latency_ms, row.loss)
    mark = draw(x, y, plane.size.marker_px, f"mark {colour} in")
    return element("g", element("title", told), mark, class_="point")
