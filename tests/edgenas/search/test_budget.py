"""Budgets: what exceeds them, how they are read from text and derived from two networks."""

import math
from dataclasses import replace

import pytest

from edgenas.search.budget import Budget, derive_budget, parse_budget
from edgenas.search.errors import BudgetError
from tests.edgenas.search.analytic import DIGITS, outcome

SMALL, LARGE = outcome(DIGITS, DIGITS.smallest()), outcome(DIGITS, DIGITS.largest())


def test_a_cost_at_the_limit_is_inside_and_one_above_it_is_named() -> None:
    budget = Budget(LARGE.latency_p95_ms, LARGE.peak_memory_bytes, "test")
    assert budget.violations(LARGE) == ()
    assert budget.excess(LARGE) == 0.0
    assert budget.utilisation(LARGE) == 1.0
    slower = replace(LARGE, latency_p95_ms=2 * LARGE.latency_p95_ms, p95_upper95_ms=None)
    slower = replace(slower, peak_memory_bytes=2 * LARGE.peak_memory_bytes)
    assert budget.violations(slower) == (
        "p95 7.32 ms > budget 3.66 ms",
        "peak memory 176.00 KiB > budget 88.00 KiB",
    )
    assert math.isclose(budget.excess(slower), 2.0)


def test_without_limits_everything_is_inside() -> None:
    assert Budget().violations(LARGE) == ()
    assert (Budget().excess(LARGE), Budget().utilisation(LARGE)) == (0.0, 0.0)


def test_each_limit_stands_alone() -> None:
    assert Budget(latency_p95_ms=1.0).violations(LARGE) == ("p95 3.66 ms > budget 1.00 ms",)
    (text,) = Budget(peak_memory_bytes=1024).violations(LARGE)
    assert text == "peak memory 88.00 KiB > budget 1.00 KiB"


@pytest.mark.parametrize(
    ("text", "latency_ms", "memory"),
    [
        ("2.5ms", 2.5, None),
        ("800us", 0.8, None),
        ("800µs", 0.8, None),
        ("1.5s", 1500.0, None),
        ("8MiB", None, 8 * 2**20),
        ("8MB", None, 8_000_000),
        ("512KiB", None, 512 * 1024),
        ("2.5ms,8MiB", 2.5, 8 * 2**20),
        (" 8 mib , 2.5 MS ", 2.5, 8 * 2**20),
    ],
)
def test_limits_are_read_with_their_units(
    text: str, latency_ms: float | None, memory: int | None
) -> None:
    budget = parse_budget(text)
    assert budget.latency_p95_ms == pytest.approx(latency_ms)
    assert budget.peak_memory_bytes == memory
    assert text.strip() in budget.reason


@pytest.mark.parametrize(
    "text",
    ["", "2.5", "ms", "2.5 parsec", "1ms,2ms", "1MiB,2MiB", "1ms,", "-1ms", "1e3ms", "nan ms"],
)
def test_text_that_is_no_budget_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BudgetError, match=r"write for instance 2\.5ms,8MiB"):
        parse_budget(text)


@pytest.mark.parametrize("latency", [0.0, -1.0, math.nan, math.inf])
def test_a_latency_that_nothing_can_meet_is_refused(latency: float) -> None:
    with pytest.raises(BudgetError, match="latency_p95_ms: expected a positive"):
        Budget(latency_p95_ms=latency)


@pytest.mark.parametrize("memory", [0, -5])
def test_a_memory_that_nothing_can_meet_is_refused(memory: int) -> None:
    with pytest.raises(BudgetError, match="peak_memory_bytes: expected a positive"):
        Budget(peak_memory_bytes=memory)
    with pytest.raises(BudgetError, match="latency_p95_ms"):
        parse_budget("0ms")


def test_a_derived_limit_lies_the_given_share_of_the_way() -> None:
    budget = derive_budget(SMALL, LARGE, share_latency=0.25, share_memory=0.5)
    assert budget.latency_p95_ms == pytest.approx(
        0.75 * SMALL.latency_p95_ms + 0.25 * LARGE.latency_p95_ms
    )
    assert budget.peak_memory_bytes == (SMALL.peak_memory_bytes + LARGE.peak_memory_bytes) // 2
    assert budget.reason == (
        "p95 25% of the way from the smallest network measured on this device (0.117 ms) to the "
        "largest (3.66 ms); peak memory 50% of the way from the smallest network measured on this "
        "device (8.00 KiB) to the largest (88.00 KiB)"
    )


def test_shares_of_nought_and_one_are_the_two_networks_themselves() -> None:
    tight = derive_budget(SMALL, LARGE, share_latency=0.0)
    loose = derive_budget(SMALL, LARGE, share_latency=1.0, share_memory=1.0)
    assert tight.violations(SMALL) == ()
    assert tight.violations(LARGE)
    assert loose.violations(LARGE) == ()
    assert tight.peak_memory_bytes is None


def test_a_cost_that_does_not_tell_networks_apart_sets_no_limit_and_says_so() -> None:
    same = replace(LARGE, peak_memory_bytes=SMALL.peak_memory_bytes)
    budget = derive_budget(SMALL, same, share_latency=0.5, share_memory=0.5)
    assert budget.peak_memory_bytes is None
    assert "peak memory not limited: the largest network needs 8.00 KiB" in budget.reason


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_outside_nought_to_one_is_refused(share: float) -> None:
    with pytest.raises(BudgetError, match="expected 0 to 1"):
        derive_budget(SMALL, LARGE, share_latency=share)


def test_limits_of_ones_own_go_over_those_of_all() -> None:
    common = Budget(8.0, 20 << 20, "given: 8ms,20MiB")
    own = Budget(5.0, None, "given: 5ms").over(common)
    assert (own.latency_p95_ms, own.peak_memory_bytes) == (5.0, 20 << 20)
    assert own.reason == "given: 5ms; peak memory 20.00 MiB (given: 8ms,20MiB)"
    slow = Budget(None, 1 << 20, "given: 1MiB").over(common)
    assert (slow.latency_p95_ms, slow.peak_memory_bytes) == (8.0, 1 << 20)
    both = Budget(1.0, 1 << 20, "given: 1ms,1MiB")
    assert both.over(common) is both
    assert own.over(Budget()) is own
