"""Names single points of a scatter plot, with labels that keep off points, lines and each other.

Which points deserve a name is `plots`' business.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from edgenas.report.frame import LegendEntry, Plane, line, text
from edgenas.report.marks import circle
from edgenas.report.markup import Markup, element, join
from edgenas.report.placing import Box, Placer

Corners = Sequence[tuple[float, float]]
"""A polyline in pixels."""

_OBSTACLE_EVERY_PX = 8.0
_RING = 2.1
_LEADER_FROM_PX = 16.0


@dataclass(frozen=True, slots=True)
class Callout:
    """A point that is named in the plot; a `ringed` one gets the mark of the pick."""

    x: float
    y: float
    lines: tuple[str, ...]
    tooltip: str
    ringed: bool = False


def draw_callouts(
    callouts: Sequence[Callout],
    plane: Plane,
    points: Iterable[tuple[float, float]],
    lines: Iterable[Corners],
) -> Markup:
    """Draw rings and labels.

    Args:
        points: values (x, y) of the marks that labels should not cover.
        lines: polylines in pixels that labels should not cover.
    """
    radius = plane.size.marker_px
    obstacles = [Box.around(*plane.place(x, y), radius + 2) for x, y in points]
    obstacles += [Box.around(*plane.place(one.x, one.y), 2 * radius + 2) for one in callouts]
    for corners in lines:
        obstacles += _along(corners)
    area = plane.area
    bounds = Box(area.left + 2, area.top + 2, area.right, area.bottom - 2)
    placer = Placer(bounds, obstacles)
    return join(_draw_callout(one, placer, plane) for one in callouts)


def pick_entry(radius: float) -> LegendEntry:
    """Return the legend entry of a ringed point."""
    ring = circle(0, 0, 1.7 * radius, "pick-ring")
    return LegendEntry(join((ring, circle(0, 0, 0.7 * radius, "pick-core"))), "picked")


def _draw_callout(callout: Callout, placer: Placer, plane: Plane) -> Markup:
    x, y = plane.place(callout.x, callout.y)
    radius = plane.size.marker_px
    box = placer.place(x, y, callout.lines, plane.size.font_px)
    parts = [element("title", callout.tooltip), _leader(x, y, box, _RING * radius)]
    if callout.ringed:
        parts.append(circle(x, y, _RING * radius, "pick-ring"))
        parts.append(circle(x, y, 0.75 * radius, "pick-core"))
    else:
        parts.append(circle(x, y, 1.8 * radius, "named-ring"))
    parts.extend(_label(callout.lines, x, box, plane.size.font_px))
    return element("g", *parts, class_="named" if callout.ringed else "named random")


def _label(lines: Sequence[str], x: float, box: Box, font_px: float) -> Iterable[Markup]:
    """Write the lines into their box, aligned to the side on which the point lies."""
    anchor, at = "middle", (box.left + box.right) / 2
    if box.left >= x:
        anchor, at = "start", box.left
    elif box.right <= x:
        anchor, at = "end", box.right
    for index, content in enumerate(lines):
        baseline = box.top + (1.0 + 1.25 * index) * font_px
        class_ = "callout strong" if index == 0 else "callout"
        yield text(at, baseline, content, class_, anchor=anchor, font_px=font_px)


def _leader(x: float, y: float, box: Box, radius: float) -> Markup:
    """Draw a line from the rim of the mark at (x, y) to its label, unless that is close."""
    to_x, to_y = min(max(x, box.left), box.right), min(max(y, box.top), box.bottom)
    if abs(to_x - x) + abs(to_y - y) <= _LEADER_FROM_PX:
        return Markup()
    share = radius / math.hypot(to_x - x, to_y - y)
    return line(x + share * (to_x - x), y + share * (to_y - y), to_x, to_y, "leader")


def _along(corners: Corners) -> list[Box]:
    """Return small boxes along a polyline, so that labels keep off it."""
    boxes: list[Box] = []
    for (x1, y1), (x2, y2) in pairwise(corners):
        pieces = max(1, int((abs(x2 - x1) + abs(y2 - y1)) / _OBSTACLE_EVERY_PX))
        for piece in range(pieces + 1):
            share = piece / pieces
            boxes.append(Box.around(x1 + share * (x2 - x1), y1 + share * (y2 - y1), 2.0))
    return boxes
