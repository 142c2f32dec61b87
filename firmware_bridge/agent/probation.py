"""What a probe of a new model in its probation says: keep it, watch on, or go back.

Pure rules. A probe is a self-test and, where a p95 limit is signed, a short sampling beside it. A
wrong answer ends the probation at once; slowness has to show twice in a row, and not while the
board slows itself down. Leaves running the children to `activating` and strikes to the journal.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from firmware_bridge.bench.plan import MeasurePlan
from firmware_bridge.bench.supervise import SelfTest
from firmware_bridge.wire.messages import JobFailed, Measurement, Quiet
from firmware_bridge.wire.release import Trial
from firmware_bridge.wire.statistics import P95_BOUND_MIN_SAMPLES, candidate_samples, quantile

PROBE_CAP_MS = 10_000
PROBE_WARMUP_MS = 100
SLOW_PROBES = 2
SLOWED = ("throttled", "undervolt")
DIED = ("crash", "oom")

_NO_CHECKS = Quiet(busy_pct=100.0, temp_delta_c=100.0, wait_ms=0, window_ms=0)

Finding = Literal["passed", "strike", "probe_mismatch", "slow"]


@dataclass(frozen=True)
class Probed:
    """What one probe found.

    Attributes:
        finding: `passed`; `strike`, a fault that may pass; `probe_mismatch`, wrong answers; or
            `slow`, over the signed limit twice in a row.
        slow_probes: Slow probes in a row, this one included.
        detail: What was seen, for people.
    """

    finding: Finding
    slow_probes: int
    detail: str = ""


def probe_plan(trial: Trial, model: Path) -> MeasurePlan:
    """How to time `model` in a probe: alone, 59 runs, at most ten seconds."""
    return MeasurePlan(
        model_path=model,
        threads=trial.threads,
        cpus=trial.cpus,
        min_samples=P95_BOUND_MIN_SAMPLES,
        max_samples=P95_BOUND_MIN_SAMPLES + 1,
        min_time_ms=0,
        cap_ms=PROBE_CAP_MS,
        warmup_ms=PROBE_WARMUP_MS,
        min_rounds=1,
        leg=-(-P95_BOUND_MIN_SAMPLES // 2),  # a round holds two legs
        memory_cap_bytes=trial.memory_cap_bytes,
        quiet=_NO_CHECKS,
    )


def judge_probe(
    tested: SelfTest,
    timed: Measurement | JobFailed | None,
    p95_max_us: float | None,
    slow_before: int,
) -> Probed:
    """Decide on one probe.

    Args:
        tested: The self-test; a difference in LSB is the model's fault, a dead child a strike.
        timed: The sampling, None if no limit is signed.
        p95_max_us: The signed limit, microseconds.
        slow_before: Slow probes in a row before this one.
    """
    if not tested.ok:
        finding: Finding = "strike" if tested.max_lsb is None else "probe_mismatch"
        return Probed(finding, slow_before, tested.detail or "no detail")
    if timed is None or p95_max_us is None or isinstance(timed, JobFailed):
        return Probed("passed", slow_before)  # the board could not measure: no word on the model
    if timed.verdict in DIED:
        return Probed("strike", slow_before, f"{timed.verdict}: {timed.detail or 'no detail'}")
    p95_us = _p95_us(timed)
    if timed.verdict in SLOWED or p95_us is None:
        return Probed("passed", slow_before)
    if p95_us <= p95_max_us:
        return Probed("passed", 0)
    slow = slow_before + 1
    detail = f"expected p95 of at most {p95_max_us:g} us, got {p95_us:.6g} us in {slow} probes"
    return Probed("slow" if slow >= SLOW_PROBES else "passed", slow, detail)


def _p95_us(timed: Measurement) -> float | None:
    """The 95th percentile that was seen, microseconds; None without any sample."""
    samples = sorted(candidate_samples(timed.legs))
    return quantile(samples, 95) / 1000 if samples else None
