"""Latency of one file beside another on this machine: both in turns, so that a ratio is left."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firmware_bridge.bench.plan import plan_at_level
from firmware_bridge.bench.supervise import measure
from firmware_bridge.machine_lock import MachineLock, default_lock_path
from firmware_bridge.wire.levels import LEVELS
from firmware_bridge.wire.measured import Measurement
from firmware_bridge.wire.statistics import (
    candidate_samples,
    ratio,
    reference_samples,
    summarize,
)


@dataclass(frozen=True)
class Beside:
    """One session: a file and its reference, measured in turns on one thread.

    Attributes:
        ratio: latency of the file over that of the reference.
        ci95: 95 % interval of it, (low, high).
        p50_ns: median of the file's samples.
        reference_p50_ns: median of the reference's samples in the same session.
        verdict: `ok`, or why the figures are flagged.
        runtime: what ran them.
    """

    ratio: float
    ci95: tuple[float, float]
    p50_ns: int
    reference_p50_ns: int
    verdict: str
    runtime: str

    @staticmethod
    def from_row(row: dict[str, Any]) -> Beside:
        """Read the form of `dataclasses.asdict` back."""
        low, high = row["ci95"]
        return Beside(**{**row, "ci95": (float(low), float(high))})


def beside(model: Path, reference: Path, level: str) -> Beside:
    """Measure `model` against `reference` under the machine's lock.

    Raises:
        SystemExit: this machine could not measure; repeating the benchmark goes on here.
    """
    plan = plan_at_level(LEVELS[level], model.absolute(), reference.absolute())
    found = measure(plan, lock=MachineLock(default_lock_path(os.environ)))
    summary = ratio(found.legs) if isinstance(found, Measurement) else None
    if not isinstance(found, Measurement) or summary is None:
        raise SystemExit(
            f"{model}: expected a latency beside {reference.name}, got {found}; stop other "
            f"programs or use a quicker level, then repeat the command: what was measured is kept"
        )
    return Beside(
        summary.ratio,
        summary.ci95,
        summarize(candidate_samples(found.legs)).p50_ns,
        summarize(reference_samples(found.legs)).p50_ns,
        found.verdict,
        found.runtime or "unknown",
    )


def typical(sessions: Sequence[Beside]) -> tuple[float, float]:
    """Median over sessions of the ratio, and of the upper end of its interval."""
    return (
        statistics.median(session.ratio for session in sessions),
        statistics.median(session.ci95[1] for session in sessions),
    )
