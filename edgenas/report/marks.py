"""The marks of a scatter plot: one shape a searcher, filled or hollow, with the p50 interval.

Where a mark stands is the plane's business, and naming single marks is `callouts`'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edgenas.report.frame import LegendEntry, Plane, line
from edgenas.report.markup import Markup, element, join
from edgenas.report.model import BASELINE

_VISIBLE_PX = 3.0

Draw = Callable[[float, float, float, str], Markup]
"""Draws a shape of a class around (x, y); the radius is that of a circle that looks as large."""


@dataclass(frozen=True, slots=True)
class Look:
    """How the candidates of one searcher are drawn: a shape, and the class of a colour."""

    searcher: str
    shape: Draw
    colour: str


@dataclass(frozen=True, slots=True)
class Mark:
    """One candidate in the plot; `interval` is drawn as a bar, joined to the mark by a thread."""

    x: float
    y: float
    look: Look
    inside_budget: bool
    on_front: bool
    tooltip: str
    interval: tuple[float, float] | None = None


def circle(x: float, y: float, radius: float, class_: str) -> Markup:
    """Return a circle."""
    return element("circle", cx=x, cy=y, r=radius, class_=class_)


def triangle(x: float, y: float, radius: float, class_: str) -> Markup:
    """Return a triangle that looks as large as the circle of that radius."""
    high, low, wide = y - 1.25 * radius, y + 0.8 * radius, 1.15 * radius
    points = f"{x:.2f},{high:.2f} {x + wide:.2f},{low:.2f} {x - wide:.2f},{low:.2f}"
    return element("polygon", points=points, class_=class_)


def square(x: float, y: float, radius: float, class_: str) -> Markup:
    """Return a square that looks as large as the circle of that radius."""
    half = 0.88 * radius
    return element("rect", x=x - half, y=y - half, width=2 * half, height=2 * half, class_=class_)


def diamond(x: float, y: float, radius: float, class_: str) -> Markup:
    """Return a diamond that looks as large as the circle of that radius."""
    far = 1.28 * radius
    points = (
        f"{x:.2f},{y - far:.2f} {x + far:.2f},{y:.2f} {x:.2f},{y + far:.2f} {x - far:.2f},{y:.2f}"
    )
    return element("polygon", points=points, class_=class_)


_GUIDED: tuple[tuple[Draw, str], ...] = (
    (circle, "guided1"),
    (square, "guided2"),
    (diamond, "guided3"),
)


def looks(searchers: Iterable[str]) -> dict[str, Look]:
    """How each searcher is drawn: the baseline always alike, the others in their order."""
    names = list(dict.fromkeys(searchers))
    guided = [name for name in names if name != BASELINE]
    found = {
        name: Look(name, *_GUIDED[position % len(_GUIDED)]) for position, name in enumerate(guided)
    }
    if BASELINE in names:
        found[BASELINE] = Look(BASELINE, triangle, "random")
    return found


def draw_mark(mark: Mark, plane: Plane) -> Markup:
    """Draw one mark with its tooltip and its interval."""
    x, y = plane.place(mark.x, mark.y)
    filling = "in" if mark.inside_budget else "over"
    emphasis = " front" if mark.on_front else ""
    return element(
        "g",
        element("title", mark.tooltip),
        _draw_interval(mark, plane),
        mark.look.shape(x, y, plane.size.marker_px, f"mark {mark.look.colour} {filling}{emphasis}"),
        class_="point on-front" if mark.on_front else "point",
    )


def legend_entries(marks: list[Mark], radius: float) -> list[LegendEntry]:
    """Name the shapes and fillings that the plot really shows."""
    shown = dict.fromkeys(mark.look for mark in marks)
    entries = [
        LegendEntry(look.shape(0, 0, radius, f"mark {look.colour} in"), look.searcher)
        for look in sorted(shown, key=lambda look: (look.searcher == BASELINE, look.colour))
    ]
    if any(not mark.inside_budget for mark in marks):
        round_one = circle(-6, 0, 0.9 * radius, "mark neutral over")
        pointed = triangle(4, 0, 0.85 * radius, "mark neutral over")
        entries.append(LegendEntry(join((round_one, pointed)), "over budget"))
    if any(mark.interval is not None for mark in marks):
        parts = (line(-9, 0, 8, 0, "thread"), *_bar(-9, -2, 0))
        entries.append(LegendEntry(join(parts), "p50 with 95 % CI"))
    return entries


def _draw_interval(mark: Mark, plane: Plane) -> Markup:
    """Draw the interval as a bar with caps where it is long enough to be seen."""
    if mark.interval is None:
        return Markup()
    x, y = plane.place(mark.x, mark.y)
    low, high = (max(plane.place(end, mark.y)[0], plane.area.left) for end in mark.interval)
    if max(x - low, high - x, high - low) < 2 * _VISIBLE_PX:
        return Markup()
    parts = [line(low, y, max(high, x), y, "thread")]
    if high - low >= _VISIBLE_PX:
        parts.extend(_bar(low, high, y))
    else:
        parts.append(line((low + high) / 2, y - 3, (low + high) / 2, y + 3, "cap"))
    return element("g", *parts, class_="whisker")


def _bar(low: float, high: float, y: float) -> tuple[Markup, ...]:
    caps = (line(end, y - 3, end, y + 3, "cap") for end in (low, high))
    return (line(low, y, high, y, "bar"), *caps)
