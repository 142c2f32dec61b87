"""Seeded SAMPLE DATA for the tests of the report; no figure in here was ever measured.

The numbers follow plausible curves, so that plots made of them look like plots of a campaign.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from random import Random

from edgenas.report.model import (
    Baseline,
    Budget,
    CandidatePoint,
    DeviceReport,
    FailedTrial,
    Failure,
    Finalist,
    Pick,
    Prediction,
    ProgressPoint,
    Report,
    Shipment,
)
from edgenas.report.training import DataSummary, SupernetSummary, TrainingPoint, TrainingSummary
from edgenas.space import Arch, BlockArch, StageArch, StageSpace


def sample_report(devices: int = 2, candidates: int = 60, seed: int = 7) -> Report:
    """Return a whole report of sample data."""
    rng = Random(seed)
    made = tuple(
        sample_device(f"sample-board-{number}", candidates, rng, fastest_ms=0.6 * 3.1**number)
        for number in range(devices)
    )
    return Report(
        title="Sample data: fashion images on two boards",
        created="2026-01-02T03:04:05+00:00",
        command="edgenas campaign sample.toml --seed 7",
        seeds={"train": 7, "search": 8},
        machine={"cpu": "sample CPU, 2 cores", "python": "3.13.0", "torch": "0.0 (sample)"},
        data=DataSummary("sample-images", ("shirt", "shoe", "bag"), 50_000, 5_000, 10_000, "f00d"),
        supernet=SupernetSummary("small", "mbconv-32", 2_176_782_336, sample_training(rng)),
        devices=made,
        phase_seconds={"data": 4.2, "train": 2461.0, "search": 1333.5, "certify": 210.0},
        failures=(Failure("fleet", "DEVICE_LOST", "sample-board-9 went offline for 90 s"),),
    )


def sample_training(rng: Random, steps: int = 3000, every: int = 5) -> TrainingSummary:
    """Return a training history of sample data."""

    def loss(step: int, end: float) -> float:
        return end + 2.0 * math.exp(-step / 350) + rng.gauss(0, 0.035)

    history = tuple(
        TrainingPoint(
            step, loss(step, 0.24), loss(step, 0.42), loss(step, 0.31), rng.gauss(3100, 90)
        )
        for step in range(0, steps + 1, every)
    )
    return TrainingSummary(steps, 2461.0, 800, history)


def sample_device(
    device_id: str, candidates: int, rng: Random, fastest_ms: float = 0.6
) -> DeviceReport:
    """Return a device of sample data whose fastest candidate takes about `fastest_ms`."""
    budget = Budget(fastest_ms * 2.2, 6_500_000, "Set to 60 % of the largest subnet's p95.")
    points = [
        sample_candidate(number, rng, fastest_ms, "random" if number % 3 == 0 else "evolution")
        for number in range(candidates)
    ]
    judged = mark_front([judge(point, budget) for point in points])
    inside = sorted(
        (one for one in judged if one.inside_budget), key=lambda one: -one.accuracy_search
    )
    device = DeviceReport(
        device_id=device_id,
        threads=1,
        profile="sample-board",
        runtime="sample-litert 2.1 (XNNPACK)",
        budget=budget,
        candidates=tuple(judged),
        failed_trials=(
            FailedTrial("arch-x1", "e-301", "evolution", "timeout", "no result within 60 s"),
            FailedTrial("arch-x2", "r-302", "random", "oom", "killed at the cap of 64 MiB"),
            FailedTrial("arch-x3", "r-303", "random", "oom", "killed at the cap of 64 MiB"),
        ),
    )
    device = replace(device, progress=_progress(judged), predictions=_predictions(judged, rng))
    return with_pick(device, inside) if inside else device


def _progress(points: list[CandidatePoint]) -> tuple[ProgressPoint, ...]:
    """A course of sample data: ever slower towards the whole."""
    counts: dict[str, int] = {}
    found = []
    for point in points:
        name = point.searcher
        counts[name] = counts.get(name, 0) + 1
        end = 0.85 if name == "random" else 1.0
        found.append(ProgressPoint(name, counts[name], end * (1 - 0.7 ** counts[name])))
    return tuple(found)


def _predictions(points: list[CandidatePoint], rng: Random) -> tuple[Prediction, ...]:
    return tuple(
        Prediction(p.arch_id, p.label, p.latency_p50_ms, p.latency_p50_ms * rng.gauss(1.0, 0.04))
        for p in points
    )


def sample_candidate(number: int, rng: Random, fastest_ms: float, searcher: str) -> CandidatePoint:
    """Return one candidate of sample data; evolution's are a little better than random ones."""
    size = rng.random() if searcher == "random" else rng.betavariate(1.6, 1.9)
    p50 = fastest_ms * (1 + 3.2 * size**1.3) * rng.uniform(0.97, 1.06)
    skill = rng.uniform(0.3, 1.0) if searcher == "random" else rng.betavariate(5, 1.6)
    accuracy = 0.868 + 0.05 * (1 - math.exp(-3.0 * size)) - 0.022 * (1 - skill)
    half = p50 * rng.uniform(0.003, 0.02)
    letter = searcher[0]
    return CandidatePoint(
        arch_id=f"arch-{number:04d}",
        label=f"{letter}-{number:03d}",
        searcher=searcher,
        accuracy_search=round(accuracy, 4),
        latency_p50_ms=p50,
        latency_p95_ms=p50 * rng.uniform(1.02, 1.09),
        p50_ci95_ms=(p50 - half, p50 + half),
        peak_memory_bytes=int(2_400_000 + 5_200_000 * size * rng.uniform(0.8, 1.2)),
        model_bytes=int(180_000 + 1_900_000 * size),
        macs=int(4_000_000 + 46_000_000 * size),
        verdict="ok",
        inside_budget=True,
        on_front=False,
        sha256=hashlib.sha256(f"{searcher}-{number}".encode()).hexdigest(),
        level="quick",
    )


