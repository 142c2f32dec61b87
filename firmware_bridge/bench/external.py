"""Measures with TensorFlow Lite's own ``benchmark_model``, in the same fence and with the same
verdicts.

The tool tells statistics instead of samples, so its measurement has no legs, and what cannot be
computed without samples is left out. Load time and memory, latency and operators are runs apart,
as they disturb one another. Its flags and output are left to ``benchmark_model``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from firmware_bridge.bench.benchmark_model import (
    PROGRAM,
    EngineOutputError,
    EngineRun,
    EngineSettings,
    flags,
    parse_output,
    parse_profile,
    refusal_in,
)
from firmware_bridge.bench.container import file_format_of, flaw_of
from firmware_bridge.bench.details import Bench, Operator, OperatorReport
from firmware_bridge.bench.endings import (
    Attempted,
    Blame,
    blame_of,
    failure_of,
    measurement_of,
)
from firmware_bridge.bench.load import read_cpu_times
from firmware_bridge.bench.page_cache import drop_from_cache
from firmware_bridge.bench.pinning import cpus_for
from firmware_bridge.bench.plan import MeasurePlan
from firmware_bridge.bench.preflight import Surroundings
from firmware_bridge.bench.process import Ending, run_child
from firmware_bridge.bench.sensors import SLOWED_BITS, UNDERVOLT_BIT, Sensors, flags_now
from firmware_bridge.bench.supervise import (
    LOCK_TIMEOUT_S,
    MeasureOutcome,
    board_failure,
    give_up,
    kept_off,
    limits_of,
)
from firmware_bridge.bench.turn import when_fit
from firmware_bridge.bench.verdict import MAX_RATIO_HALF_WIDTH, live_flags
from firmware_bridge.facts import read_board
from firmware_bridge.machine_lock import MachineLockError
from firmware_bridge.wire.errors import BridgeError
from firmware_bridge.wire.statistics import RatioSummary, ratio_of_rounds

LAUNCHER = "firmware_bridge.bench.launch"
OUTPUT_BYTES = 1024 * 1024
MEMORY_RUNS = 10
ROUNDS = 5
LEG_WARMUP_S = 0.1
OPERATOR_RUNS = 20


class EngineMissingError(BridgeError):
    """``benchmark_model`` is not where it was looked for."""

    def __init__(self, place: str) -> None:
        super().__init__(
            f"expected the program {PROGRAM} {place}, found none; build it from TensorFlow "
            "(bazel build //tensorflow/lite/tools/benchmark:benchmark_model) and put it on PATH, "
            "name it with --engine-path, or measure without --engine"
        )


@dataclass
class EngineReport:
    """What the tool told of a model, and of the model beside it.

    Attributes:
        outcome: Verdict, load times and memory; a Measurement without legs, or why there is none.
        latency: Statistics of the candidate's runs, None if it never got that far.
        reference: The same of the model beside it, None without one.
        ratio: Candidate over reference, from runs of the tool that took turns; None without one.
        operators: The candidate's operators, None if nobody asked.
    """

    outcome: MeasureOutcome
    latency: EngineRun | None = None
    reference: EngineRun | None = None
    ratio: RatioSummary | None = None
    operators: OperatorReport | None = None


class EngineFailedError(BridgeError):
    """A run of the tool gave no result; ``blame`` says whose fault that is."""

    def __init__(self, blame: Blame) -> None:
        super().__init__(blame.detail)
        self.blame = blame


def find_engine(named: Path | None) -> Path:
    """The program: the file that was named, or what PATH has.

    Raises:
        EngineMissingError: It is not there or cannot be executed.
    """
    if named is not None:
        if not (named.is_file() and os.access(named, os.X_OK)):
            raise EngineMissingError(f"at {named}, executable by this user")
        return named.absolute()
    found = shutil.which(PROGRAM)
    if found is None:
        raise EngineMissingError("on PATH")
    return Path(found).absolute()


@dataclass
class _Session:
    """One measurement with the tool."""

    plan: MeasurePlan
    program: Path
    bench: Bench
    sensors: Sensors
    polled: list[int | None] = field(default_factory=list)

    def run(self, model: Path, settings: EngineSettings, **how: object) -> EngineRun:
        """One run of the tool.

        Raises:
            EngineFailedError: It gave no result.
        """
        csv = how.get("csv")
        arguments = flags(
            model, settings, peak=bool(how.get("peak")), csv=csv if isinstance(csv, Path) else None
        )
        request = {"argv": [str(self.program), *arguments], "cpus": list(self.plan.cpus)}
        ending = run_child(
            self.bench.argv_prefix,
            request,
            limits_of(self.plan, self.plan.memory_cap_bytes),
            cancelled=lambda: False,
            on_tick=lambda: self.polled.append(self.sensors.read().throttle_bits),
            module=LAUNCHER,
            keep_output_bytes=OUTPUT_BYTES,
        )
        return _run_of(ending)


def measure_with_engine(
    plan: MeasurePlan,
    program: Path,
    bench: Bench,
    *,
    operators: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> EngineReport:
    """Measures a model with ``benchmark_model``, beside ``plan.reference_path`` if there is one.

    Args:
        plan: What and how; the tool knows no legs, so ``leg`` means nothing.
        program: From ``find_engine``.
        bench: How children are started, which lock, which roots.
        operators: Ask for the operators' times too.
        tell: Takes a line on what is being waited for.
    """
    around = replace(Surroundings(bench.proc_root, bench.sys_root, lambda: False), tell=tell)
    board = read_board(bench.proc_root, bench.sys_root)
    cpus = cpus_for(plan.cpus, plan.threads, board.clusters, os.sched_getaffinity(0))
    plan = replace(plan, cpus=cpus)
    attempted = Attempted(plan, board, _label(program, "unknown"))
    for path in filter(None, (plan.model_path, plan.reference_path)):
        flaw = flaw_of(path)
        if flaw is None and file_format_of(path) != "tflite":
            flaw = f"expected a .tflite file, which is all that {PROGRAM} runs"
        if flaw is not None:
            return EngineReport(measurement_of(attempted, "unsupported_op", f"{path.name}: {flaw}"))
    try:
        with when_fit(plan, around, bench.lock, LOCK_TIMEOUT_S) as turn:
            attempted.waiting_ms = turn.waited_ms
            if turn.unfit is not None:
                return EngineReport(give_up(attempted, turn.unfit))
            sensors = Sensors(bench.sys_root, cpus, supply=True)
            session = _Session(plan, program, bench, sensors)
            return _measure_now(session, attempted, operators)
    except (MachineLockError, OSError) as error:
        return EngineReport(board_failure(error, bench.argv_prefix))


def _measure_now(session: _Session, attempted: Attempted, operators: bool) -> EngineReport:
    report = EngineReport(failure_of("INTERNAL", "not measured", retryable=False))
    plan, roots = session.plan, session.bench
    started = time.monotonic()
    attempted.load_before = read_cpu_times(roots.proc_root, plan.cpus)
    attempted.bits_before = flags_now(session.sensors)
    try:
        with kept_off(plan.cpus):
            _look_at_memory(session, attempted)
            _time(session, attempted, report)
            if operators:
                report.operators = _profile(session)
    except EngineFailedError as error:
        attempted.blame = error.blame
    attempted.bits_after = flags_now(session.sensors)
    attempted.load_after = read_cpu_times(roots.proc_root, plan.cpus)
    attempted.measuring_ms = round((time.monotonic() - started) * 1000)
    report.outcome = _outcome(session, attempted, report.ratio)
    return report


def _label(program: Path, delegate: str) -> str:
    """Runtime label; the tool prints no version, so that the file itself tells builds apart."""
    return f"{PROGRAM} {hashlib.sha256(program.read_bytes()).hexdigest()[:12]} {delegate}"


def _look_at_memory(session: _Session, attempted: Attempted) -> None:
    """Load time of a cold file and memory; the tool's watcher would disturb latencies."""
    plan = session.plan
    drop_from_cache(plan.model_path)
    settings = EngineSettings(plan.threads, MEMORY_RUNS, 0.0, plan.cap_ms / 1000, 0, 0.0)
    run = session.run(plan.model_path, settings, peak=True)
    attempted.proved = _label(session.program, "xnnpack" if run.xnnpack else "builtin")
    attempted.seen = {
        "load_cold_ns": run.init_ns,
        "first_invoke_ns": run.first_ns,
        "memory": {
            "peak_delta_bytes": run.overall_delta_bytes,
            "method": PROGRAM,
            "peak_bytes": run.peak_bytes,
            "model_file_bytes": plan.model_path.stat().st_size,
            "arena_bytes": None,
        },
    }


