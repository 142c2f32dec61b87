"""Which of many candidates would push the front furthest: gains in hypervolume, one after another.

Points are pairs (accuracy, latency) of predictions. Where predictions come from is left to the
searchers; the area itself is that of `edgenas.search.front.hypervolume`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edgenas.search.features import Rows
from edgenas.search.front import hypervolume

Point2 = tuple[float, float]
"""Accuracy as a fraction, latency in ms."""


@dataclass(frozen=True)
class Corner:
    """The reference point: what is less accurate or slower adds no area.

    Attributes:
        accuracy: as a fraction.
        latency_ms: in ms.
    """

    accuracy: float
    latency_ms: float


def staircase(points: Iterable[Point2], corner: Corner) -> list[Point2]:
    """The points inside the corner that no other one dominates, by rising latency."""
    kept: list[Point2] = []
    best = corner.accuracy
    for accuracy, latency in sorted(points, key=lambda point: (point[1], -point[0])):
        if accuracy > best and latency < corner.latency_ms:
            kept.append((accuracy, latency))
            best = accuracy
    return kept


def gains(candidates: Rows, front: Sequence[Point2], corner: Corner) -> Rows:
    """Area that each candidate alone would add to what the front dominates.

    Args:
        candidates: accuracy and latency.  [n, 2]
        front: a staircase.
        corner: reference.
    """
    accuracy, latency = candidates[:, 0], candidates[:, 1]
    added: Rows = np.zeros(len(candidates))
    # Between two steps of the front everything at that latency is dominated up to `level`.
    edges = [(corner.accuracy, -np.inf), *front]
    ends = [step[1] for step in front] + [corner.latency_ms]
    for (level, start), end in zip(edges, ends, strict=True):
        width = np.maximum(0.0, end - np.maximum(latency, start))
        added += width * np.maximum(0.0, accuracy - level)
    return added


def area(front: Sequence[Point2], corner: Corner) -> float:
    """What the front dominates, in ms."""
    return hypervolume(front, accuracy_floor=corner.accuracy, latency_ceiling_ms=corner.latency_ms)
