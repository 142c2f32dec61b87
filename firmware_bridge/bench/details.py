"""What a person at the board asks beyond a measurement: operators, and another model's memory.

Each question is one more child under the machine's lock. Nothing of this crosses the wire. Samples
and verdicts on them are left to ``supervise``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from firmware_bridge.bench.container import flaw_of
from firmware_bridge.bench.endings import Attempted, blame_of, failure_of, measurement_of
from firmware_bridge.bench.pinning import cpus_for
from firmware_bridge.bench.plan import MeasurePlan
from firmware_bridge.bench.process import Ending, run_child
from firmware_bridge.bench.supervise import (
    LOCK_TIMEOUT_S,
    MeasureOutcome,
    board_failure,
    limits_of,
    no_child,
    request_of,
)
from firmware_bridge.facts import read_board
from firmware_bridge.machine_lock import MachineLock, MachineLockError

OPERATOR_INVOCATIONS = 20


@dataclass(frozen=True)
class Operator:
    """What one operator took, as the runtime saw it.

    Attributes:
        name: As the runtime calls it.
        kind: What it computes.
        count: How often it ran.
        ns: Time of all these runs together.
    """

    name: str
    kind: str
    count: int
    ns: int


@dataclass(frozen=True)
class OperatorReport:
    """The operators of a model in execution order, or why there are none.

    Attributes:
        invocations: How often the whole model ran.
        operators: None if they cannot be told.
        note: Why not; None if they are told.
    """

    invocations: int
    operators: tuple[Operator, ...] | None
    note: str | None


@dataclass(frozen=True)
class Bench:
    """Where the questions are asked.

    Attributes:
        argv_prefix: How to start Python here.
        lock: The machine's lock; None takes no lock.
        proc_root, sys_root: Roots of procfs and sysfs.
    """

    argv_prefix: Sequence[str]
    lock: MachineLock | None
    proc_root: Path
    sys_root: Path

    def held(self) -> AbstractContextManager[float]:
        """The lock, for a ``with`` block."""
        return self.lock.hold(LOCK_TIMEOUT_S) if self.lock else nullcontext(0.0)


def operator_times(plan: MeasurePlan, bench: Bench) -> OperatorReport:
    """Runs a model under its runtime's own profiler, in a child."""
    try:
        ending = _one_pass("operators", plan, bench, invocations=OPERATOR_INVOCATIONS)
    except MachineLockError as error:
        return OperatorReport(0, None, str(error))
    except OSError as error:
        return OperatorReport(0, None, no_child(bench.argv_prefix, error))
    if ending.result is None:
        return OperatorReport(0, None, blame_of(ending).detail)
    told = ending.result["operators"]
    if told is None:
        runtime = ending.result["runtime"]
        return OperatorReport(0, None, f"{runtime} offers no times per operator")
    operators = tuple(Operator(**each) for each in told)
    return OperatorReport(OPERATOR_INVOCATIONS, operators, None)


def measure_loading(plan: MeasurePlan, bench: Bench) -> MeasureOutcome:
    """Load times and memory of a model alone; its answer has no samples and says nothing of noise.

    Meant for the other model of a comparison, whose latency is known already.
    """
    board = read_board(bench.proc_root, bench.sys_root)
    cpus = cpus_for(plan.cpus, plan.threads, board.clusters, os.sched_getaffinity(0))
    plan = replace(plan, cpus=cpus)
    attempted = Attempted(plan, board)
    flaw = flaw_of(plan.model_path)
    if flaw is not None:
        return measurement_of(attempted, "unsupported_op", flaw)
    try:
        attempted.take_memory(_one_pass("memory", plan, bench))
    except (MachineLockError, OSError) as error:
        return board_failure(error, bench.argv_prefix)
    blame = attempted.blame
    if blame is None:
        return measurement_of(attempted, "ok", None)
    if blame.verdict is not None:
        return measurement_of(attempted, blame.verdict, blame.detail)
    return failure_of(blame.failure or "INTERNAL", blame.detail, retryable=False)


def _one_pass(name: str, plan: MeasurePlan, bench: Bench, **more: object) -> Ending:
    request = request_of(name, plan, bench.sys_root) | more
    limits = limits_of(plan, plan.memory_cap_bytes)
    with bench.held():
        return run_child(bench.argv_prefix, request, limits, cancelled=lambda: False)
