"""The shortlist and the choice: rules, ties, fall-backs and what people are told."""

import random
from dataclasses import replace

import pytest

from edgenas.search.budget import Budget
from edgenas.search.errors import TrialError
from edgenas.search.front import measured
from edgenas.search.pick import Decision, Finalist, choose, objections, shortlist
from edgenas.search.trial import Failure, Outcome, Trial
from edgenas.space import Arch
from tests.edgenas.search.analytic import DEVICE, DIGITS, complete, outcome

ARCHS = sorted({DIGITS.sample(random.Random(i)) for i in range(12)}, key=DIGITS.macs)
BUDGET = Budget(0.35, 64 * 1024, "test")


def figures(
    accuracy: float, p95_ms: float, upper_ms: float | None = None, memory: int = 32 * 1024
) -> Outcome:
    """Chosen figures for rules that do not depend on where figures come from."""
    return replace(
        outcome(DIGITS, ARCHS[0], level="certify"),
        accuracy=accuracy,
        latency_p50_ms=0.9 * p95_ms,
        p50_ci95_ms=(0.89 * p95_ms, 0.91 * p95_ms),
        latency_p95_ms=p95_ms,
        p95_upper95_ms=upper_ms,
        peak_memory_bytes=memory,
    )


def finalist(index: int, *sessions: Outcome, failures: tuple[Failure, ...] = ()) -> Finalist:
    return Finalist(ARCHS[index], sessions, failures)


def reason(decision: Decision, arch: Arch) -> str:
    (found,) = [ranked.reason for ranked in decision.ranking if ranked.arch_id == arch.id]
    return found


def test_the_most_accurate_inside_wins_and_the_others_are_told_why_not() -> None:
    slow = finalist(0, figures(0.979, 0.41))
    good = finalist(1, figures(0.974, 0.33))
    less = finalist(2, figures(0.971, 0.20))
    large = finalist(3, figures(0.975, 0.30, memory=65 * 1024))
    decision = choose([less, slow, good, large], BUDGET)
    assert decision.pick is good
    assert [r.arch_id for r in decision.ranking] == [f.arch.id for f in (slow, large, good, less)]
    assert [r.accepted for r in decision.ranking] == [False, False, True, True]
    resolution = slow.arch.resolution
    assert decision.reason_next_lost == (
        f"r{resolution} {slow.arch.id}: 97.9 % but p95 0.410 ms > budget 0.350 ms"
    )
    assert reason(decision, large.arch).endswith(
        "97.5 % but peak memory 65.00 KiB > budget 64.00 KiB"
    )
    assert reason(decision, less.arch).endswith("97.1 %, 0.3 points less accurate")
    assert "97.4 % at p95 0.330 ms <= budget 0.350 ms" in decision.message
    assert reason(decision, good.arch) == f"picked: {decision.message}"


def test_the_certified_bound_counts_where_there_is_one() -> None:
    lucky = finalist(0, figures(0.98, 0.34, upper_ms=0.36))
    safe = finalist(1, figures(0.97, 0.30, upper_ms=0.34))
    assert choose([lucky, safe], BUDGET).pick is safe
    assert choose([finalist(0, figures(0.98, 0.34)), safe], BUDGET).pick is not safe


def test_the_median_over_sessions_counts_for_latency_and_the_worst_for_memory() -> None:
    once_slow = finalist(0, figures(0.98, 0.3), figures(0.98, 0.5), figures(0.98, 0.31))
    assert once_slow.certified_p95_ms == 0.31
    assert choose([once_slow], BUDGET).pick is once_slow
    once_large = finalist(0, figures(0.98, 0.3), figures(0.98, 0.3, memory=80 * 1024))
    assert choose([once_large], BUDGET).pick is None


def test_ties_go_to_the_faster_then_to_the_smaller() -> None:
    slower, faster = finalist(0, figures(0.97, 0.30)), finalist(1, figures(0.97, 0.29))
    decision = choose([slower, faster], BUDGET)
    assert decision.pick is faster
    assert "equally accurate but slower (p95 0.300 ms against 0.290 ms)" in reason(
        decision, slower.arch
    )
    small = figures(0.97, 0.29)
    larger = finalist(2, replace(small, model_bytes=small.model_bytes + 1))
    for order in ([larger, faster], [faster, larger]):
        decision = choose(order, BUDGET)
        assert decision.pick is faster
        assert "not smaller" in decision.reason_next_lost


