"""The order and number of timed runs, shown with a clock that only the models move."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.bench.sampling import (
    Discarded,
    Instruments,
    Letter,
    Sampler,
    SamplingRule,
)
from firmware_bridge.bench.sensors import Reading
from firmware_bridge.wire.measured import Leg
from firmware_bridge.wire.statistics import candidate_samples

MS = 1_000_000


class Bench:
    """Models that take a fixed time on a clock of their own; counts every call."""

    def __init__(self, **took_ns: int) -> None:
        self.now_ns = 0
        self.calls: list[str] = []
        self.switches = 0
        self.freq_khz: int | None = None
        self.flags: int | None = None
        self.discarded: list[Discarded] = []
        self.disturb: Callable[[int], None] = lambda calls: None
        self._took_ns = took_ns

    def invoke(self, letter: str) -> None:
        self.calls.append(letter)
        self.now_ns += self._took_ns[letter]
        self.disturb(len(self.calls))

    def run(self, rule: SamplingRule) -> tuple[Leg, ...]:
        letters: tuple[Letter, ...] = ("C", "R") if "R" in self._took_ns else ("C",)
        invokes = {letter: (lambda x=letter: self.invoke(x)) for letter in letters}
        instruments = Instruments(
            lambda: self.now_ns,
            lambda: self.switches,
            lambda: Reading(freq_khz=self.freq_khz, throttle_bits=self.flags),
        )
        sampler = Sampler(rule, invokes, instruments)
        legs = sampler.run()
        self.discarded = sampler.discarded
        return legs


def rule(**changes: int) -> SamplingRule:
    settings = {
        "min_samples": 100,
        "max_samples": 1000,
        "min_time_ms": 3000,
        "cap_ms": 60_000,
        "warmup_ms": 1000,
        "min_rounds": 5,
    }
    return SamplingRule(**{**settings, **changes})


@pytest.mark.parametrize(
    ("p50_ns", "samples"), [(20_000, 50), (1 * MS, 20), (2 * MS, 10), (500 * MS, 10)]
)
def test_a_leg_is_about_20_ms_within_10_to_50_samples(p50_ns: int, samples: int) -> None:
    assert rule(min_time_ms=10).leg_samples(p50_ns) == samples


@pytest.mark.parametrize(("p50_ns", "stride"), [(20_000, 150), (1 * MS, 3), (4 * MS, 1)])
def test_of_a_fast_model_one_run_in_so_many_counts(p50_ns: int, stride: int) -> None:
    assert (rule().stride(p50_ns), rule().leg_samples(p50_ns)) == (stride, 10)


def test_the_samples_of_a_fast_model_span_the_wanted_time() -> None:
    bench = Bench(C=20_000, R=1 * MS)
    legs = bench.run(rule())
    assert {len(leg.samples_ns) for leg in legs} == {10}
    assert {value for leg in legs for value in leg.samples_ns} == {20_000, 1 * MS}
    warm_up = bench.discarded[0]
    spent_ns = bench.now_ns - warm_up.end_ns
    assert 6000 * MS <= spent_ns <= 6300 * MS  # 3 s of each


def test_a_leg_shrinks_so_that_all_rounds_fit_below_the_maximum() -> None:
    assert rule(max_samples=200, min_time_ms=4).leg_samples(20_000) == 20
    assert rule(leg=7).leg_samples(20_000) == 7


def test_rounds_are_r_c_c_r_and_the_leg_before_each_sample_run_is_discarded() -> None:
    bench = Bench(C=2 * MS, R=1 * MS)
    legs = bench.run(rule())
    rounds = itertools.groupby(legs, key=lambda leg: leg.round)
    assert {"".join(leg.model for leg in group) for _, group in rounds} == {"RCCR"}
    assert {len(leg.samples_ns) for leg in legs} == {10}
    assert bench.calls[-11:] == ["R"] * 11  # 10 samples and the discarded one


def test_without_a_reference_a_round_is_two_legs_of_the_candidate() -> None:
    legs = Bench(C=2 * MS).run(rule())
    assert [(leg.round, leg.model) for leg in legs[:4]] == [(0, "C"), (0, "C"), (1, "C"), (1, "C")]


def test_sampling_ends_when_there_is_enough_of_both_samples_and_time() -> None:
    assert len(candidate_samples(Bench(C=40 * MS).run(rule()))) == 100  # 4 s
    assert len(candidate_samples(Bench(C=10 * MS).run(rule()))) == 300  # 3 s
    assert len(candidate_samples(Bench(C=20_000).run(rule()))) == 1000


def test_the_cap_overrides_everything_and_keeps_what_there_is() -> None:
    bench = Bench(C=100 * MS)
    legs = bench.run(rule(cap_ms=2000))
    assert bench.now_ns <= 2100 * MS
    assert 0 < len(candidate_samples(legs)) < 20


def test_warm_up_lasts_its_time_and_takes_turns() -> None:
    alone = Bench(C=1 * MS)
    alone.run(rule(max_samples=100, min_rounds=1, min_time_ms=100))
    assert len(alone.calls) == 1000 + 3 * 2 * 21  # 1 s, then three rounds of two legs
    together = Bench(C=1 * MS, R=1 * MS)
    together.run(rule(max_samples=100, min_rounds=1))
    assert "".join(together.calls[:980]) == ("C" * 10 + "R" * 10) * 49


def test_warm_up_goes_on_while_the_frequency_climbs() -> None:
    def total_runs(climb_until: int) -> int:
        bench = Bench(C=1 * MS)
        bench.freq_khz = 600_000

        def climb(calls: int) -> None:
            if calls < climb_until:
                bench.freq_khz = 600_000 + 1000 * calls

        bench.disturb = climb
        bench.run(rule(max_samples=100, min_rounds=1))
        return len(bench.calls)

    assert total_runs(2500) >= total_runs(0) + 1500


def test_a_preempted_round_is_repeated_and_the_calm_one_kept() -> None:
    bench = Bench(C=2 * MS)

    def preempt_once(calls: int) -> None:
        if calls == 510:  # within the first round, after a warm-up of 500 runs
            bench.switches += 1

    bench.disturb = preempt_once
    legs = bench.run(rule(min_rounds=1, max_samples=20, min_samples=20, min_time_ms=0))
    assert len(bench.calls) >= 500 + 2 * 22
    assert [leg.nivcsw for leg in legs] == [0, 0]


def test_a_round_that_stays_preempted_is_repeated_twice_at_most_and_kept() -> None:
    bench = Bench(C=2 * MS)

    def preempt(calls: int) -> None:
        bench.switches += 1

    bench.disturb = preempt
    legs = bench.run(rule(min_rounds=1, max_samples=20, min_samples=20, min_time_ms=0))
    assert len(legs) == 2
    assert all(leg.nivcsw for leg in legs)
    assert len(bench.calls) == 500 + 3 * 22


def test_a_round_in_which_the_board_said_it_throttles_is_repeated_and_told_as_discarded() -> None:
    bench = Bench(C=2 * MS)
    bench.flags = 0

    def dip(calls: int) -> None:
        bench.flags = 0x4 if 525 <= calls < 540 else 0

    bench.disturb = dip
    legs = bench.run(rule(min_rounds=3, max_samples=60, min_samples=60, min_time_ms=0))
    assert {leg.throttle_bits for leg in legs} == {0}
    warm_up, repeated = bench.discarded
    assert (warm_up.start_ns, warm_up.throttle_bits) == (0, 0)
    assert repeated.throttle_bits == 0x4
    assert warm_up.end_ns <= repeated.start_ns < repeated.end_ns < bench.now_ns


def test_a_slowed_round_is_repeated() -> None:
    bench = Bench(C=2 * MS)
    bench.freq_khz = 2_000_000

    def dip(calls: int) -> None:
        bench.freq_khz = 1_500_000 if 525 <= calls < 545 else 2_000_000

    bench.disturb = dip
    legs = bench.run(rule(min_rounds=3, max_samples=60, min_samples=60, min_time_ms=0))
    assert {leg.freq_khz for leg in legs} == {2_000_000}


@given(
    took_us=st.integers(1, 400_000),
    reference_us=st.none() | st.integers(1, 400_000),
    max_samples=st.integers(20, 300),
    min_rounds=st.integers(0, 6),
    cap_ms=st.integers(1, 3000),
)
def test_any_rule_ends_in_time_with_whole_legs(
    took_us: int, reference_us: int | None, max_samples: int, min_rounds: int, cap_ms: int
) -> None:
    took = {"C": took_us * 1000} | ({"R": reference_us * 1000} if reference_us else {})
    bench = Bench(**took)
    changes = {"min_samples": 20, "min_time_ms": 10, "warmup_ms": 5}
    legs = bench.run(rule(max_samples=max_samples, min_rounds=min_rounds, cap_ms=cap_ms, **changes))
    overshoot = 2 * sum(took.values()) + 2 * max(took.values())
    assert bench.now_ns <= cap_ms * MS + overshoot
    assert all(leg.samples_ns for leg in legs)
    limit = max(max_samples, 20 * min_rounds) + 2 * 50
    assert len(candidate_samples(legs)) <= limit
