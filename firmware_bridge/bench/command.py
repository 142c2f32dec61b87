"""``edgenas-device bench``: measures a model file on this machine, for people or as JSON.

Puts arguments into a plan and asks; measuring is left to ``supervise`` and ``external``, figures to
``report``, layout to ``table``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from firmware_bridge.bench.advice import has_samples
from firmware_bridge.bench.details import Bench, measure_loading, operator_times
from firmware_bridge.bench.external import (
    EngineMissingError,
    find_engine,
    measure_with_engine,
)
from firmware_bridge.bench.pinning import cpus_for
from firmware_bridge.bench.plan import MEMORY_CAP_BYTES, MeasurePlan, plan_at_level
from firmware_bridge.bench.report import BenchReport, describe, render
from firmware_bridge.bench.supervise import MeasureOutcome, measure
from firmware_bridge.bench.table import draw
from firmware_bridge.facts import Board, fingerprint, meminfo_bytes, read_board
from firmware_bridge.machine_lock import MachineLock, default_lock_path
from firmware_bridge.wire.levels import LEVELS
from firmware_bridge.wire.measured import DETAIL_CAP, Measurement
from firmware_bridge.wire.messages import JobFailed

MIB = 1024 * 1024
NO_SENSOR_PAUSE_MS = 60_000
INTERRUPTED = 130
MISUSED = 2
ENGINES = ("interpreter", "benchmark_model")
_EPILOG = """\
exit status: 0 measured (verdict ok, noisy, throttled or undervolt), 1 not measured, 2 wrong use.
environment: EDGENAS_MEASURE_LOCK (lock file), EDGENAS_WORKER_ARGV (how to start Python here),
EDGENAS_PROC_ROOT and EDGENAS_SYS_ROOT (read /proc and /sys elsewhere), EDGENAS_RUNTIME.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``edgenas-device bench``."""
    parser.description = (
        "Measure latency, load time and memory of a model (.tflite or .onnx) on this machine, "
        "or compare two."
    )
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", type=Path, metavar="MODEL", help="the model to measure (A)")
    parser.add_argument(
        "--against", type=Path, metavar="B", help="measure B in turns with MODEL; tell the ratio"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with every sample")
    parser.add_argument(
        "--operators", action="store_true", help="time of each operator, if the runtime tells"
    )
    parser.add_argument(
        "--level",
        choices=sorted(LEVELS),
        default="standard",
        help="how thoroughly (default standard)",
    )
    _add_limits(parser)
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default=ENGINES[0],
        help="what runs the model: the installed runtime, or TensorFlow Lite's own tool",
    )
    parser.add_argument(
        "--engine-path", type=Path, metavar="P", help="that tool's file (default: from PATH)"
    )
    parser.add_argument("--lock", type=Path, help="measuring lock (default EDGENAS_MEASURE_LOCK)")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    """What the model may use of this machine."""
    parser.add_argument("--threads", type=_positive, default=1, help="CPU threads (default 1)")
    parser.add_argument(
        "--cpus",
        type=_cpu_list,
        default=(),
        metavar="LIST",
        help="pin to these CPUs, as in 2,3 (default: the fastest cluster, if there are several)",
    )
    parser.add_argument(
        "--memory-cap-mb",
        type=_positive,
        help="end the model's process above this (default 512, or half of what is available)",
    )
    parser.add_argument(
        "--cap-s", type=_positive, help="end sampling after this (default: the level's)"
    )


def run(args: argparse.Namespace) -> int:
    """Carries the command out; 0 if there are figures, 1 if there are none, 2 without a file."""
    for path in filter(None, (args.model, args.against)):
        if not path.is_file():
            print(
                f"edgenas-device bench: expected a model file at {path}, got "
                f"{'a folder' if path.is_dir() else 'none'}; check the path",
                file=sys.stderr,
            )
            return MISUSED
    bench = _bench(args, os.environ)
    try:
        report = _report(args, bench)
    except EngineMissingError as error:
        print(f"edgenas-device bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("edgenas-device bench: interrupted, nothing was kept", file=sys.stderr)
        return INTERRUPTED
    print(render(describe(report)) if args.json else draw(report))
    return 0 if has_samples(report.outcome) else 1


def _report(args: argparse.Namespace, bench: Bench) -> BenchReport:
    board = read_board(bench.proc_root, bench.sys_root)
    plan = _plan(args, board, bench.proc_root)
    if args.engine == "benchmark_model" or args.engine_path is not None:
        return _engine_report(args, plan, bench, board)
    outcome = measure(
        plan,
        argv_prefix=bench.argv_prefix,
        lock=bench.lock,
        proc_root=bench.proc_root,
        sys_root=bench.sys_root,
        tell=_tell,
    )
    measured, other = has_samples(outcome), None
    if plan.reference_path is not None and (measured or isinstance(outcome, JobFailed)):
        other = measure_loading(_alone(plan, plan.reference_path), bench)
        outcome = _blame_other(outcome, other, plan.reference_path.name)
    return BenchReport(
        model=args.model,
        outcome=outcome,
        fingerprint=_fingerprint(plan, board, outcome),
        against=args.against,
        against_outcome=other,
        operators=operator_times(plan, bench) if args.operators and measured else None,
    )


def _engine_report(
    args: argparse.Namespace, plan: MeasurePlan, bench: Bench, board: Board
) -> BenchReport:
    engine = measure_with_engine(
        plan, find_engine(args.engine_path), bench, operators=args.operators, tell=_tell
    )
    return BenchReport(
        model=args.model,
        outcome=engine.outcome,
        fingerprint=_fingerprint(plan, board, engine.outcome),
        against=args.against,
        operators=engine.operators,
        engine=engine,
    )


def _blame_other(outcome: MeasureOutcome, other: MeasureOutcome, name: str) -> MeasureOutcome:
    """The other model's verdict, if it is what kept both from being measured."""
    if isinstance(outcome, Measurement) or not isinstance(other, Measurement):
        return outcome
    if other.verdict == "ok":
        return outcome
    return replace(other, detail=f"{name}: {other.detail}"[:DETAIL_CAP])