def test_a_finalist_that_broke_by_its_own_fault_is_not_shipped() -> None:
    broken = finalist(0, figures(0.99, 0.2), failures=(Failure("oom", "killed at 70 KiB"),))
    lost = finalist(1, figures(0.98, 0.2), failures=(Failure("DEVICE_LOST", "power cut"),))
    never = finalist(2, failures=(Failure("DEVICE_LOST", "power cut"),))
    decision = choose([never, broken, lost], BUDGET)
    assert decision.pick is lost
    assert "but failed when measured again (oom: killed at 70 KiB)" in decision.reason_next_lost
    assert "(DEVICE_LOST: power cut)" in reason(decision, never.arch)
    assert decision.ranking[-1].arch_id == never.arch.id


@pytest.mark.parametrize("code", ["NO_MEMORY", "OVER_BUDGET", "DEVICE_LOST", "LOCKED"])
def test_what_was_not_its_doing_disqualifies_no_finalist(code: str) -> None:
    good = figures(0.99, 0.2)
    unlucky = finalist(0, good, good, good, failures=(Failure(code, "not the network"),))
    assert objections(unlucky, BUDGET) == ()
    assert choose([unlucky, finalist(1, figures(0.98, 0.2))], BUDGET).pick is unlucky


def test_bytes_that_compute_something_else_on_the_device_are_not_shipped() -> None:
    wrong = finalist(0, replace(figures(0.99, 0.2), golden_max_lsb=9))
    right = finalist(1, replace(figures(0.98, 0.2), golden_max_lsb=1))
    decision = choose([wrong, right], BUDGET, golden_tolerance_lsb=1)
    assert decision.pick is right
    assert "differ by 9 > 1 steps" in decision.reason_next_lost
    assert choose([wrong, right], BUDGET).pick is wrong
    decision = choose([wrong], BUDGET, golden_tolerance_lsb=1)
    assert decision.pick is None
    assert "otherwise than by its costs" in decision.message


def test_if_nothing_fits_the_tightest_limit_and_the_smallest_cost_are_named() -> None:
    smallest = figures(0.90, 0.4, upper_ms=0.42, memory=70 * 1024)
    decision = choose([finalist(0, figures(0.98, 0.5))], BUDGET, smallest=smallest)
    assert decision.pick is None
    assert decision.message == (
        "nothing fits: the tightest limit is p95 0.350 ms; the smallest network (38400 MACs) "
        "needs 0.420 ms, 1.20 times the limit; raise the limit"
    ).replace("38400", str(smallest.macs))
    assert "but p95 0.500 ms > budget 0.350 ms" in decision.reason_next_lost
    memory = choose([finalist(0, figures(0.98, 0.5, memory=640 * 1024))], BUDGET)
    assert "tightest limit is peak memory 64.00 KiB" in memory.message
    assert "needs 640.00 KiB, 10.00 times the limit" in memory.message


def test_if_only_the_finalists_were_too_large_the_advice_is_to_go_smaller() -> None:
    decision = choose([finalist(0, figures(0.98, 0.5))], BUDGET, smallest=figures(0.9, 0.2))
    assert "0.57 times the limit; measure smaller networks again" in decision.message


def test_without_finalists_there_is_no_pick_but_a_message() -> None:
    decision = choose([], BUDGET)
    assert (decision.pick, decision.ranking) == (None, ())
    assert "no finalist could be measured" in decision.message
    failed = choose([finalist(0, failures=(Failure("crash", "died"),))], BUDGET)
    assert failed.pick is None
    assert "no finalist could be measured" in failed.message


def test_without_a_rival_there_is_no_reason_of_the_next_one() -> None:
    decision = choose([finalist(0, figures(0.98, 0.2))], Budget())
    assert decision.reason_next_lost == "there was no other finalist"
    assert "<= budget" not in decision.message


