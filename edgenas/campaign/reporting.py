"""Filling the report from what a run folder holds. How it looks is `edgenas.report`'s business."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata

from edgenas.campaign.course import predictions_of, progress_of
from edgenas.campaign.errors import RunFolderError
from edgenas.campaign.final_test import FinalFigures, final_figures
from edgenas.campaign.finals import FinalsPlan, budget_of, judged_finalists
from edgenas.campaign.measuring import DeviceSetup
from edgenas.campaign.picking import Picked
from edgenas.campaign.rundir import RunCard, RunDir
from edgenas.campaign.scoring import Scorer
from edgenas.campaign.shipments import Shipment
from edgenas.data import ImageData
from edgenas.report import model as r
from edgenas.report.choices import Options
from edgenas.report.training import DataSummary, SupernetSummary, TrainingPoint, TrainingSummary
from edgenas.search.budget import Budget
from edgenas.search.front import accuracy_and_latency, best_under, pareto_front
from edgenas.search.study import Study
from edgenas.search.trial import Outcome, Trial
from edgenas.space.narrowing import choices, texts_of
from edgenas.train.checkpoint import Checkpoint
from edgenas.train.loop import StepReport, read_metrics, training_seconds

CURVE_POINTS = 200


@dataclass(frozen=True)
class Sources:
    """Everything that a report is made of."""

    run: RunDir
    card: RunCard
    checkpoint: Checkpoint
    data: ImageData
    scorer: Scorer
    study: Study
    setups: Sequence[DeviceSetup]
    picks: Sequence[Picked]
    shipments: Mapping[str, Shipment]
    finals: Mapping[str, FinalsPlan]
    phase_seconds: Mapping[str, float] = field(default_factory=dict)


def build_report(sources: Sources, command: str) -> r.Report:
    """Read the test split for the picks, once, and put the report together."""
    picks = {p.device_id: p for p in sources.picks}
    figures = _final_figures(sources, picks)
    images = next((f.images for f in figures.values()), 0)
    space = sources.checkpoint.space
    return r.Report(
        title=f"edgenas on {sources.data.name}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        seeds={"training": sources.checkpoint.recipe.seed, "search": sources.card.seed},
        machine=_machine(),
        data=DataSummary(
            sources.data.name, sources.data.classes, len(sources.data.train),
            len(sources.data.search), images, sources.data.fingerprint,
        ),
        supernet=SupernetSummary(
            preset_of(sources.card), space.name, space.size(), _training(sources),
            _shrunk(sources.checkpoint),
        ),
        devices=tuple(
            _device(sources, setup, picks.get(setup.device_id), figures.get(setup.device_id))
            for setup in sources.setups
        ),
        phase_seconds=dict(sources.phase_seconds),
        failures=tuple(
            r.Failure(f"shipping to {s.device_id}", s.outcome, s.detail or "no detail")
            for s in sources.shipments.values()
            if not s.succeeded
        ),
    )  # fmt: skip


def _shrunk(checkpoint: Checkpoint) -> tuple[Options, ...]:
    """Every choice before and after, where the run has reduced its space."""
    if checkpoint.whole is None:
        return ()
    left = {choice.name: choice.options for choice in choices(checkpoint.space)}
    return tuple(
        Options(c.name, texts_of(c.options), texts_of(left.get(c.name, ())))
        for c in choices(checkpoint.whole)
    )


def preset_of(card: RunCard) -> str:
    """Name of the preset that was trained, empty for a space of the run's own.

    Beside a space file the card names a preset too, for the recipe alone.
    """
    return "" if card.space else card.preset


def _final_figures(sources: Sources, picks: Mapping[str, Picked]) -> dict[str, FinalFigures]:
    """By device: its pick on the test split, in the format that the device runs."""
    chosen = {
        setup.device_id: (pick.arch, setup.file_format)
        for setup in sources.setups
        if (pick := picks.get(setup.device_id)) is not None and pick.arch is not None
    }
    found = final_figures(sources.run, sources.scorer, sources.data, chosen.values())
    return {device: found[arch.id, kind] for device, (arch, kind) in chosen.items()}


def _device(
    sources: Sources,
    setup: DeviceSetup,
    picked: Picked | None,
    test: FinalFigures | None,
) -> r.DeviceReport:
    study, device = sources.study, setup.device_id
    trials, budget = study.trials(device), budget_of(study, device)
    measured = [trial for trial in trials if trial.value is not None]
    front = {t.number for t in pareto_front(measured, accuracy_and_latency)}
    shipment = sources.shipments.get(device)
    pick = _pick(sources, device, picked, test)
    return r.DeviceReport(
        device_id=device,
        threads=setup.threads,
        profile=setup.profile,
        runtime=_runtime(study, measured),
        budget=r.Budget(budget.latency_p95_ms, budget.peak_memory_bytes, budget.reason),
        candidates=tuple(
            _candidate(t, budget, t.number in front, _elsewhere(study, t)) for t in measured
        ),
        failed_trials=tuple(_failed(t) for t in trials if t.failure is not None),
        finalists=_finalists(sources, device, picked),
        pick=pick,
        shipped=_shipped(shipment) if shipment is not None and pick is not None else None,
        random_baseline=_baseline(trials, budget),
        progress=progress_of(trials, budget),
        predictions=predictions_of(trials, sources.checkpoint.space),
    )


def _elsewhere(study: Study, trial: Trial) -> str:
    """The device that measured a trial, if it was an equal one."""
    device = str((study.raw(trial.number) or {}).get("device", trial.device))
    return "" if device == trial.device else device


def _candidate(trial: Trial, budget: Budget, on_front: bool, elsewhere: str) -> r.CandidatePoint:
    value = trial.value
    assert value is not None
    return r.CandidatePoint(
        arch_id=trial.arch.id,
        label=trial.arch.describe(),
        searcher=trial.searcher,
        accuracy_search=value.accuracy,
        latency_p50_ms=value.latency_p50_ms,
        latency_p95_ms=value.latency_p95_ms,
        p50_ci95_ms=value.p50_ci95_ms,
        peak_memory_bytes=value.peak_memory_bytes,
        model_bytes=value.model_bytes,
        macs=value.macs,
        verdict=value.verdict,
        inside_budget=not budget.violations(value),
        on_front=on_front,
        sha256=value.sha256,
        level=value.level,
        measured_on=elsewhere,
    )


def _failed(trial: Trial) -> r.FailedTrial:
    assert trial.failure is not None
    return r.FailedTrial(
        trial.arch.id,
        trial.arch.describe(),
        trial.searcher,
        trial.failure.code,
        trial.failure.detail,
    )


def _finalists(sources: Sources, device: str, picked: Picked | None) -> tuple[r.Finalist, ...]:
    budget = budget_of(sources.study, device)
    reasons = {arch_id: reason for arch_id, _, reason in picked.ranking} if picked else {}
    rows = []
    for many in judged_finalists(sources.study, device, sources.finals[device]):
        arch, found = many.arch, many.sessions
        if found:
            typical = _typical(found)
            inside = not budget.exceeded(many.certified_p95_ms, many.peak_memory_bytes)
            rows.append(
                r.Finalist(
                    arch.id, arch.describe(), typical.accuracy, typical.latency_p50_ms,
                    typical.latency_p95_ms, many.certified_p95_ms, many.peak_memory_bytes, inside,
                    len(found), reasons.get(arch.id, "not judged"),
                )
            )  # fmt: skip
    return tuple(rows)


def _pick(
    sources: Sources, device: str, picked: Picked | None, test: FinalFigures | None
) -> r.Pick | None:
    if picked is None or picked.arch is None or test is None:
        return None
    arch, space = picked.arch, sources.checkpoint.space
    judged = judged_finalists(sources.study, device, sources.finals[device])
    many = next((one for one in judged if one.arch.id == arch.id and one.sessions), None)
    if many is None:
        raise RunFolderError(
            f"device {device}: expected sessions of its pick {arch.id} at level "
            f"{sources.finals[device].level}, got none; repeat the `edgenas search` command"
        )
    found, typical = many.sessions, _typical(many.sessions)
    return r.Pick(
        arch_id=arch.id,
        label=arch.describe(),
        arch=arch,
        fake_quant_accuracy_test=test.fake_quant,
        bytes_accuracy_test=test.bytes,
        accuracy_search=typical.accuracy,
        latency_p50_ms=typical.latency_p50_ms,
        latency_p95_ms=typical.latency_p95_ms,
        latency_p95_upper_ms=many.certified_p95_ms,
        p50_ci95_ms=typical.p50_ci95_ms,
        peak_memory_bytes=many.peak_memory_bytes,
        model_bytes=typical.model_bytes,
        macs=typical.macs,
        sha256=typical.sha256,
        golden_max_lsb=max((v.golden_max_lsb or 0 for v in found), default=None),
        reason_next_lost=picked.reason_next_lost,
        sizes=space.map_sizes(arch),
        stages=space.stages,
    )


def _typical(sessions: Sequence[Outcome]) -> Outcome:
    """The session with the median p95: one that was measured, not an average."""
    ordered = sorted(sessions, key=lambda outcome: outcome.certified_p95_ms)
    return ordered[(len(ordered) - 1) // 2]


def _baseline(trials: Sequence[Trial], budget: Budget) -> r.Baseline | None:
    mine = [trial for trial in trials if trial.searcher == r.BASELINE]
    best = best_under(mine, budget)
    if best is None or best.value is None:
        return None
    value = best.value
    evaluations = sum(trial.state != "asked" for trial in mine)
    return r.Baseline(
        best.arch.id, best.arch.describe(), value.accuracy, value.latency_p50_ms,
        value.latency_p95_ms, value.peak_memory_bytes, evaluations,
    )  # fmt: skip


def _shipped(shipment: Shipment) -> r.Shipment:
    confirmed = shipment.sha256 if shipment.succeeded else None
    return r.Shipment(
        f"{shipment.counter} ({shipment.bundle[:12]})", shipment.counter, shipment.outcome,
        shipment.previous, confirmed,
    )  # fmt: skip


def _runtime(study: Study, measured: Sequence[Trial]) -> str:
    for trial in measured:
        raw = study.raw(trial.number)
        if raw and raw.get("runtime"):
            return str(raw["runtime"])
    return "unknown"


def _training(sources: Sources) -> TrainingSummary:
    checkpoint = sources.checkpoint
    steps = read_metrics(sources.run.path)
    return TrainingSummary(
        checkpoint.step,
        training_seconds(steps, checkpoint.recipe.batch),
        round(checkpoint.recipe.float_share * checkpoint.steps),
        tuple(_point(step) for step in _thinned(steps)),
    )


def _thinned(steps: Sequence[StepReport]) -> list[StepReport]:
    """The last step, all looks, and of the steps that ran a kind of subnet evenly spaced ones."""
    chosen = {len(steps) - 1} if steps else set()
    chosen.update(i for i, step in enumerate(steps) if math.isfinite(step.watched_largest))
    for kind in ("loss_largest", "loss_smallest", "loss_random"):
        ran = [i for i, step in enumerate(steps) if math.isfinite(getattr(step, kind))]
        chosen.update(ran[:: max(1, len(ran) // CURVE_POINTS)])
    return [steps[i] for i in sorted(chosen)]


def _point(step: StepReport) -> TrainingPoint:
    return TrainingPoint(
        step.step, _finite(step.loss_largest), _finite(step.loss_smallest),
        _finite(step.loss_random), step.images_per_s, _finite(step.watched_largest),
        _finite(step.watched_smallest),
    )  # fmt: skip


def _finite(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None


def _machine() -> dict[str, str]:
    return {
        "system": platform.platform(),
        "processors": str(os.cpu_count()),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("torch", "onnx2tf", "ai-edge-litert")},
    }