def _alone(plan: MeasurePlan, path: Path) -> MeasurePlan:
    return replace(plan, model_path=path, reference_path=None)


def _fingerprint(plan: MeasurePlan, board: Board, outcome: MeasureOutcome) -> dict[str, object]:
    runtime = outcome.runtime if isinstance(outcome, Measurement) else None
    return fingerprint(board, runtime, plan.threads, plan.cpus)


def _tell(line: str) -> None:
    print(f"edgenas-device bench: {line}", file=sys.stderr, flush=True)


def _bench(args: argparse.Namespace, environ: Mapping[str, str]) -> Bench:
    return Bench(
        argv_prefix=tuple(environ.get("EDGENAS_WORKER_ARGV", sys.executable).split()),
        lock=MachineLock(args.lock or default_lock_path(environ)),
        proc_root=Path(environ.get("EDGENAS_PROC_ROOT", "/proc")),
        sys_root=Path(environ.get("EDGENAS_SYS_ROOT", "/sys")),
    )


def _plan(args: argparse.Namespace, board: Board, proc_root: Path) -> MeasurePlan:
    if args.memory_cap_mb is None:
        available = meminfo_bytes(proc_root).get("MemAvailable", 2 * MEMORY_CAP_BYTES)
        cap_bytes = min(MEMORY_CAP_BYTES, available // 2)
    else:
        cap_bytes = args.memory_cap_mb * MIB
    plan = plan_at_level(
        LEVELS[args.level],
        args.model.absolute(),
        args.against.absolute() if args.against else None,
        threads=args.threads,
        cpus=cpus_for(args.cpus, args.threads, board.clusters, os.sched_getaffinity(0)),
        memory_cap_bytes=cap_bytes,
    )
    if args.cap_s is not None:
        plan = replace(plan, cap_ms=1000 * args.cap_s)
    if plan.quiet.wait_ms and "hypervisor" not in board.cpu_features:
        # a virtual machine has no sensor either, but does not cool by waiting
        plan = replace(plan, quiet=replace(plan.quiet, blind_pause_ms=NO_SENSOR_PAUSE_MS))
    return plan


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return value


def _cpu_list(text: str) -> tuple[int, ...]:
    if not all(piece.isdigit() for piece in text.split(",")):
        raise argparse.ArgumentTypeError(f"expected CPU numbers such as 2,3, got {text!r}")
    return tuple(int(piece) for piece in text.split(","))
