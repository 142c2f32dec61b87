"""What a child does with a model: the memory pass, the latency pass, the golden pass and the
runtime probe.

Runs only inside ``worker``: it imports numpy and a runtime. It returns plain values; verdicts and
limits are left to the parent.
"""

from __future__ import annotations

import gc
import os
import resource
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from firmware_bridge.bench import memory
from firmware_bridge.bench.answer import AnswerLine
from firmware_bridge.bench.plan import GoldenFile, MeasurePlan
from firmware_bridge.bench.sampling import Instruments, Letter, Sampler, SamplingRule
from firmware_bridge.bench.sensors import Sensors
from firmware_bridge.bench.stub import STUB_INPUT, STUB_MODEL
from firmware_bridge.interpreter import (
    InputMismatchError,
    Model,
    ModelRefusedError,
    Runtime,
    RuntimeBrokenError,
    RuntimeMissingError,
    find_runtime,
    random_inputs,
)

MEMORY_INVOKES = 10
SEED = 20_240_501


def carry_out(request: Mapping[str, Any], answer: AnswerLine) -> None:
    """Runs the pass that the request names and answers with its result or its failure."""
    try:
        runtime = find_runtime()
        label = prove(runtime)
        answer.stage(runtime=label)
        answer.done(PASSES[request["pass"]](request, runtime, answer))
    except (RuntimeMissingError, RuntimeBrokenError) as error:
        answer.failed("runtime", str(error))
    except ModelRefusedError as error:
        answer.failed("unsupported_op", str(error))
    except InputMismatchError as error:
        answer.failed("mismatch", str(error))
    except MemoryError:
        answer.failed("oom", "Python could not allocate memory")
    except OSError as error:
        answer.failed("io", f"{error.strerror or error}: {error.filename or 'a file of the plan'}")


def prove(runtime: Runtime) -> str:
    """Runs the one-operator model and returns the runtime's label.

    This also pays for what costs memory only once: the delegate, and numpy's random generator.

    Raises:
        RuntimeBrokenError: It does not build, or gives wrong numbers.
    """
    try:
        model = Model(STUB_MODEL, 1, runtime)
        model.feed_bytes(STUB_INPUT)
        model.run_checked()
        wrong_by = model.distance_lsb(STUB_INPUT)
        model.feed(random_inputs(model, SEED))
    except (ModelRefusedError, InputMismatchError) as error:
        raise RuntimeBrokenError(
            f"{runtime.name} {runtime.version} is installed but cannot run a known good model: "
            f"{error}; tflite-runtime needs numpy<2"
        ) from error
    if wrong_by:
        raise RuntimeBrokenError(
            f"{runtime.name} {runtime.version} computes an identity wrongly, by {wrong_by}; "
            "its build does not suit this CPU"
        )
    return runtime.label(model.delegate)


def probe(request: Mapping[str, Any], runtime: Runtime, answer: AnswerLine) -> dict[str, object]:
    """Nothing but the proof that ``carry_out`` has made already."""
    return {"name": runtime.name, "version": runtime.version}


def memory_pass(
    request: Mapping[str, Any], runtime: Runtime, answer: AnswerLine
) -> dict[str, object]:
    """Loads the model cold, invokes it ten times, reads the peak; then loads it warm and checks it.

    The peak counts from a baseline taken with the runtime imported and used once.
    """
    plan = MeasurePlan.from_fields(request["plan"])
    gc.collect()
    method = "clear_refs" if memory.reset_peak() else "hwm"
    baseline = memory.status_bytes("self")["VmRSS" if method == "clear_refs" else "VmHWM"]
    drop_from_cache(plan.model_path)
    model, load_cold_ns = _timed(lambda: Model(plan.model_path, plan.threads, runtime))
    model.feed(random_inputs(model, SEED))
    _, first_invoke_ns = _timed(model.run_checked)
    for _ in range(MEMORY_INVOKES - 1):
        model.run_checked()
    peak = memory.status_bytes("self")["VmHWM"]
    seen: dict[str, int | str | None] = {
        "peak_delta_bytes": max(peak - baseline, 0),
        "baseline_bytes": baseline,
        "method": method,
        **memory.snapshot(),
        "model_file_bytes": plan.model_path.stat().st_size,
        "arena_bytes": None,
    }
    del model
    model, load_warm_ns = _timed(lambda: Model(plan.model_path, plan.threads, runtime))
    return {
        "load_cold_ns": load_cold_ns,
        "load_warm_ns": load_warm_ns,
        "first_invoke_ns": first_invoke_ns,
        "memory": seen,
        "peak_rss_bytes": peak,
        "runtime": runtime.label(model.delegate),
        **_golden_result(model, plan.golden),
    }


