"""Trials: which plan a manifest leads to, and which measurements stand against a release."""

from dataclasses import replace
from pathlib import Path

import pytest

from firmware_bridge.agent.trial import Tried, judge_trial, majority, trial_of, trial_plan
from firmware_bridge.wire.messages import JobFailed, Leg, Measurement, Verdict
from firmware_bridge.wire.release import Limits, ReleaseFile, ReleaseManifest, Target, Trial

MANIFEST = ReleaseManifest(
    fleet="lab",
    counter=2,
    target=Target("pi4"),
    files=(ReleaseFile("model", "a" * 64, 1000, 65536),),
    issued="2026-05-01T00:00:00Z",
    expires="2026-07-01T00:00:00Z",
)
TRIAL = Trial(threads=4, cpus=(2, 3), cap_ms=9000, memory_cap_bytes=1 << 20, level="standard")


def legs(reference_us: int, candidate_us: int) -> tuple[Leg, ...]:
    def leg(number: int, model: str, each_us: int) -> Leg:
        samples = tuple(each_us * 1000 + i for i in range(10))
        return Leg(number, model, samples, 0, None, None, None)  # type: ignore[arg-type]

    return tuple(
        leg(number, model, candidate_us if model == "C" else reference_us)
        for number in range(6)
        for model in "RCCR"
    )


def measured(verdict: Verdict = "ok", reference_us: int = 100, us: int = 100) -> Measurement:
    return Measurement(
        attempt=0,
        rev=0,
        verdict=verdict,
        fingerprint_sha256="f" * 64,
        legs=legs(reference_us, us),
        memory={"peak_delta_bytes": 5000},
        detail="what happened",
    )


def test_a_release_without_trial_and_limits_is_not_tried() -> None:
    assert trial_of(MANIFEST, 2) is None
    assert trial_of(replace(MANIFEST, trial=TRIAL), 2) == TRIAL
    implied = trial_of(replace(MANIFEST, limits=Limits(ratio_max=1.05)), 2)
    assert implied is not None
    assert (implied.threads, implied.level) == (2, "quick")


def test_the_plan_takes_the_signed_settings_and_no_quiet_checks() -> None:
    plan = trial_plan(TRIAL, Path("new"), Path("old"))
    assert (plan.model_path, plan.reference_path) == (Path("new"), Path("old"))
    assert (plan.threads, plan.cpus, plan.cap_ms) == (4, (2, 3), 9000)
    assert plan.memory_cap_bytes == 1 << 20
    assert plan.min_samples == 100
    assert (plan.quiet.window_ms, plan.quiet.wait_ms) == (0, 0)


def test_within_every_limit_nothing_stands_against_it() -> None:
    limits = Limits(ratio_max=1.05, p95_max_us=101.0, peak_max_bytes=5000)
    assert judge_trial(measured(), limits) is None
    assert judge_trial(measured(), Limits()) is None


@pytest.mark.parametrize(
    ("limits", "broken"),
    [
        (Limits(ratio_max=1.05), ["ratio_max"]),
        (Limits(p95_max_us=119.0), ["p95_max_us"]),
        (Limits(peak_max_bytes=4999), ["peak_max_bytes"]),
        (Limits(1.1, 100.0, 1), ["p95_max_us", "peak_max_bytes", "ratio_max"]),
    ],
)
def test_each_limit_stands_against_it_by_name(limits: Limits, broken: list[str]) -> None:
    failure = judge_trial(measured(us=120), limits)
    assert failure is not None
    assert failure.code == "perf_limit"
    assert [note.code for note in failure.notes] == broken
    assert "expected at most" in failure.notes[0].text


def test_without_an_incumbent_the_ratio_is_skipped() -> None:
    alone = replace(measured(), legs=tuple(leg for leg in legs(1, 100) if leg.model == "C"))
    assert judge_trial(alone, Limits(ratio_max=0.001)) is None


@pytest.mark.parametrize("verdict", ["noisy", "throttled", "undervolt"])
def test_a_doubtful_trial_says_nothing_of_latency(verdict: Verdict) -> None:
    assert judge_trial(measured(verdict), Limits(p95_max_us=1.0, ratio_max=0.1)) is None
    assert judge_trial(measured(verdict), Limits(peak_max_bytes=5000)) is None


@pytest.mark.parametrize("verdict", ["noisy", "throttled", "undervolt"])
def test_peak_memory_counts_on_a_doubtful_trial_too(verdict: Verdict) -> None:
    limits = Limits(p95_max_us=1.0, peak_max_bytes=4999)
    failure = judge_trial(measured(verdict), limits)
    assert failure is not None
    assert failure.code == "perf_limit"
    assert [note.code for note in failure.notes] == ["peak_max_bytes"]


@pytest.mark.parametrize(
    "verdict", ["oom", "crash", "timeout", "unsupported_op", "busy", "UNKNOWN"]
)
def test_any_other_verdict_fails(verdict: Verdict) -> None:
    failure = judge_trial(measured(verdict), Limits())
    assert failure is not None
    assert failure.code == f"trial_{verdict}"


def test_a_trial_that_could_not_run_keeps_its_reason() -> None:
    lost = JobFailed(attempt=0, rev=0, code="NO_MEMORY", detail="too little", retryable=True)
    failure = judge_trial(lost, Limits())
    assert failure is not None
    assert (failure.code, failure.retryable) == ("no_memory", True)


@pytest.mark.parametrize(
    ("latencies_us", "trials", "passes"),
    [
        ([100], 1, True),
        ([300, 100, 100], 3, True),  # a burst of another program in the first
        ([300, 300], 2, False),
        ([300, 100, 300], 3, False),
    ],
)
def test_a_limit_has_to_be_broken_twice(latencies_us: list[int], trials: int, passes: bool) -> None:
    done: list[Tried] = []

    def try_once() -> Tried:
        outcome = measured(us=latencies_us[len(done)])
        done.append((outcome, judge_trial(outcome, Limits(p95_max_us=200.0))))
        return done[-1]

    tried = majority(try_once)
    assert (len(done), tried is done[-1]) == (trials, True)
    assert (tried[1] is None) == passes


def test_another_failure_is_not_tried_again() -> None:
    done: list[Tried] = []

    def try_once() -> Tried:
        outcome = measured("crash")
        done.append((outcome, judge_trial(outcome, Limits(p95_max_us=200.0))))
        return done[-1]

    assert majority(try_once)[1] is not None
    assert len(done) == 1
