"""Where labels go so that they cover neither points nor lines nor each other.

Works on boxes in pixels and on an estimate of text widths, for there is no font to ask. Drawing
the label is left to the plot.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product

_NARROW = frozenset("ijlt.,:;'|!()[]f r\u00a0\u202f")
_WIDE = frozenset("mwMW%≤→←×")
_BOLD = 1.08
_DISTANCES_PX = (10.0, 18.0, 30.0, 46.0, 66.0, 90.0, 120.0)
_DIRECTIONS = (
    *((1.0, 0.0), (-1.0, 0.0), (1.0, -1.0), (-1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)),
    *((across, down) for across in (1.0, -1.0) for down in (-0.9, 0.9)),
    *((across, down) for across in (0.0, -0.25, 0.25, -0.4, 0.4) for down in (-1.0, 1.0)),
)
_OUTSIDE_COST = 1e7
_LEADER_STEP_PX = 6.0
_CROSSING_COST = 8.0
_STRIKING_COST = 60.0
_COVERING_COST = 1e4


def text_width_px(text: str, font_px: float) -> float:
    """Return a width that a text in the page's sans-serif fonts does not exceed as a rule."""
    ems = (0.4 if one in _NARROW else 0.92 if one in _WIDE else 0.64 for one in text)
    return font_px * sum(ems)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def around(cls, x: float, y: float, radius: float) -> Box:
        """Return the square around a point."""
        return cls(x - radius, y - radius, x + radius, y + radius)

    def overlap(self, other: Box) -> float:
        """Return the common area in square pixels."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)

    def inside(self, other: Box) -> bool:
        """Say whether this box lies wholly in the other."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.top >= other.top
            and self.bottom <= other.bottom
        )


@dataclass(slots=True)
class Placer:
    """Places labels one after the other inside `bounds`; each placed label becomes an obstacle.

    `obstacles` are points and lines (a line as a row of small boxes): a label may cover a little
    of them where there is no better place, but never another label.
    """

    bounds: Box
    obstacles: list[Box]
    labels: list[Box] = field(default_factory=list)

    def place(self, x: float, y: float, texts: Iterable[str], font_px: float) -> Box:
        """Return the box of a label of several lines that belongs to the point (x, y)."""
        lines = list(texts)
        width = _BOLD * max(text_width_px(line, font_px) for line in lines)
        height = 1.25 * font_px * len(lines)
        best, lowest = Box(0, 0, width, height), math.inf
        for distance, direction in product(_DISTANCES_PX, _DIRECTIONS):
            box = _beside(x, y, direction, distance, width, height)
            cost = distance + self._cost(box)
            if cost < lowest:
                cost += self._leader_cost(x, y, box)
            if cost < lowest:
                best, lowest = box, cost
        self.labels.append(best)
        return best

    def _cost(self, box: Box) -> float:
        cost = 0.0 if box.inside(self.bounds) else _OUTSIDE_COST
        cost += 4.0 * sum(box.overlap(obstacle) for obstacle in self.obstacles)
        return cost + _COVERING_COST * sum(1 for label in self.labels if box.overlap(label) > 0)

    def _leader_cost(self, x: float, y: float, box: Box) -> float:
        """Return a cost for what the line from the point to its label would cross."""
        to_x, to_y = min(max(x, box.left), box.right), min(max(y, box.top), box.bottom)
        pieces = int(math.hypot(to_x - x, to_y - y) / _LEADER_STEP_PX)
        around = [
            one
            for one in self.obstacles
            if not (one.left <= x <= one.right and one.top <= y <= one.bottom)
        ]
        cost = 0.0
        for piece in range(1, pieces + 1):
            at_x, at_y = x + piece * (to_x - x) / pieces, y + piece * (to_y - y) / pieces
            near = Box.around(at_x, at_y, 0.5)
            cost += _CROSSING_COST * any(near.overlap(one) > 0 for one in around)
            cost += _STRIKING_COST * any(near.overlap(one) > 0 for one in self.labels)
        return cost


def _beside(
    x: float, y: float, direction: tuple[float, float], distance: float, width: float, height: float
) -> Box:
    """Return the box of a size that lies in a direction from the point (x, y).

    A direction of -1 or 1 puts the box wholly on that side, and less lets it slide along.
    """
    across, down = direction
    shift = 0.75 * distance if abs(across) == abs(down) == 1 else distance
    left = x - width / 2 + across * (width / 2 + shift if abs(across) == 1 else width)
    top = y - height / 2 + down * (height / 2 + shift if abs(down) == 1 else height)
    return Box(left, top, left + width, top + height)
