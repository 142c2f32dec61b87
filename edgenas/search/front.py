"""Comparing trials by several figures at once: dominance, fronts, crowding, hypervolume.

Pure functions. Points are tuples of figures of which less is better; `objectives` makes them.
Which trials to compare, and what to propose next, is left to the searchers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from edgenas.search.budget import Budget
from edgenas.search.trial import Outcome, Trial

Point = tuple[float, ...]


def objectives(outcome: Outcome) -> Point:
    """Accuracy (negated), p95 latency and peak memory."""
    return (-outcome.accuracy, outcome.latency_p95_ms, float(outcome.peak_memory_bytes))


def accuracy_and_latency(outcome: Outcome) -> Point:
    """Accuracy (negated) and p95 latency: what a plot shows."""
    return (-outcome.accuracy, outcome.latency_p95_ms)


def dominates(left: Point, right: Point) -> bool:
    """Whether `left` is nowhere worse than `right` and somewhere better (less is better)."""
    return left != right and all(a <= b for a, b in zip(left, right, strict=True))


def fronts(points: Sequence[Point]) -> list[list[int]]:
    """Indices by non-dominated front, the best front first; ascending within a front.

    Each point joins the first front in which nothing dominates it; in lexicographic order no later
    point can dominate an earlier one (ENS-SS; Zhang et al. 2015).
    """
    found: list[list[int]] = []
    for index in sorted(range(len(points)), key=lambda i: (points[i], i)):
        for front in found:
            if not any(dominates(points[other], points[index]) for other in reversed(front)):
                front.append(index)
                break
        else:
            found.append([index])
    return [sorted(front) for front in found]


def crowding(points: Sequence[Point]) -> list[float]:
    """Crowding distance of each point among the others of its front (NSGA-II; Deb et al. 2002).

    Sum over objectives of the gap between both neighbours, as a share of the range; infinite for
    the ends.
    """
    distance = [0.0] * len(points)
    for axis in range(len(points[0]) if points else 0):
        order = sorted(range(len(points)), key=lambda i: (points[i][axis], i))
        spread = points[order[-1]][axis] - points[order[0]][axis]
        distance[order[0]] = distance[order[-1]] = math.inf
        for before, index, after in zip(order, order[1:], order[2:], strict=False):
            if spread > 0:
                distance[index] += (points[after][axis] - points[before][axis]) / spread
    return distance


def measured(trials: Iterable[Trial]) -> list[tuple[Trial, Outcome]]:
    """The complete trials with their outcomes, in the given order."""
    return [(trial, trial.value) for trial in trials if trial.value is not None]


def pareto_front(
    trials: Iterable[Trial], key: Callable[[Outcome], Point] = objectives
) -> tuple[Trial, ...]:
    """The complete trials that no other one dominates, in the given order."""
    found = measured(trials)
    points = [key(outcome) for _, outcome in found]
    ranked = fronts(points)
    return tuple(found[index][0] for index in ranked[0]) if ranked else ()


def hypervolume(
    points: Iterable[tuple[float, float]], *, accuracy_floor: float, latency_ceiling_ms: float
) -> float:
    """Area of (accuracy, latency) that the points dominate within the reference corner.

    Args:
        points: accuracy as a fraction, latency in ms.
        accuracy_floor: accuracy of the reference; points below it do not count.
        latency_ceiling_ms: latency of the reference; points above it do not count.

    Returns:
        The area, in ms (accuracy is a fraction).
    """
    area, best = 0.0, accuracy_floor
    inside = [point for point in points if point[1] < latency_ceiling_ms]
    for accuracy, latency in sorted(inside, key=lambda p: (p[1], -p[0])):
        if accuracy > best:
            area += (accuracy - best) * (latency_ceiling_ms - latency)
            best = accuracy
    return area


def best_under(trials: Iterable[Trial], budget: Budget) -> Trial | None:
    """The most accurate complete trial inside the budget; ties go to the faster, the smaller."""
    inside = [(t, o) for t, o in measured(trials) if not budget.violations(o)]
    return min(inside, key=lambda pair: preference(*pair))[0] if inside else None


def preference(trial: Trial, outcome: Outcome) -> tuple[float, float, int, str]:
    """Sort key: more accurate, then faster, then smaller; the id makes it a total order."""
    return (-outcome.accuracy, outcome.latency_p95_ms, outcome.model_bytes, trial.arch.id)
