"""Fronts, crowding and hypervolume against their definitions."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenas.search.budget import Budget
from edgenas.search.front import (
    accuracy_and_latency,
    best_under,
    crowding,
    dominates,
    fronts,
    hypervolume,
    objectives,
    pareto_front,
)
from edgenas.search.trial import Failure, Trial
from tests.edgenas.search.analytic import DEVICE, DIGITS, complete

EXAMPLES = settings(derandomize=True, deadline=None, max_examples=150)
figures = st.integers(0, 6).map(float)
points3 = st.lists(st.tuples(figures, figures, figures), max_size=25)

TRIALS = [complete(i, DIGITS.sample_by_size(random.Random(i))) for i in range(60)]
BROKEN = Trial(900, DEVICE, "random", DIGITS.largest()).ended(Failure("oom", "killed"))


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ((1.0, 1.0), (1.0, 2.0), True),
        ((1.0, 1.0), (2.0, 2.0), True),
        ((1.0, 1.0), (1.0, 1.0), False),
        ((1.0, 2.0), (2.0, 1.0), False),
        ((2.0, 2.0), (1.0, 1.0), False),
    ],
)
def test_dominance(left: tuple[float, ...], right: tuple[float, ...], expected: bool) -> None:
    assert dominates(left, right) is expected


@EXAMPLES
@given(points3)
def test_fronts_are_peeled_off_one_by_one(points: list[tuple[float, float, float]]) -> None:
    left = list(range(len(points)))
    expected = []
    while left:
        front = [i for i in left if not any(dominates(points[j], points[i]) for j in left)]
        expected.append(front)
        left = [i for i in left if i not in front]
    assert fronts(points) == expected


def test_crowding_by_hand() -> None:
    points = [(0.0, 4.0), (1.0, 2.0), (4.0, 0.0), (2.0, 1.0)]
    # ends are infinite; the others: gap of both neighbours over the range, a sum over both axes
    assert crowding(points) == [
        math.inf,
        pytest.approx(2 / 4 + 3 / 4),
        math.inf,
        pytest.approx(3 / 4 + 2 / 4),
    ]
    assert crowding([]) == []
    assert crowding([(1.0, 1.0)] * 3).count(math.inf) == 2


@EXAMPLES
@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), max_size=12))
def test_the_hypervolume_counts_the_dominated_cells(points: list[tuple[int, int]]) -> None:
    # cell (a, t) reaches from accuracy a to a + 1 and from latency t to t + 1, in tenths and ms
    cells = sum(
        any(accuracy >= a + 1 and latency <= t for accuracy, latency in points)
        for a in range(2, 10)
        for t in range(9)
    )
    area = hypervolume(
        [(accuracy / 10, float(latency)) for accuracy, latency in points],
        accuracy_floor=0.2,
        latency_ceiling_ms=9.0,
    )
    assert area == pytest.approx(cells / 10)


def test_the_front_of_trials_holds_what_nothing_beats_and_no_failures() -> None:
    front = pareto_front([*TRIALS, BROKEN])
    assert 3 < len(front) < len(TRIALS)
    for trial in TRIALS:
        assert trial.value is not None
        mine = objectives(trial.value)
        beaten = any(dominates(objectives(t.value), mine) for t in TRIALS if t.value is not None)
        assert beaten is (trial not in front)


def test_the_plotted_front_rises_in_both_figures() -> None:
    front = pareto_front(TRIALS, accuracy_and_latency)
    found = sorted((t.value.latency_p95_ms, t.value.accuracy) for t in front if t.value)
    assert found == sorted(found, key=lambda pair: pair[1])
    assert pareto_front([BROKEN]) == ()


def test_the_best_under_a_budget_is_inside_it_and_nothing_inside_is_better() -> None:
    budget = Budget(latency_p95_ms=1.0, peak_memory_bytes=40_000)
    best = best_under([*TRIALS, BROKEN], budget)
    assert best is not None
    assert best.value is not None
    inside = [t.value for t in TRIALS if t.value and not budget.violations(t.value)]
    assert len(inside) > 5
    assert best.value in inside
    assert best.value.accuracy == max(value.accuracy for value in inside)
    assert best_under(TRIALS, Budget(latency_p95_ms=0.001)) is None


def test_ties_in_accuracy_go_to_the_faster() -> None:
    slow, fast = (complete(i, DIGITS.largest()) for i in range(2))
    assert slow.value is not None
    quicker = 0.5 * slow.value.latency_p95_ms
    fast = fast.ended(replace(slow.value, latency_p50_ms=quicker, latency_p95_ms=quicker))
    assert best_under([slow, fast], Budget()) is fast
