"""The daemon's side of measuring: two fresh children under the machine lock, and a verdict on
what happened.

    child 1  load and memory: the candidate alone, its golden outputs
    child 2  latency: the candidate, interleaved with the reference

A model that does not fit, hangs or crashes is a value (``Measurement.verdict``); a board that
cannot measure now is one too (``JobFailed.code``). Neither numpy nor a runtime is imported here.
``attempt`` and ``rev`` are 0 until the agent fills them in; fetching bytes and reporting are left
to it.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from firmware_bridge.bench.container import flaw_of
from firmware_bridge.bench.endings import Attempted, failure_of, measurement_of
from firmware_bridge.bench.load import read_cpu_times
from firmware_bridge.bench.pinning import cpus_for
from firmware_bridge.bench.plan import MEMORY_CAP_BYTES, GoldenFile, MeasurePlan
from firmware_bridge.bench.preflight import Surroundings, Unfit
from firmware_bridge.bench.process import Ending, Limits, run_child
from firmware_bridge.bench.sensors import Sensors, flags_now
from firmware_bridge.bench.turn import when_fit
from firmware_bridge.facts import read_board
from firmware_bridge.machine_lock import (
    LockBusyError,
    LockCancelledError,
    MachineLock,
    MachineLockError,
)
from firmware_bridge.wire.messages import JobFailed, Measurement

LOCK_TIMEOUT_S = 600.0
PROBE_DEADLINE_S = 60.0
SELF_TEST_DEADLINE_S = 120.0

MeasureOutcome = Measurement | JobFailed


def _never() -> bool:
    return False


@dataclass(frozen=True)
class SelfTest:
    """Whether a model loads, runs and gives the outputs that it should.

    Attributes:
        ok: It does, within the tolerance.
        max_lsb: Largest output difference, None if it never got that far or there was nothing to
            compare.
        detail: Why not, None if ok.
    """

    ok: bool
    max_lsb: int | None
    detail: str | None


@dataclass(frozen=True)
class RuntimeProbe:
    """A runtime's ``label`` such as ``ai-edge-litert 2.1.2 xnnpack``, or why none works here.

    ``note`` says what is less than was asked for, such as a provider that did not load.
    """

    label: str | None
    flaw: str | None
    note: str | None = None


@dataclass
class _Session:
    """One ``measure`` call: its settings and what it has seen so far."""

    plan: MeasurePlan
    argv_prefix: Sequence[str]
    around: Surroundings
    polled: list[tuple[int, int | None]] = field(default_factory=list)


def measure(
    plan: MeasurePlan,
    *,
    argv_prefix: Sequence[str] = (sys.executable,),
    lock: MachineLock | None = None,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
    proc_root: Path | str = "/proc",
    sys_root: Path | str = "/sys",
    known_runtime: str | None = None,
    cancelled: Callable[[], bool] = _never,
    tell: Callable[[str], None] | None = None,
) -> MeasureOutcome:
    """Measures one model on this board; blocks until done, at most a few times ``plan.cap_ms``.

    Must be called from a thread that lives as long as the call: the children die with it.

    Args:
        plan: What and how.
        argv_prefix: How to start Python here; an emulator may stand before it.
        lock: Keeps other measurements of this machine away; None takes no lock.
        lock_timeout_s: Longest wait for the lock, over all tries at a quiet moment.
        proc_root, sys_root: Where board, load and sensors are read.
        known_runtime: Label for the fingerprint if no child gets as far as proving one.
        cancelled: Polled ten times a second.
        tell: Takes a line on what is being waited for; None logs it.

    Returns:
        A Measurement, feasible or not; or a JobFailed if the board could not measure (CANCELLED,
        LOCKED, NO_MEMORY, INTERNAL). Both with attempt 0 and rev 0.
    """
    around = Surroundings(Path(proc_root), Path(sys_root), cancelled)
    if tell is not None:
        around = replace(around, tell=tell)
    board = read_board(around.proc_root, around.sys_root)
    cpus = cpus_for(plan.cpus, plan.threads, board.clusters, os.sched_getaffinity(0))
    plan = replace(plan, cpus=cpus)
    session = _Session(plan, argv_prefix, around)
    attempted = Attempted(plan, board, known_runtime)
    refused = _refused_at_once(attempted)
    if refused is not None:
        return refused
    try:
        turn = when_fit(plan, around, lock, lock_timeout_s)
        with turn as granted:
            attempted.waiting_ms = granted.waited_ms
            if granted.unfit is not None:
                return give_up(attempted, granted.unfit)
            return _measure_now(session, attempted)
    except (MachineLockError, OSError) as error:
        return board_failure(error, argv_prefix)


def self_test(
    model_path: Path,
    golden: GoldenFile | None,
    threads: int = 1,
    *,
    tolerance_lsb: int = 1,
    memory_cap_bytes: int = MEMORY_CAP_BYTES,
    deadline_s: float = SELF_TEST_DEADLINE_S,
    argv_prefix: Sequence[str] = (sys.executable,),
    cancelled: Callable[[], bool] = _never,
) -> SelfTest:
    """Loads and runs a model in a child and compares its golden outputs.

    Args:
        model_path: The model to try.
        golden: Known inputs and outputs; None only loads and runs.
        threads: Interpreter threads.
        tolerance_lsb: Largest difference an output code may show.
        memory_cap_bytes: The child dies above this.
        deadline_s: The child dies after this.
        argv_prefix: How to start Python here.
        cancelled: Polled ten times a second.
    """
    flaw = flaw_of(model_path)
    if flaw is not None:
        return SelfTest(False, None, flaw)
    plan = MeasurePlan(
        model_path=model_path, golden=golden, threads=threads, memory_cap_bytes=memory_cap_bytes
    )
    request = {"pass": "golden", "cpus": [], "plan": plan.to_fields()}
    limits = Limits(deadline_s, memory_cap_bytes, math.ceil(deadline_s * threads) + 1)
    try:
        ending = run_child(argv_prefix, request, limits, cancelled=cancelled)
    except OSError as error:
        return SelfTest(False, None, no_child(argv_prefix, error))
    return _tested(ending, tolerance_lsb)


def probe_runtime(
    argv_prefix: Sequence[str] = (sys.executable,),
    *,
    deadline_s: float = PROBE_DEADLINE_S,
    cancelled: Callable[[], bool] = _never,
) -> RuntimeProbe:
    """Runs a one-operator model in a child, so that not even SIGILL can reach the caller."""
    limits = Limits(deadline_s, cpu_s=math.ceil(deadline_s) + 1)
    request = {"pass": "probe", "cpus": []}
    try:
        ending = run_child(argv_prefix, request, limits, cancelled=cancelled)
    except OSError as error:
        return RuntimeProbe(None, no_child(argv_prefix, error))
    if ending.result is None:
        return RuntimeProbe(None, ending.story())
    return RuntimeProbe(str(ending.stages["runtime"]), None, ending.stages.get("runtime_note"))


def _tested(ending: Ending, tolerance_lsb: int) -> SelfTest:
    """The verdict on a self-test whose child has ended."""
    if ending.result is None:
        return SelfTest(False, None, ending.story())
    max_lsb, golden_flaw = ending.result["golden_max_lsb"], ending.result["golden_flaw"]
    if golden_flaw is not None:
        return SelfTest(False, None, golden_flaw)
    if max_lsb is not None and max_lsb > tolerance_lsb:
        detail = f"expected outputs within {tolerance_lsb} LSB of the golden ones, got {max_lsb}"
        return SelfTest(False, max_lsb, detail)
    return SelfTest(True, max_lsb, None)


def _refused_at_once(attempted: Attempted) -> MeasureOutcome | None:
    """The answer where the files alone show that nothing can be measured."""
    plan = attempted.plan
    flaw = flaw_of(plan.model_path)
    if flaw is not None:
        return measurement_of(attempted, "unsupported_op", flaw)
    if plan.reference_path is not None and (flaw := flaw_of(plan.reference_path)):
        return failure_of("INTERNAL", f"reference model: {flaw}", retryable=False)
    return None


def _measure_now(session: _Session, attempted: Attempted) -> MeasureOutcome:
    plan, around = session.plan, session.around
    started = time.monotonic()
    attempted.load_before = read_cpu_times(around.proc_root, plan.cpus)
    attempted.take_memory(_run_pass(session, "memory", plan.memory_cap_bytes))
    if attempted.blame is None:
        sensors = Sensors(around.sys_root, plan.cpus, supply=True)
        attempted.bits_before = flags_now(sensors)
        with kept_off(plan.cpus):
            second = _run_pass(session, "latency", 2 * plan.memory_cap_bytes, sensors)
        attempted.bits_after = flags_now(sensors)
        attempted.take_latency(second, session.polled)
    attempted.load_after = read_cpu_times(around.proc_root, plan.cpus)
    attempted.measuring_ms = _elapsed_ms(started)
    return attempted.outcome()


def _run_pass(
    session: _Session, name: str, cap_bytes: int, sensors: Sensors | None = None
) -> Ending:
    plan = session.plan

    def look() -> None:
        if sensors is not None:
            session.polled.append((time.perf_counter_ns(), sensors.read().throttle_bits))

    return run_child(
        session.argv_prefix,
        request_of(name, plan, session.around.sys_root),
        limits_of(plan, cap_bytes),
        cancelled=session.around.cancelled,
        on_tick=look,
    )


def request_of(name: str, plan: MeasurePlan, sys_root: Path) -> dict[str, object]:
    """What a child is asked that carries one pass of a plan out."""
    return {
        "pass": name,
        "cpus": list(plan.cpus),
        "sys_root": str(sys_root),
        "plan": plan.to_fields(),
    }


def limits_of(plan: MeasurePlan, cap_bytes: int) -> Limits:
    """What a child may use that carries one pass of a plan out."""
    deadline_s = (plan.cap_ms + plan.startup_ms) / 1000
    return Limits(deadline_s, cap_bytes, math.ceil(deadline_s * plan.threads) + 1)


def give_up(attempted: Attempted, unfit: Unfit) -> MeasureOutcome:
    """The answer of a board that must not be measured now."""
    if unfit.obstacle == "busy" or unfit.obstacle == "throttled":
        return measurement_of(attempted, unfit.obstacle, unfit.detail)
    return failure_of(unfit.obstacle, unfit.detail, retryable=unfit.obstacle == "NO_MEMORY")


@contextmanager
def kept_off(cpus: tuple[int, ...]) -> Iterator[None]:
    """Moves the calling thread away from the pinned CPUs, if there are others."""
    allowed = os.sched_getaffinity(0)
    others = allowed - set(cpus)
    if not cpus or not others:
        yield
        return
    with suppress(OSError):
        os.sched_setaffinity(0, others)
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, allowed)


def _elapsed_ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


def board_failure(error: MachineLockError | OSError, argv_prefix: Sequence[str]) -> JobFailed:
    """The answer where the lock could not be had or no child could be started."""
    if isinstance(error, LockCancelledError):
        return failure_of("CANCELLED", str(error), retryable=False)
    if isinstance(error, LockBusyError):
        return failure_of("LOCKED", str(error), retryable=True)
    if isinstance(error, OSError):
        return failure_of("INTERNAL", no_child(argv_prefix, error), retryable=False)
    return failure_of("INTERNAL", str(error), retryable=False)


def no_child(argv_prefix: Sequence[str], error: OSError) -> str:
    """Why a child could not be started, in words."""
    return (
        f"expected to start a child with {list(argv_prefix)}, got: {error}; "
        "correct how Python is started here"
    )