def test_a_finalist_is_of_one_file() -> None:
    one, two = figures(0.98, 0.2), replace(figures(0.98, 0.2), sha256="a" * 64)
    with pytest.raises(TrialError, match="sha256: expected the same in all sessions"):
        finalist(0, one, two)
    with pytest.raises(TrialError, match="at least one session"):
        Finalist(ARCHS[0], ())
    with pytest.raises(TrialError, match="a session that gave figures"):
        _ = finalist(0, failures=(Failure("crash", "died"),)).certified_p95_ms


def test_results_of_sessions_are_sorted_into_figures_and_failures() -> None:
    good, bad = figures(0.98, 0.2), Failure("DEVICE_LOST", "gone")
    mixed = Finalist.of(ARCHS[0], [bad, good, good])
    assert mixed == Finalist(ARCHS[0], (good, good), (bad,))
    assert objections(Finalist.of(ARCHS[0], [bad, good]), BUDGET) == ()


# --- shortlist ---------------------------------------------------------------------------------

DRAWN = dict.fromkeys(DIGITS.sample_by_size(random.Random(i)) for i in range(90))
TRIALS = [complete(i, arch) for i, arch in enumerate(DRAWN)]
LIMITS = Budget(1.0, 60_000, "test")


def value(trial: Trial) -> Outcome:
    assert trial.value is not None
    return trial.value


@pytest.mark.parametrize("k", [1, 2, 3, 4, 6, 8])
def test_the_shortlist_is_the_most_accurate_near_the_budget(k: int) -> None:
    chosen = shortlist(TRIALS, LIMITS, k)
    assert len(chosen) == len({trial.arch.id for trial in chosen}) == k
    assert all(value(t).latency_p95_ms <= 1.05 for t in chosen)
    assert all(value(t).peak_memory_bytes <= 60_000 for t in chosen)
    accuracies = [value(trial).accuracy for trial in chosen]
    assert accuracies == sorted(accuracies, reverse=True)
    near = [
        o.accuracy
        for _, o in measured(TRIALS)
        if o.latency_p95_ms <= 1.05 and o.peak_memory_bytes <= 60_000
    ]
    best = sorted(near, reverse=True)
    assert accuracies[: max(1, k - 2)] == best[: max(1, k - 2)]


def test_the_shortlist_has_room_for_two_fall_backs() -> None:
    chosen = shortlist(TRIALS, LIMITS, 4)
    inside = [t for t in TRIALS if not LIMITS.violations(value(t))]
    fastest = min(inside, key=lambda t: value(t).latency_p95_ms)
    spare = [t for t in inside if value(t).latency_p95_ms <= 0.8]
    assert fastest in chosen
    assert max(spare, key=lambda t: value(t).accuracy) in chosen
    assert fastest not in shortlist(TRIALS, LIMITS, 2)


def test_a_trial_just_above_the_limit_gets_its_chance() -> None:
    above = TRIALS[0].ended(figures(0.999, 0.36))
    beyond = TRIALS[1].ended(figures(0.999, 0.37))
    inside = TRIALS[2].ended(figures(0.9, 0.3))
    assert shortlist([above, beyond, inside], BUDGET, 3) == (above, inside)


def test_if_nothing_comes_near_the_least_excess_is_measured_again() -> None:
    tight = Budget(0.01)
    chosen = shortlist(TRIALS, tight, 3)
    excess = sorted(tight.excess(o) for _, o in measured(TRIALS))
    assert [tight.excess(value(t)) for t in chosen] == excess[:3]


def test_failed_and_repeated_trials_take_no_places() -> None:
    broken = Trial(900, DEVICE, "random", ARCHS[0]).ended(Failure("oom", "killed"))
    again = [replace(trial, number=100 + trial.number, searcher="random") for trial in TRIALS]
    assert shortlist([broken, *TRIALS, *again], LIMITS, 6) == shortlist(TRIALS, LIMITS, 6)
    assert shortlist([broken], LIMITS, 6) == ()