def latency_pass(
    request: Mapping[str, Any], runtime: Runtime, answer: AnswerLine
) -> dict[str, object]:
    """Samples the candidate, interleaved with the reference if there is one."""
    plan = MeasurePlan.from_fields(request["plan"])
    models: dict[Letter, Model] = {"C": _ready(plan.model_path, plan.threads, runtime)}
    if plan.reference_path is not None:
        answer.stage(loading="reference")
        models["R"] = _ready(plan.reference_path, plan.threads, runtime)
    answer.stage(loading="done")
    sensors = Sensors(Path(request["sys_root"]), plan.cpus)
    rule = SamplingRule(
        plan.min_samples,
        plan.max_samples,
        plan.min_time_ms,
        plan.cap_ms,
        plan.warmup_ms,
        plan.min_rounds,
        plan.leg,
    )
    instruments = Instruments(time.perf_counter_ns, _switches, sensors.read)
    gc.collect()
    gc.freeze()
    legs = Sampler(
        rule, {letter: each.invoke for letter, each in models.items()}, instruments
    ).run()
    return {"legs": [asdict(leg) for leg in legs], "runtime": runtime.label(models["C"].delegate)}


def golden_pass(
    request: Mapping[str, Any], runtime: Runtime, answer: AnswerLine
) -> dict[str, object]:
    """Loads the model, runs it once, and compares its golden outputs if it has some."""
    plan = MeasurePlan.from_fields(request["plan"])
    model = _ready(plan.model_path, plan.threads, runtime)
    return _golden_result(model, plan.golden)


PASSES: dict[str, Callable[[Mapping[str, Any], Runtime, AnswerLine], dict[str, object]]] = {
    "probe": probe,
    "memory": memory_pass,
    "latency": latency_pass,
    "golden": golden_pass,
}


def drop_from_cache(path: Path) -> None:
    """Asks the kernel to forget the file's pages, so that the next load is a cold one."""
    with path.open("rb") as stream, suppress(OSError):
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _ready(path: Path, threads: int, runtime: Runtime) -> Model:
    """The model, fed with fixed inputs and run once."""
    model = Model(path, threads, runtime)
    model.feed(random_inputs(model, SEED))
    model.run_checked()
    return model


def _golden_result(model: Model, golden: GoldenFile | None) -> dict[str, object]:
    """Largest output difference, or why there is none: a golden that does not fit says nothing."""
    if golden is None:
        return {"golden_max_lsb": None, "golden_flaw": None}
    try:
        return {"golden_max_lsb": _compare(model, golden), "golden_flaw": None}
    except (InputMismatchError, OSError) as error:
        return {"golden_max_lsb": None, "golden_flaw": f"golden not compared: {error}"}


def _compare(model: Model, golden: GoldenFile) -> int:
    size = model.input_bytes
    got = golden.path.stat().st_size
    if got != size * golden.count:
        raise InputMismatchError(f"{golden.count} golden inputs", size * golden.count, got)
    width = len(golden.outputs) // golden.count
    worst = 0
    with golden.path.open("rb") as stream:
        for item in range(golden.count):
            model.feed_bytes(stream.read(size))
            model.run_checked()
            expected = golden.outputs[item * width : (item + 1) * width]
            worst = max(worst, model.distance_lsb(expected))
    return worst


def _timed(action: Callable[[], Any]) -> tuple[Any, int]:
    start = time.perf_counter_ns()
    result = action()
    return result, time.perf_counter_ns() - start


def _switches() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