def _time(session: _Session, attempted: Attempted, report: EngineReport) -> None:
    """Latency: one long run, or short ones that take turns with the reference (R C C R)."""
    plan = session.plan
    if plan.reference_path is None:
        settings = EngineSettings(
            plan.threads,
            plan.min_samples,
            plan.min_time_ms / 1000,
            plan.cap_ms / 1000,
            MEMORY_RUNS,
            plan.warmup_ms / 1000,
        )
        report.latency = session.run(plan.model_path, settings)
        attempted.seen["load_warm_ns"] = report.latency.init_ns
        return
    legs = 2 * ROUNDS
    settings = EngineSettings(
        plan.threads,
        -(-plan.min_samples // legs),
        plan.min_time_ms / 1000 / legs,
        plan.cap_ms / 1000 / (2 * legs),
        1,
        LEG_WARMUP_S,
    )
    runs: dict[str, list[EngineRun]] = {"R": [], "C": []}
    paths = {"R": plan.reference_path, "C": plan.model_path}
    for letter in "RCCR" * ROUNDS:
        runs[letter].append(session.run(paths[letter], settings))
    report.latency, report.reference = _together(runs["C"]), _together(runs["R"])
    report.ratio = ratio_of_rounds(_round_ratios(runs["C"], runs["R"]))
    attempted.seen["load_warm_ns"] = report.latency.init_ns


def _round_ratios(candidate: Sequence[EngineRun], reference: Sequence[EngineRun]) -> list[float]:
    """Of each round the two runs of one model over the two of the other."""
    pairs = zip(candidate[::2], candidate[1::2], reference[::2], reference[1::2], strict=True)
    return [
        (first.typical_ns + second.typical_ns) / (before.typical_ns + after.typical_ns)
        for first, second, before, after in pairs
    ]


def _together(runs: Sequence[EngineRun]) -> EngineRun:
    """Runs of one model as one: extremes of all, the median run for the rest; no percentiles."""
    middle = sorted(runs, key=lambda run: run.typical_ns)[(len(runs) - 1) // 2]
    return replace(
        middle,
        count=sum(run.count for run in runs),
        min_ns=min(run.min_ns for run in runs),
        max_ns=max(run.max_ns for run in runs),
    )


def _profile(session: _Session) -> OperatorReport:
    plan = session.plan
    settings = EngineSettings(plan.threads, OPERATOR_RUNS, 0.0, plan.cap_ms / 1000, 1, 0.0)
    with tempfile.TemporaryDirectory(prefix="edgenas-operators-") as folder:
        csv = Path(folder) / "operators.csv"
        run = session.run(plan.model_path, settings, csv=csv)
        try:
            nodes = parse_profile(csv.read_text(encoding="utf-8", errors="replace"))
        except (EngineOutputError, OSError) as error:
            return OperatorReport(0, None, f"{PROGRAM} wrote no times per operator: {error}")
    operators = tuple(
        Operator(node.name, node.kind, run.count * node.times_called, run.count * node.avg_ns)
        for node in nodes
    )
    return OperatorReport(run.count, operators, None)


def _run_of(ending: Ending) -> EngineRun:
    """The run that a child was, or whose fault it is that it was none."""
    text = ending.output.decode("utf-8", "replace")
    if ending.returncode == 0 and ending.killed_for is None and not ending.strays:
        try:
            return parse_output(text)
        except EngineOutputError as error:
            raise EngineFailedError(Blame(str(error), failure="INTERNAL")) from error
    refusal = refusal_in(text)
    if ending.killed_for is None and ending.signal_number is None and refusal is not None:
        raise EngineFailedError(Blame(f"{PROGRAM}: {refusal}", "unsupported_op"))
    raise EngineFailedError(blame_of(ending))


def _outcome(session: _Session, attempted: Attempted, ratio: RatioSummary | None) -> MeasureOutcome:
    blame = attempted.blame
    if blame is not None and blame.verdict is None:
        return failure_of(blame.failure or "INTERNAL", blame.detail, retryable=False)
    if blame is not None and blame.verdict is not None:
        return measurement_of(attempted, blame.verdict, blame.detail)
    live = live_flags(attempted.bits_before, session.polled, attempted.bits_after)
    if live & UNDERVOLT_BIT:
        return measurement_of(attempted, "undervolt", "under-voltage was reported meanwhile")
    if live & SLOWED_BITS:
        return measurement_of(attempted, "throttled", f"throttling was reported (flags {live:#x})")
    if ratio is not None and ratio.half_width_pct > 100 * MAX_RATIO_HALF_WIDTH:
        detail = f"the ratio is known to {ratio.half_width_pct:.1f}% only, expected 2.5%"
        return measurement_of(attempted, "noisy", detail)
    return measurement_of(attempted, "ok", None)


def engine_fields(run: EngineRun | None) -> dict[str, object] | None:
    """A run under the names that a summary of samples has; what it cannot say is None."""
    if run is None:
        return None
    unknown = ("p90_ns", "p99_ns", "mad_ns", "p50_ci95_ns", "p95_upper95_ns")
    fields = asdict(run)
    return {
        "n": run.count,
        **{name: fields[name] for name in ("min_ns", "p50_ns", "p95_ns", "mean_ns", "max_ns")},
        "cv": run.std_ns / run.mean_ns if run.mean_ns else 0.0,
        **dict.fromkeys(unknown),
    }