def judge(point: CandidatePoint, budget: Budget) -> CandidatePoint:
    """Return the candidate with `inside_budget` as the budget says."""
    memory, latency = budget.peak_memory_bytes, budget.latency_p95_ms
    light = memory is None or point.peak_memory_bytes <= memory
    fast = latency is None or point.latency_p95_ms <= latency
    return replace(point, inside_budget=light and fast)


def mark_front(points: list[CandidatePoint]) -> list[CandidatePoint]:
    """Return the candidates with `on_front` as accuracy against p95 latency says."""
    best = -1.0
    front: set[str] = set()
    for point in sorted(points, key=lambda one: (one.latency_p95_ms, -one.accuracy_search)):
        if point.accuracy_search > best:
            best = point.accuracy_search
            front.add(point.arch_id)
    return [replace(point, on_front=point.arch_id in front) for point in points]


def with_pick(device: DeviceReport, inside: list[CandidatePoint]) -> DeviceReport:
    """Return the device with its most accurate candidate picked and shipped."""
    best = inside[0]
    randoms = [one for one in inside if one.searcher == "random"]
    baseline = None
    if randoms:
        chosen = randoms[0]
        baseline = Baseline(
            chosen.arch_id,
            chosen.label,
            chosen.accuracy_search,
            chosen.latency_p50_ms,
            chosen.latency_p95_ms,
            chosen.peak_memory_bytes,
            len([one for one in device.candidates if one.searcher == "random"]),
        )
    return replace(
        device,
        finalists=tuple(_finalist(one, one is best) for one in inside[:4]),
        pick=sample_pick(best),
        shipped=Shipment("1.0.0", 3, "succeeded", "0.9.0", best.sha256),
        random_baseline=baseline,
    )


def sample_pick(point: CandidatePoint) -> Pick:
    """Return a pick of sample data for a candidate."""
    arch = Arch(
        resolution=32,
        stem=16,
        stages=(
            StageArch(16, (BlockArch(3, 1),)),
            StageArch(24, (BlockArch(5, 4), BlockArch(3, 3))),
            StageArch(48, (BlockArch(5, 6), BlockArch(7, 4), BlockArch(3, 4))),
            StageArch(96, (BlockArch(3, 6), BlockArch(5, 6), BlockArch(5, 3))),
        ),
        head=256,
    )
    return Pick(
        arch_id=point.arch_id,
        label=point.label,
        arch=arch,
        fake_quant_accuracy_test=point.accuracy_search - 0.0021,
        bytes_accuracy_test=point.accuracy_search - 0.0024,
        accuracy_search=point.accuracy_search,
        latency_p50_ms=point.latency_p50_ms * 0.99,
        latency_p95_ms=point.latency_p95_ms * 0.985,
        latency_p95_upper_ms=point.latency_p95_ms * 1.001,
        p50_ci95_ms=(point.latency_p50_ms * 0.988, point.latency_p50_ms * 0.992),
        peak_memory_bytes=point.peak_memory_bytes,
        model_bytes=point.model_bytes,
        macs=point.macs,
        sha256=point.sha256,
        golden_max_lsb=1,
        reason_next_lost="0.12 points less accurate and only 3 % faster",
        sizes=((32, 32), (32, 32), (16, 16), (8, 8), (4, 4)),
        stages=(
            StageSpace((16,), (1,), block="resnet"),
            StageSpace((24,), (2,), stride=2, block="fused"),
            StageSpace((48,), (3,), stride=2),
            StageSpace((96,), (3,), stride=2, axes="time"),
        ),
    )


def _finalist(point: CandidatePoint, picked: bool) -> Finalist:
    return Finalist(
        arch_id=point.arch_id,
        label=point.label,
        accuracy_search=point.accuracy_search,
        latency_p50_ms=point.latency_p50_ms,
        latency_p95_ms=point.latency_p95_ms,
        latency_p95_upper_ms=point.latency_p95_ms * 1.01,
        peak_memory_bytes=point.peak_memory_bytes,
        inside_budget=True,
        sessions=5,
        outcome="picked" if picked else "less accurate than the pick",
    )
