"""What a device's own trial says of a release: known or not, good or bad, and in which respect.

Pure. The trial ran the new model against the one that it is to replace, on that board, in turns, so
both shared whatever disturbed it. A limit counts as broken only if the confidence bound lies beyond
it. Leaves how many bad trials close a gate to `gates`.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgenas.rollout.errors import PlanError
from firmware_bridge.wire.messages import Measurement
from firmware_bridge.wire.statistics import candidate_samples, ratio, summarize

RATIO_MAX = 1.05
PEAK_RATIO_MAX = 1.10
PEAK_SLACK_BYTES = 1 << 20  # pages that an allocator may or may not touch
_STEADY = "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What trials have to stay within for a wave to go on; None does not bound.

    Attributes:
        ratio_max: Latency over the incumbent's, by the lower end of its interval. The default
            tolerates 5 %, as LiteRT does for a delegate; a release meant to be slower says so.
        p95_max_us: 95 % upper bound of the 95th percentile, microseconds.
        peak_max_bytes: Peak memory above the baseline.
        peak_ratio_max: Peak memory over the incumbent's on the same device, where that is known;
            1 MiB on top is never held against a model.
        golden_max_lsb: Largest difference of output codes from the host's, steps.
    """

    ratio_max: float | None = RATIO_MAX
    p95_max_us: float | None = None
    peak_max_bytes: int | None = None
    peak_ratio_max: float | None = PEAK_RATIO_MAX
    golden_max_lsb: int = 1

    def __post_init__(self) -> None:
        for name in ("ratio_max", "p95_max_us", "peak_max_bytes", "peak_ratio_max"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise PlanError(f"{name}: expected more than 0 or no bound, got {value}")
        if self.golden_max_lsb < 0:
            raise PlanError(f"golden_max_lsb: expected 0 or more, got {self.golden_max_lsb}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One trial, read.

    Attributes:
        verdict: The device's verdict on its own measurement.
        known: It says something: the verdict is `ok`, or a bound is broken that no noise explains.
        bad: Each broken bound in words; empty if the release holds here.
        ratio: Latency over the incumbent's; None for an empty slot.
        p95_us: 95 % upper bound of the 95th percentile, microseconds; None below 59 samples.
        peak_bytes: Peak memory above the baseline.
        golden_lsb: Largest difference of output codes from the host's.
    """

    verdict: str
    known: bool
    bad: tuple[str, ...] = ()
    ratio: float | None = None
    p95_us: float | None = None
    peak_bytes: int | None = None
    golden_lsb: int | None = None


def judge_trial(
    trial: Measurement | None, bounds: Bounds, incumbent_peak_bytes: int | None = None
) -> Evidence | None:
    """Read a trial; None if there was none.

    Memory and answers do not depend on what else the board did meanwhile: they count under every
    verdict. Latency counts only under `ok`.

    Args:
        trial: What the device measured.
        bounds: What it has to stay within.
        incumbent_peak_bytes: What the incumbent's own trial on this device showed, if known.
    """
    if trial is None:
        return None
    samples = candidate_samples(trial.legs)
    upper_ns = summarize(samples).p95_upper95_ns if samples else None
    against = ratio(trial.legs)
    peak = trial.memory.get("peak_delta_bytes")
    p95_us = None if upper_ns is None else upper_ns / 1000
    peak_bytes = peak if isinstance(peak, int) else None
    steady = trial.verdict == _STEADY
    low = against.ci95[0] if against is not None and steady else None
    bad = (
        *_over("latency", low, bounds.ratio_max, "times the incumbent's"),
        *_over("p95", p95_us if steady else None, bounds.p95_max_us, "us"),
        *_over("peak memory", peak_bytes, bounds.peak_max_bytes, "B"),
        *_over("peak memory", peak_bytes, _peak_limit(bounds, incumbent_peak_bytes), "B"),
        *_over("golden output", trial.golden_max_lsb, bounds.golden_max_lsb, "steps off"),
    )
    return Evidence(
        verdict=trial.verdict,
        known=steady or bool(bad),
        bad=bad,
        ratio=None if against is None else against.ratio,
        p95_us=p95_us,
        peak_bytes=peak_bytes,
        golden_lsb=trial.golden_max_lsb,
    )


def _peak_limit(bounds: Bounds, incumbent_bytes: int | None) -> float | None:
    if bounds.peak_ratio_max is None or incumbent_bytes is None:
        return None
    return bounds.peak_ratio_max * incumbent_bytes + PEAK_SLACK_BYTES


def _over(what: str, value: float | None, limit: float | None, unit: str) -> tuple[str, ...]:
    if value is None or limit is None or value <= limit:
        return ()
    return (f"{what} {value:.6g} {unit} (at most {limit:.6g})",)
