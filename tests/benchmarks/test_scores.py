"""Rank correlation, fronts and areas, by hand and against brute force."""

import math
import random

import pytest
from scipy.stats import kendalltau

from benchmarks.scores import area_share, front, kendall_tau, reach, worst_lead


def test_tau_by_hand() -> None:
    assert kendall_tau([1, 2, 3], [10, 20, 30]) == 1
    assert kendall_tau([1, 2, 3], [3, 2, 1]) == -1
    assert kendall_tau([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3)
    assert math.isnan(kendall_tau([1, 1], [1, 2]))


def test_tau_is_scipys_ties_included() -> None:
    rng = random.Random(1)
    for _ in range(50):
        count = rng.randrange(3, 15)
        left, right = ([float(rng.randrange(6)) for _ in range(count)] for _ in range(2))
        expected = float(kendalltau(left, right).statistic)
        assert kendall_tau(left, right) == pytest.approx(expected, nan_ok=True)


def test_front_and_reach() -> None:
    points = [(3.0, 0.9), (1.0, 0.7), (2.0, 0.6), (4.0, 0.9), (2.5, 0.8)]
    assert front(points) == [(1.0, 0.7), (2.5, 0.8), (3.0, 0.9)]
    assert front([]) == []
    assert reach(points, 2.6) == 0.8
    assert math.isnan(reach(points, 0.5))


def test_the_worst_lead_is_where_the_other_front_comes_nearest() -> None:
    ours = [(1.0, 0.80), (3.0, 0.90)]
    assert worst_lead(ours, [(1.0, 0.79), (3.0, 0.85)]) == pytest.approx(0.01)
    # between our points theirs is above: at cost 2 they reach more than our point at 1
    assert worst_lead(ours, [(1.0, 0.70), (2.0, 0.83)]) == pytest.approx(-0.03)
    # where only one of them reaches anything there is nothing to compare
    assert worst_lead(ours, [(2.0, 0.75)]) == pytest.approx(0.05)


def test_area_by_hand() -> None:
    # box from 0.5 to 1 and 0 to 10; the point takes (0.9 - 0.5) * (10 - 4) of 0.5 * 10
    assert area_share([(4.0, 0.9)], floor=0.5, ceiling=10.0) == pytest.approx(0.48)
    assert area_share([(0.0, 1.0)], floor=0.5, ceiling=10.0) == pytest.approx(1.0)
    assert area_share([(4.0, 0.4), (11.0, 0.9)], floor=0.5, ceiling=10.0) == 0.0
    both = area_share([(4.0, 0.9), (5.0, 0.7)], floor=0.5, ceiling=10.0)
    assert both == pytest.approx(0.48)  # a dominated point adds nothing
