"""The gates one by one: what closes them, what an operator accepts, and what a trial says."""

from dataclasses import replace

import pytest

from edgenas.rollout.counts import Counts, count
from edgenas.rollout.course import Course
from edgenas.rollout.errors import PlanError
from edgenas.rollout.evidence import Bounds, Evidence, judge_trial
from edgenas.rollout.gates import closed_by_failure, closed_by_lack, success_met
from edgenas.rollout.plan import CANARY_GATE, LATER_GATE, Gate, Member
from edgenas.rollout.trips import Trip, TripState
from firmware_bridge.wire.messages import Leg, Measurement, Verdict

GOOD = Evidence(verdict="ok", known=True)
BAD = Evidence(verdict="ok", known=True, bad=("latency 1.2",))
BLIND = Evidence(verdict="noisy", known=False)


def courses(*trips: Trip) -> list[Course]:
    return [
        Course(Member(device_id=f"dev-{i}", group="g", incumbent=None, ways_back="b"), "w", trip)
        for i, trip in enumerate(trips)
    ]


def ended(state: TripState, code: str | None = None, evidence: Evidence | None = None) -> Trip:
    return Trip(state=state, attempt=1, code=code, evidence=evidence)


def closed(counts: Counts, gate: Gate, **accepted: int) -> list[str]:
    return [each.gate for each in closed_by_failure(counts, gate, accepted)]


def lack(counts: Counts, gate: Gate, **accepted: int) -> str | None:
    found = closed_by_lack(counts, gate, accepted)
    return None if found is None else found.gate


def test_what_counts_as_what() -> None:
    flaky = Trip(state="ROLLED_BACK", attempt=1, code="power_loss", retryable=True)
    found = count(
        courses(
            ended("SUCCEEDED", evidence=GOOD),
            ended("SUCCEEDED", "already_installed"),
            ended("FAILED_NO_STATE_CHANGE", "perf_limit", BAD),
            ended("REJECTED", "bad_signature"),
            ended("TIMED_OUT"),
            ended("EXPIRED"),
            ended("CANCELLED"),
            Trip(state="REMOVED", attempt=1),
            flaky,
            replace(flaky, attempt=2),
            Trip(),
            Trip(state="STAGED", attempt=1),
            ended("SUCCEEDED", evidence=BLIND),
        ),
        attempts=2,
    )
    assert found == Counts(
        assigned=11,
        succeeded=3,
        already_installed=1,
        errors=4,
        breaches=1,
        perf_known=2,
        perf_bad=1,
        open=3,
    )
    assert found.finished == 7


def test_a_device_of_another_rollout_counts_nowhere() -> None:
    (course,) = courses(ended("ROLLBACK_FAILED"))
    course.superseded_by = "2" * 32
    assert count([course], 2) == Counts()


@pytest.mark.parametrize("code", ["bad_signature", "self_test", "probe_mismatch"])
def test_a_wrong_answer_on_one_device_of_a_thousand_stops_all(code: str) -> None:
    fleet = [ended("SUCCEEDED", evidence=GOOD)] * 999
    found = count(courses(*fleet, ended("ROLLED_BACK", code)), 2)
    assert closed(found, LATER_GATE) == ["integrity"]
    assert closed(found, LATER_GATE, integrity=1) == []
    assert closed(replace(found, breaches=2), LATER_GATE, integrity=1) == ["integrity"]
    failed_return = count(courses(*fleet, ended("ROLLBACK_FAILED")), 2)
    assert closed(failed_return, LATER_GATE) == ["integrity"]


def test_errors_are_shares_of_those_that_ended() -> None:
    """Devices that are off line, here 90 of 100, hide no failure."""
    found = Counts(assigned=100, succeeded=9, errors=1, open=90, perf_known=9)
    assert closed(found, LATER_GATE) == ["error_gate"]
    assert closed(replace(found, succeeded=10), LATER_GATE) == []
    assert closed(Counts(assigned=100, errors=1, succeeded=1), LATER_GATE) == []  # two are too few
    assert closed(Counts(assigned=2, errors=1, succeeded=1), LATER_GATE) == ["error_gate"]
    assert closed(Counts(assigned=5, errors=1), CANARY_GATE) == ["error_gate"]
    off = Gate(error_pct=None, perf_pct=None)
    assert closed(Counts(assigned=5, errors=5), off) == []


def test_measured_performance_closes_where_installing_succeeded() -> None:
    found = Counts(assigned=20, succeeded=20, perf_known=20, perf_bad=2)
    assert closed(found, LATER_GATE) == ["perf_gate"]
    assert closed(found, LATER_GATE, perf_gate=2) == []
    assert closed(replace(found, perf_bad=3), LATER_GATE, perf_gate=2) == ["perf_gate"]
    assert closed(replace(found, perf_bad=1), LATER_GATE) == []
    assert closed(replace(found, perf_known=2, perf_bad=2), LATER_GATE) == []  # two are too few
    assert closed(replace(found, perf_bad=1), CANARY_GATE) == ["perf_gate"]


