"""A measurement as one set of named fields: what ``edgenas-device bench --json`` prints.

Adds to the outcome what is computed from its samples, the board's fingerprint, and what to do.
Layout for people is left to ``table``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from firmware_bridge.bench.advice import advice_on
from firmware_bridge.bench.details import OperatorReport
from firmware_bridge.bench.external import EngineReport, engine_fields
from firmware_bridge.bench.supervise import MeasureOutcome
from firmware_bridge.wire.measured import Measurement
from firmware_bridge.wire.shape import plain
from firmware_bridge.wire.statistics import (
    RatioSummary,
    candidate_samples,
    ratio,
    reference_samples,
    summarize,
)


@dataclass(frozen=True)
class BenchReport:
    """Everything that one call of ``edgenas-device bench`` found out.

    Attributes:
        model: The candidate's file.
        outcome: Its measurement, or why there is none.
        fingerprint: Of the board, with the runtime, as compared before latencies are.
        against: The other model's file, None without one.
        against_outcome: The other model's load times and memory.
        operators: The candidate's operators, None if nobody asked.
        engine: What ``benchmark_model`` told, None if edgenas measured itself.
    """

    model: Path
    outcome: MeasureOutcome
    fingerprint: Mapping[str, object]
    against: Path | None = None
    against_outcome: MeasureOutcome | None = None
    operators: OperatorReport | None = None
    engine: EngineReport | None = None

    @property
    def ratio(self) -> RatioSummary | None:
        """The candidate's latency over the other model's."""
        if self.engine is not None:
            return self.engine.ratio
        return ratio(self.outcome.legs) if isinstance(self.outcome, Measurement) else None


def describe(report: BenchReport) -> dict[str, object]:
    """All fields; times in ns, memory in bytes."""
    outcome, summary = report.outcome, report.ratio
    latency, reference = _latencies(report)
    other = report.against_outcome
    return {
        "kind": outcome.kind,
        "model": str(report.model),
        "against": str(report.against) if report.against else None,
        "engine": "benchmark_model" if report.engine else "interpreter",
        **plain(outcome),
        "advice": advice_on(outcome),
        "latency": latency,
        "reference_latency": reference,
        "ratio": None if summary is None else {**asdict(summary), "finding": summary.finding},
        "against_loading": None if other is None else plain(other),
        "operators": None if report.operators is None else asdict(report.operators),
        "fingerprint": dict(report.fingerprint),
    }


def render(fields: Mapping[str, object]) -> str:
    """JSON with one field a line: readable in spite of hundreds of samples."""
    lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items()]
    return "{\n" + ",\n".join(lines) + "\n}"


def in_words(summary: RatioSummary, model: str, against: str) -> str:
    """One sentence, for instance ``a takes 0.83 x b, 95 % CI 0.82-0.84: faster``."""
    low, high = summary.ci95
    finding = {
        "faster": f"{model} is faster",
        "slower": f"{model} is slower",
        "undecided": "no difference is proved",
    }[summary.finding]
    return f"{model} takes {summary.ratio:.3f} x {against}, 95 % CI {low:.3f}-{high:.3f}: {finding}"


def _latencies(
    report: BenchReport,
) -> tuple[Mapping[str, object] | None, Mapping[str, object] | None]:
    if report.engine is not None:
        return engine_fields(report.engine.latency), engine_fields(report.engine.reference)
    if not isinstance(report.outcome, Measurement):
        return None, None
    legs = report.outcome.legs
    candidate, reference = candidate_samples(legs), reference_samples(legs)
    return (
        asdict(summarize(candidate)) if candidate else None,
        asdict(summarize(reference)) if reference else None,
    )
