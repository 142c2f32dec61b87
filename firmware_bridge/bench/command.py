"""``edgenas-device bench``: measures a model file on this machine and prints JSON.

Puts arguments into a plan and an outcome into text. Measuring is left to ``supervise``,
statistics to ``firmware_bridge.wire.statistics``.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from firmware_bridge.bench.plan import MEMORY_CAP_BYTES, MeasurePlan, plan_at_level
from firmware_bridge.bench.supervise import MeasureOutcome, measure
from firmware_bridge.facts import meminfo_bytes
from firmware_bridge.machine_lock import MachineLock, default_lock_path
from firmware_bridge.wire.levels import LEVELS
from firmware_bridge.wire.measured import Measurement
from firmware_bridge.wire.shape import plain
from firmware_bridge.wire.statistics import (
    candidate_samples,
    ratio,
    reference_samples,
    summarize,
)

MIB = 1024 * 1024
MEASURED = ("ok", "noisy", "throttled", "undervolt")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``edgenas-device bench``."""
    parser.description = "Measure latency and memory of a .tflite model on this machine."
    parser.add_argument("model", type=Path, metavar="MODEL.tflite", help="the model to measure")
    parser.add_argument("--reference", type=Path, metavar="R.tflite", help="interleave this model")
    parser.add_argument("--threads", type=_positive, default=1, help="CPU threads (default 1)")
    parser.add_argument(
        "--cpus", type=_cpu_list, default=(), metavar="LIST", help="pin to these CPUs, as in 2,3"
    )
    parser.add_argument(
        "--level",
        choices=sorted(LEVELS),
        default="standard",
        help="how thoroughly (default standard)",
    )
    parser.add_argument(
        "--memory-cap-mb",
        type=_positive,
        help="kill the model above this (default 512, or half of RAM)",
    )
    parser.add_argument("--lock", type=Path, help="measuring lock (default EDGENAS_MEASURE_LOCK)")
    parser.add_argument("--json", action="store_true", help="print JSON (this is the default)")


def run(args: argparse.Namespace) -> int:
    """Carries the command out; 0 if there are samples, 1 if there are none."""
    lock = MachineLock(args.lock or default_lock_path(os.environ))
    outcome = measure(_plan(args), lock=lock)
    print(render(describe(outcome)))
    return 0 if isinstance(outcome, Measurement) and outcome.verdict in MEASURED else 1


def describe(outcome: MeasureOutcome) -> dict[str, object]:
    """The fields of the outcome, and for a measurement the summaries of its samples (ns)."""
    fields: dict[str, object] = {"kind": outcome.kind, **plain(outcome)}
    if isinstance(outcome, Measurement):
        candidate, reference = candidate_samples(outcome.legs), reference_samples(outcome.legs)
        ratio_summary = ratio(outcome.legs)
        fields["latency"] = asdict(summarize(candidate)) if candidate else None
        fields["reference_latency"] = asdict(summarize(reference)) if reference else None
        fields["ratio"] = asdict(ratio_summary) if ratio_summary else None
    return fields


def render(fields: Mapping[str, object]) -> str:
    """JSON with one field a line: readable in spite of hundreds of samples."""
    lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items()]
    return "{\n" + ",\n".join(lines) + "\n}"


def _plan(args: argparse.Namespace) -> MeasurePlan:
    if args.memory_cap_mb is None:
        available = meminfo_bytes().get("MemAvailable", 2 * MEMORY_CAP_BYTES)
        cap_bytes = min(MEMORY_CAP_BYTES, available // 2)
    else:
        cap_bytes = args.memory_cap_mb * MIB
    reference = args.reference.absolute() if args.reference else None
    return plan_at_level(
        LEVELS[args.level],
        args.model.absolute(),
        reference,
        threads=args.threads,
        cpus=args.cpus,
        memory_cap_bytes=cap_bytes,
    )


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
