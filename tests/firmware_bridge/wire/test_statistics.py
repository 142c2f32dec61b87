"""The estimators: order statistics, their bounds, the ratio."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.wire.errors import InvalidValueError
from firmware_bridge.wire.messages import Leg
from firmware_bridge.wire.statistics import (
    candidate_samples,
    median_ranks,
    ratio,
    ratio_of_rounds,
    reference_samples,
    summarize,
    upper_rank,
)

SAMPLES = st.lists(st.integers(min_value=0, max_value=10**10), min_size=1, max_size=400)


def leg(number: int, model: str, *samples_ns: int) -> Leg:
    assert model in ("R", "C")
    return Leg(number, "C" if model == "C" else "R", samples_ns, 0, None, None, None)


def test_a_known_sample() -> None:
    found = summarize([*range(100, 0, -1)])
    assert (found.n, found.min_ns, found.p50_ns, found.p90_ns) == (100, 1, 50, 90)
    assert (found.p95_ns, found.p99_ns) == (95, None)
    assert (found.mean_ns, found.mad_ns) == (50.5, 25)
    assert found.p50_ci95_ns == (40, 61)  # tabulated ranks for n = 100
    assert found.p95_upper95_ns == 99
    assert found.cv == pytest.approx(29.011492 / 50.5)


def test_one_sample() -> None:
    found = summarize([7])
    assert (found.p50_ns, found.p95_ns, found.p50_ci95_ns) == (7, 7, (7, 7))
    assert (found.mad_ns, found.cv, found.p95_upper95_ns) == (0, 0.0, None)


def test_no_sample_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="at least one"):
        summarize([])


@pytest.mark.parametrize(("n", "rank"), [(58, None), (59, 59), (92, 92), (93, 92), (299, 291)])
def test_the_bound_of_the_95th_percentile_needs_59_samples(n: int, rank: int | None) -> None:
    assert upper_rank(n, 95) == rank


def test_the_bound_of_the_99th_percentile_needs_299_samples() -> None:
    assert upper_rank(298, 99) is None
    assert upper_rank(299, 99) == 299
    assert summarize(range(298)).p99_ns is None
    assert summarize(range(1, 300)).p99_ns == 297


@pytest.mark.parametrize(
    ("n", "ranks"), [(1, (1, 1)), (5, (1, 5)), (6, (1, 6)), (9, (2, 8)), (20, (6, 15))]
)
def test_ranks_around_the_median(n: int, ranks: tuple[int, int]) -> None:
    assert median_ranks(n) == ranks


@pytest.mark.parametrize("n", [6, 17, 60, 401, 1200])
def test_both_bounds_hold_their_confidence_and_are_tight(n: int) -> None:
    low, high = median_ranks(n)
    assert _cover_median(n, low, high) >= 0.95
    if high - low > 2:
        assert _cover_median(n, low + 1, high - 1) < 0.95
    rank = upper_rank(n, 95)
    if rank is not None:
        assert _below(n, rank, 0.95) >= 0.95 - 1e-9
        assert _below(n, rank - 1, 0.95) < 0.95


def test_the_bound_covers_the_true_percentile_often_enough() -> None:
    rng = random.Random(4)
    true_p95 = -math.log(0.05) * 1e6
    trials = 1000
    covered = 0
    for _ in range(trials):
        bound = summarize([int(rng.expovariate(1e-6)) for _ in range(100)]).p95_upper95_ns
        covered += bound is not None and bound >= true_p95
    assert covered / trials >= 0.93  # 95 % less three standard errors


@given(SAMPLES)
def test_a_summary_is_consistent(samples: list[int]) -> None:
    found = summarize(samples)
    assert found == summarize(samples[::-1])
    assert found.min_ns <= found.p50_ns <= found.p90_ns <= found.p95_ns <= max(samples)
    assert found.p50_ci95_ns[0] <= found.p50_ns <= found.p50_ci95_ns[1]
    assert {found.p50_ns, found.p95_ns, *found.p50_ci95_ns} <= set(samples)
    if found.p95_upper95_ns is not None:
        assert found.p95_upper95_ns >= found.p95_ns
    assert (found.p95_upper95_ns is None) == (len(samples) < 59)


def test_the_ratio_is_the_median_over_rounds() -> None:
    legs = [
        leg(0, "R", 100), leg(0, "C", 200), leg(0, "C", 200), leg(0, "R", 100),
        leg(1, "R", 100), leg(1, "C", 300), leg(1, "C", 300), leg(1, "R", 100),
        leg(2, "R", 1000), leg(2, "C", 2100), leg(2, "C", 2100), leg(2, "R", 1000),
    ]  # fmt: skip
    found = ratio(legs)
    assert found is not None
    assert (found.ratio, found.rounds) == (2.1, 3)
    assert found.ci95 == (2.0, 3.0)
    assert found.half_width_pct == pytest.approx(50 / 2.1)


def test_the_ratio_shrugs_off_a_neighbour_that_slows_both() -> None:
    rng = random.Random(5)
    legs = []
    for number in range(20):
        load = rng.choice([1, 1, 3])
        for model, base in (("R", 1000), ("C", 1500), ("C", 1500), ("R", 1000)):
            samples = [int(load * base * rng.uniform(0.99, 1.01)) for _ in range(10)]
            legs.append(leg(number, model, *samples))
    found = ratio(legs)
    assert found is not None
    assert found.ratio == pytest.approx(1.5, rel=0.01)
    assert found.half_width_pct < 1
    assert found == ratio(legs)


def _busy_half_the_time(busy_rounds: set[int], factor_c: float, factor_r: float) -> list[Leg]:
    """Twenty rounds; while the neighbour computes, the two models are slowed differently."""
    legs = []
    for number in range(20):
        busy = number in busy_rounds
        candidate = round(2000 * (factor_c if busy else 1.0)) + number % 3
        reference = round(1000 * (factor_r if busy else 1.0)) + number % 2
        for model, value in (("R", reference), ("C", candidate), ("C", candidate)):
            legs.append(leg(number, model, value))
        legs.append(leg(number, "R", reference))
    return legs


@pytest.mark.parametrize("share", [3, 8, 11, 15])
def test_the_ratio_does_not_depend_on_how_long_the_neighbour_computed(share: int) -> None:
    found = ratio(_busy_half_the_time(set(range(share)), 1.4, 1.9))
    assert found is not None
    assert found.ratio == pytest.approx(2.0, rel=0.002)
    assert found.rounds == 20 - share


def test_with_too_few_calm_rounds_all_of_them_count() -> None:
    found = ratio(_busy_half_the_time(set(range(17)), 1.4, 1.9))
    assert found is not None
    assert found.rounds == 20


def test_outliers_of_the_candidate_itself_are_not_trimmed() -> None:
    found = ratio(_busy_half_the_time(set(range(11)), 1.4, 1.0))
    assert found is not None
    assert found.ratio == pytest.approx(2.8, rel=0.002)
    assert found.rounds == 20


def test_rounds_without_both_models_do_not_count() -> None:
    assert ratio([]) is None
    assert ratio([leg(0, "C", 1, 2)]) is None
    assert ratio([leg(0, "C", 1), leg(1, "R", 1)]) is None
    assert ratio([leg(0, "C", 5), leg(0, "R", 0)]) is None
    found = ratio([leg(0, "C", 4), leg(0, "R", 2), leg(1, "C", 9)])
    assert found is not None
    assert (found.rounds, found.ratio, found.ci95) == (1, 2.0, (2.0, 2.0))


@pytest.mark.parametrize(
    ("ratios", "finding"),
    [
        ([0.9, 0.91, 0.89, 0.9, 0.92], "faster"),
        ([1.1, 1.2, 1.15, 1.12, 1.11], "slower"),
        ([0.9, 1.1, 0.95, 1.05, 1.0], "undecided"),
        ([1.0] * 5, "undecided"),
    ],
)
def test_faster_and_slower_are_said_only_of_a_whole_interval(
    ratios: list[float], finding: str
) -> None:
    summary = ratio_of_rounds(ratios)
    assert summary is not None
    assert summary.finding == finding


def test_ratios_of_rounds_are_summarised_as_those_of_legs_are() -> None:
    legs = [
        leg(number, model, 1000 + number if model == "C" else 1000)
        for number in range(7)
        for model in "RCCR"
    ]
    assert ratio(legs) == ratio_of_rounds([1 + number / 1000 for number in range(7)])
    assert ratio_of_rounds([]) is None


def test_samples_by_model() -> None:
    legs = [leg(0, "R", 1, 2), leg(0, "C", 3), leg(0, "C", 4), leg(0, "R", 5)]
    assert candidate_samples(legs) == (3, 4)
    assert reference_samples(legs) == (1, 2, 5)


def _below(n: int, rank: int, p: float) -> float:
    """P(Binomial(n, p) <= rank - 1), by logarithms."""
    return math.fsum(
        math.exp(
            math.lgamma(n + 1)
            - math.lgamma(i + 1)
            - math.lgamma(n - i + 1)
            + i * math.log(p)
            + (n - i) * math.log(1 - p)
        )
        for i in range(rank)
    )


def _cover_median(n: int, low: int, high: int) -> float:
    return _below(n, high, 0.5) - _below(n, low, 0.5)
