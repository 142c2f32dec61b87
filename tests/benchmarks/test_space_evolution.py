"""How fronts are compared at equal accuracy."""

import pytest

from benchmarks.space_evolution import Point, compare, front_of


def points(*pairs: tuple[float, float]) -> list[Point]:
    return [Point(accuracy, ratio, "") for accuracy, ratio in pairs]


def test_a_front_rises_in_both() -> None:
    found = front_of(points((0.9, 1.0), (0.8, 0.5), (0.85, 1.1), (0.7, 0.5), (0.9, 1.2)))
    assert found == points((0.8, 0.5), (0.9, 1.0))
    assert front_of([]) == []


def test_equal_accuracy_means_at_least_as_accurate() -> None:
    by_hand = points((0.8, 0.5), (0.9, 1.0), (0.95, 2.0))
    other = points((0.85, 0.4), (0.92, 1.25))
    compared = compare(by_hand, other)
    assert compared.speedups == pytest.approx((0.5 / 0.4, 1.0 / 1.25))
    assert compared.unmatched == 1
    assert compare(by_hand, by_hand).speedups == (1.0, 1.0, 1.0)
