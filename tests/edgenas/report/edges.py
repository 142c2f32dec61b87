"""Devices of SAMPLE DATA at the edges of what a report may hold, by the name of the edge."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from edgenas.report.model import Budget, CandidatePoint, DeviceReport
from tests.edgenas.report.sample import judge, mark_front, sample_device, with_pick

HOSTILE = "</title></svg><script>alert(1)</script>&\"'<img src=x onerror=y>\x1b[31m\u202e"


def edge_devices() -> dict[str, DeviceReport]:
    """Return a device for every edge."""
    rng = Random(3)
    usual = sample_device("usual", 40, rng)
    return {
        "usual": usual,
        "many": sample_device("many", 200, rng),
        "no-pick": _without_pick(usual, Budget(0.3, 1_000_000, "Far too tight.")),
        "absurd-budget": _without_pick(usual, Budget(0.002, None, "Absurd.")),
        "loose-budget": replace(usual, budget=Budget(500.0, 10**12, "Loose.")),
        "one-candidate": sample_device("one", 1, Random(5)),
        "identical": _identical(usual),
        "hostile": _hostile(usual),
        "fast": sample_device("fast", 30, rng, fastest_ms=0.02),
        "slow": sample_device("slow", 30, rng, fastest_ms=300),
        "wide-spread": _wide_spread(sample_device("wide", 30, rng, fastest_ms=0.02)),
        "empty": DeviceReport("empty", 2, "board", "runtime", usual.budget, ()),
    }


def _without_pick(device: DeviceReport, budget: Budget) -> DeviceReport:
    return replace(
        device,
        budget=budget,
        candidates=tuple(judge(one, budget) for one in device.candidates),
        finalists=(),
        pick=None,
        shipped=None,
        random_baseline=None,
    )


def _identical(device: DeviceReport) -> DeviceReport:
    same = [
        replace(
            one,
            accuracy_search=0.9,
            latency_p50_ms=1.0,
            latency_p95_ms=1.02,
            p50_ci95_ms=(0.999, 1.001),
            peak_memory_bytes=3_000_000,
            inside_budget=True,
        )
        for one in device.candidates
    ]
    marked = mark_front(same)
    return with_pick(replace(device, candidates=tuple(marked)), marked)


def _hostile(device: DeviceReport) -> DeviceReport:
    candidates = tuple(replace(one, label=HOSTILE, verdict=HOSTILE) for one in device.candidates)
    trials = tuple(replace(one, code=HOSTILE, reason=HOSTILE) for one in device.failed_trials)
    assert device.pick is not None
    return replace(
        device,
        device_id=HOSTILE,
        profile=HOSTILE,
        runtime=HOSTILE,
        candidates=candidates,
        failed_trials=trials,
        pick=replace(device.pick, label=HOSTILE, reason_next_lost=HOSTILE),
    )


def _wide_spread(device: DeviceReport) -> DeviceReport:
    budget = Budget(3.0, None, "Three milliseconds.")

    def slowed(one: CandidatePoint, by: float) -> CandidatePoint:
        low, high = one.p50_ci95_ms
        return replace(
            one,
            latency_p50_ms=one.latency_p50_ms * by,
            latency_p95_ms=one.latency_p95_ms * by,
            p50_ci95_ms=(low * by, high * by),
        )

    last = len(device.candidates) - 1
    spread = [slowed(one, 2000 ** (i / last)) for i, one in enumerate(device.candidates)]
    judged = mark_front([judge(one, budget) for one in spread])
    inside = sorted((one for one in judged if one.inside_budget), key=lambda o: -o.accuracy_search)
    return with_pick(replace(device, budget=budget, candidates=tuple(judged)), inside)
