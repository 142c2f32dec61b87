"""Gains in hypervolume against brute force: the area with a candidate less the area without."""

import random

import numpy as np

from edgenas.search.front import dominates, hypervolume
from edgenas.search.gains import Corner, area, gains, staircase

CORNER = Corner(0.2, 9.0)


def points(rng: random.Random, count: int) -> list[tuple[float, float]]:
    """Some beyond the corner, and some that share an accuracy or a latency."""
    return [(round(rng.random(), 1), float(rng.randrange(1, 11))) for _ in range(count)]


def brute(found: list[tuple[float, float]]) -> float:
    return hypervolume(found, accuracy_floor=CORNER.accuracy, latency_ceiling_ms=CORNER.latency_ms)


def test_gains_are_differences_of_areas() -> None:
    rng = random.Random(0)
    for count in [0, 1, 2, 5, 12] * 20:
        known, candidates = points(rng, count), points(rng, 15)
        expected = [brute([*known, candidate]) - brute(known) for candidate in candidates]
        found = gains(np.array(candidates), staircase(known, CORNER), CORNER)
        assert np.allclose(found, expected)


def test_the_staircase_is_what_nothing_dominates_inside_the_corner() -> None:
    rng = random.Random(1)
    for _ in range(50):
        known = set(points(rng, 20))
        costs = {(-accuracy, latency) for accuracy, latency in known}
        best = {
            (accuracy, latency)
            for accuracy, latency in known
            if not any(dominates(other, (-accuracy, latency)) for other in costs)
        }
        inside = {p for p in best if p[0] > CORNER.accuracy and p[1] < CORNER.latency_ms}
        steps = staircase(known, CORNER)
        assert set(steps) == inside
        assert [s[1] for s in steps] == sorted(s[1] for s in steps)
        assert area(steps, CORNER) == brute(list(known))