def test_what_nobody_could_measure_does_not_pass() -> None:
    """A thousand installations without a single trial that says something."""
    found = Counts(assigned=1000, succeeded=1000, perf_known=2)
    assert lack(found, LATER_GATE) == "perf_unknown"
    assert lack(found, LATER_GATE, perf_unknown=1) is None
    assert lack(replace(found, perf_known=3), LATER_GATE) is None
    assert lack(replace(found, already_installed=1000), LATER_GATE) is None
    assert lack(found, CANARY_GATE) == "perf_unknown"  # canaries must all measure
    assert lack(found, Gate(perf_pct=None)) is None


def test_success_is_a_share_of_all_that_are_meant() -> None:
    found = Counts(assigned=10, succeeded=8, open=2, perf_known=8)
    assert lack(found, LATER_GATE) is None
    assert not success_met(found, LATER_GATE, {})
    over = replace(found, open=0)
    assert lack(over, LATER_GATE) == "success_not_met"
    assert success_met(over, LATER_GATE, {"success_not_met": 2})
    assert not success_met(replace(over, succeeded=7), LATER_GATE, {"success_not_met": 2})
    assert success_met(replace(found, succeeded=9, open=1), LATER_GATE, {})
    assert success_met(Counts(), LATER_GATE, {})


def legs(ratio: float) -> tuple[Leg, ...]:
    """Ten rounds of R C C R with a candidate that takes `ratio` times as long."""
    return tuple(
        Leg(i, model, (round(1000 * (ratio if model == "C" else 1)),) * 10, 0, None, None, None)
        for i in range(10)
        for model in ("R", "C", "C", "R")
    )


def trial(
    ratio: float = 1.0, peak: int = 1 << 20, golden: int = 0, verdict: Verdict = "ok"
) -> Measurement:
    return Measurement(
        attempt=1,
        rev=1,
        verdict=verdict,
        fingerprint_sha256="f" * 64,
        legs=legs(ratio),
        memory={"peak_delta_bytes": peak},
        golden_max_lsb=golden,
    )


def bad_of(measured: Measurement, bounds: Bounds, incumbent_peak: int | None = None) -> str:
    found = judge_trial(measured, bounds, incumbent_peak)
    assert found is not None
    assert found.known == (measured.verdict == "ok" or bool(found.bad))
    return "; ".join(found.bad)


def test_a_trial_is_held_against_the_incumbent() -> None:
    bounds = Bounds(p95_max_us=2.0, peak_max_bytes=8 << 20)
    assert bad_of(trial(), bounds) == ""
    assert "latency 1.06 times" in bad_of(trial(1.06), bounds)
    assert bad_of(trial(1.05), bounds) == ""
    assert "p95 2.5 us" in bad_of(trial(2.5), replace(bounds, ratio_max=None))
    assert "peak memory" in bad_of(trial(peak=9 << 20), bounds)
    assert "golden output 2 steps off" in bad_of(trial(golden=2), bounds)
    assert judge_trial(None, bounds) is None


def test_memory_is_held_against_what_the_incumbent_took_there() -> None:
    bounds, mib = Bounds(), 1 << 20
    assert bad_of(trial(peak=50 * mib), bounds) == ""
    assert bad_of(trial(peak=12 * mib), bounds, 10 * mib) == ""
    assert "peak memory" in bad_of(trial(peak=12 * mib + 1), bounds, 10 * mib)
    assert bad_of(trial(peak=50 * mib), Bounds(peak_ratio_max=None), 10 * mib) == ""


def test_a_noisy_trial_says_nothing_of_latency_but_of_memory_and_answers() -> None:
    bounds = Bounds(p95_max_us=2.0, peak_max_bytes=8 << 20)
    noisy = trial(3.0, verdict="noisy")
    assert bad_of(noisy, bounds) == ""
    assert "peak" in bad_of(replace(noisy, memory={"peak_delta_bytes": 9 << 20}), bounds)
    assert "golden" in bad_of(replace(noisy, golden_max_lsb=5), bounds)


@pytest.mark.parametrize(
    "wrong",
    [
        {"error_abs": 0},
        {"error_pct": 0},
        {"success_pct": 101},
        {"min_finished": 0},
        {"perf_min": -1},
        {"soak_s": -1.0},
        {"soak_s": float("nan")},
    ],
)
def test_gates_check_themselves(wrong: dict[str, float]) -> None:
    with pytest.raises(PlanError, match="expected"):
        Gate(**wrong)  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="expected"):
        Bounds(ratio_max=0.0)
