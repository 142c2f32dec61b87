"""The trial of a release: how it is measured, and whether the signed limits hold.

Pure but for building paths. A limit counts as broken under the same rule as at the host's gate:
the confidence bound, not the mean, must lie beyond it. Leaves running the plan to `bench`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.bench.plan import GoldenFile, MeasurePlan
from firmware_bridge.wire.levels import LEVELS
from firmware_bridge.wire.messages import ErrorNote, JobFailed, Measurement, Quiet
from firmware_bridge.wire.release import Limits, ReleaseManifest, Trial
from firmware_bridge.wire.statistics import candidate_samples, ratio, summarize

UNDECIDED = ("noisy", "throttled", "undervolt")
PERF_LIMIT = "perf_limit"
DEFAULT_CAP_MS = 5000
DEFAULT_MEMORY_CAP_BYTES = 512 << 20

_NO_CHECKS = Quiet(busy_pct=100.0, temp_delta_c=100.0, wait_ms=0, window_ms=0)


@dataclass(frozen=True)
class TrialFailure:
    """Why a release did not pass: a code for the report, notes, and whether later may be better."""

    code: str
    notes: tuple[ErrorNote, ...]
    retryable: bool = False


# A trial, and what stands against the release after it.
Tried = tuple[Measurement | JobFailed, TrialFailure | None]


def trial_of(manifest: ReleaseManifest, threads: int) -> Trial | None:
    """The trial that a release wants; limits without a trial are measured at level quick."""
    if manifest.trial is not None or manifest.limits == Limits():
        return manifest.trial
    return Trial(threads, (), DEFAULT_CAP_MS, DEFAULT_MEMORY_CAP_BYTES)


def trial_plan(
    trial: Trial, model: Path, incumbent: Path | None, golden: GoldenFile | None = None
) -> MeasurePlan:
    """How to measure `model` against the one that runs now; both share the disturbance.

    Args:
        trial: The manifest's settings.
        model: The new model.
        incumbent: The present one, or None for an empty slot.
        golden: Probe of the new model.
    """
    level = LEVELS[trial.level]
    return MeasurePlan(
        model_path=model,
        reference_path=incumbent,
        golden=golden,
        threads=trial.threads,
        cpus=trial.cpus,
        min_samples=level.min_samples,
        max_samples=level.max_samples,
        min_time_ms=level.min_time_ms,
        cap_ms=trial.cap_ms,
        warmup_ms=level.warmup_ms,
        min_rounds=level.min_rounds,
        memory_cap_bytes=trial.memory_cap_bytes,
        quiet=_NO_CHECKS,
    )


def judge_trial(outcome: Measurement | JobFailed, limits: Limits) -> TrialFailure | None:
    """What stands against the release after its trial, or None.

    A noisy, throttled or under-supplied trial says nothing of latency here; the host's gate does.
    Peak memory is read in a child of its own and does not depend on the noise: it counts always.
    """
    if isinstance(outcome, JobFailed):
        note = ErrorNote(outcome.code, outcome.detail)
        return TrialFailure(outcome.code.lower(), (note,), outcome.retryable)
    if outcome.verdict in UNDECIDED:
        limits = Limits(peak_max_bytes=limits.peak_max_bytes)
    elif outcome.verdict != "ok":
        note = ErrorNote(outcome.verdict, outcome.detail or "no detail")
        return TrialFailure(f"trial_{outcome.verdict}", (note,))
    notes = broken_limits(outcome, limits)
    return TrialFailure(PERF_LIMIT, notes) if notes else None


def majority(try_once: Callable[[], Tried]) -> Tried:
    """A trial, where a limit that seems broken has to be broken in two of three.

    One trial lasts a fraction of a second, and another program may have had a burst just then.
    """
    first = try_once()
    if not _over_a_limit(first):
        return first
    second = try_once()
    return second if _over_a_limit(second) else try_once()


def _over_a_limit(tried: Tried) -> bool:
    return tried[1] is not None and tried[1].code == PERF_LIMIT


def broken_limits(measurement: Measurement, limits: Limits) -> tuple[ErrorNote, ...]:
    """One note for each signed limit that the measurement is beyond, with bound and value."""
    seen = (
        ("p95_max_us", limits.p95_max_us, _p95_upper_us(measurement), "us"),
        ("peak_max_bytes", limits.peak_max_bytes, _peak_bytes(measurement), "B"),
        ("ratio_max", limits.ratio_max, _ratio_low(measurement), "times the incumbent"),
    )
    return tuple(
        ErrorNote(name, f"expected at most {limit} {unit}, measured {value:.6g} {unit}")
        for name, limit, value, unit in seen
        if limit is not None and value is not None and value > limit
    )


def _p95_upper_us(measurement: Measurement) -> float | None:
    samples = candidate_samples(measurement.legs)
    if not samples:
        return None
    upper_ns = summarize(samples).p95_upper95_ns
    return None if upper_ns is None else upper_ns / 1000


def _peak_bytes(measurement: Measurement) -> float | None:
    peak = measurement.memory.get("peak_delta_bytes")
    return float(peak) if isinstance(peak, int) else None


def _ratio_low(measurement: Measurement) -> float | None:
    summary = ratio(measurement.legs)
    return None if summary is None else summary.ci95[0]
