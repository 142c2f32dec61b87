"""Comparing lists of accuracies: rank correlation, fronts, area under a front. Plain functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from edgenas.search.front import fronts, hypervolume

Point = tuple[float, float]
"""Cost and accuracy of a subnet."""


def kendall_tau(left: Sequence[float], right: Sequence[float]) -> float:
    """Kendall's tau-b of two lists: 1 for the same order, -1 for the opposite one.

    (concordant - discordant) / sqrt((pairs - ties in left) (pairs - ties in right)); NaN where a
    list has one value only.
    """
    concordant = left_ties = right_ties = 0
    pairs = list(combinations(range(len(left)), 2))
    for i, j in pairs:
        a, b = left[i] - left[j], right[i] - right[j]
        concordant += (a * b > 0) - (a * b < 0)
        left_ties += a == 0
        right_ties += b == 0
    norm = math.sqrt((len(pairs) - left_ties) * (len(pairs) - right_ties))
    return concordant / norm if norm else math.nan


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats in cost and accuracy, by ascending cost."""
    ranked = fronts([(cost, -accuracy) for cost, accuracy in points])
    return sorted(points[index] for index in ranked[0]) if ranked else []


def reach(points: Sequence[Point], cost: float) -> float:
    """Highest accuracy among the points that cost at most `cost`; NaN if there is none."""
    return max((accuracy for each, accuracy in points if each <= cost), default=math.nan)


def worst_lead(ours: Sequence[Point], theirs: Sequence[Point]) -> float:
    """How much more accurate our front is than theirs, at the cost where that is least.

    Looked at where either front has a point and both reach an accuracy; negative where theirs is
    above ours.
    """
    costs = [cost for cost, _ in [*front(ours), *front(theirs)]]
    leads = [reach(ours, cost) - reach(theirs, cost) for cost in costs]
    return min((lead for lead in leads if not math.isnan(lead)), default=math.nan)


def area_share(points: Sequence[Point], *, floor: float, ceiling: float) -> float:
    """Hypervolume of cost and accuracy as a share of the whole box, 0 to 1.

    Args:
        points: costs and accuracies, the latter from 0 to 1.
        floor: accuracy at the bottom of the box.
        ceiling: cost at its right end.
    """
    turned = [(accuracy, cost) for cost, accuracy in points]
    area = hypervolume(turned, accuracy_floor=floor, latency_ceiling_ms=ceiling)
    return area / ((1 - floor) * ceiling)
