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
from dataclasses import asdict
from pathlib import Path
from typing import Any

from firmware_bridge.bench import memory
from firmware_bridge.bench.answer import AnswerLine
from firmware_bridge.bench.container import file_format_of
from firmware_bridge.bench.page_cache import drop_from_cache
from firmware_bridge.bench.plan import GoldenFile, MeasurePlan
from firmware_bridge.bench.sampling import Instruments, Letter, Sampler, SamplingRule
from firmware_bridge.bench.sensors import Sensors
from firmware_bridge.bench.stub import STUB_INPUT, STUBS
from firmware_bridge.runtimes.choice import chosen_runtime
from firmware_bridge.runtimes.errors import (
    InputMismatchError,
    ModelRefusedError,
    RuntimeBrokenError,
    RuntimeMissingError,
    RuntimeUnknownError,
)
from firmware_bridge.runtimes.installed import find_runtime
from firmware_bridge.runtimes.model import Model, Runtime, random_inputs

MEMORY_INVOKES = 10
SEED = 20_240_501


def carry_out(request: Mapping[str, Any], answer: AnswerLine) -> None:
    """Runs the pass that the request names and answers with its result or its failure."""
    try:
        plan = request.get("plan")
        runtime = _import_for(Path(plan["model_path"]) if plan else None, answer)
        delegate = prove(runtime)
        answer.stage(runtime=runtime.label(delegate), runtime_note=runtime.shortfall(delegate))
        answer.done(PASSES[request["pass"]](request, runtime, answer))
    except (RuntimeUnknownError, RuntimeMissingError, RuntimeBrokenError) as error:
        answer.failed("runtime", str(error))
    except ModelRefusedError as error:
        answer.failed("unsupported_op", str(error))
    except InputMismatchError as error:
        answer.failed("mismatch", str(error))
    except MemoryError:
        answer.failed("oom", "Python could not allocate memory")
    except OSError as error:
        answer.failed("io", f"{error.strerror or error}: {error.filename or 'a file of the plan'}")


def _import_for(path: Path | None, answer: AnswerLine) -> Runtime:
    """Imports the runtime for a file, or the preferred one for none.

    A wheel that does not suit this CPU kills this process; the parent then knows which it was.
    """
    file_format = file_format_of(path) if path else None
    chosen = chosen_runtime(os.environ)
    return find_runtime(file_format, chosen, lambda name: answer.stage(importing=name))


def prove(runtime: Runtime) -> str:
    """Runs the one-operator model and returns who computed it.

    This also pays for what costs memory only once: the delegate, and numpy's random generator.

    Raises:
        RuntimeBrokenError: It does not build, or gives wrong numbers.
    """
    try:
        model = runtime.open(STUBS[runtime.file_format], 1)
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
    return model.delegate


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
    model, load_cold_ns = _timed(lambda: runtime.open(plan.model_path, plan.threads))
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
    model, load_warm_ns = _timed(lambda: runtime.open(plan.model_path, plan.threads))
    return {
        "load_cold_ns": load_cold_ns,
        "load_warm_ns": load_warm_ns,
        "first_invoke_ns": first_invoke_ns,
        "memory": seen,
        "peak_rss_bytes": peak,
        "runtime": runtime.label(model.delegate),
        "runtime_note": runtime.shortfall(model.delegate),
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
        same = file_format_of(plan.reference_path) == runtime.file_format
        beside = runtime if same else _import_for(plan.reference_path, answer)
        models["R"] = _ready(plan.reference_path, plan.threads, beside)
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
    invokes = {letter: each.invoke for letter, each in models.items()}
    sampler = Sampler(rule, invokes, instruments)
    legs = sampler.run()
    return {
        "legs": [asdict(leg) for leg in legs],
        "discarded": [asdict(span) for span in sampler.discarded],
        "runtime": runtime.label(models["C"].delegate),
    }


def operators_pass(
    request: Mapping[str, Any], runtime: Runtime, answer: AnswerLine
) -> dict[str, object]:
    """Time of each operator, or None where the runtime tells none."""
    plan = MeasurePlan.from_fields(request["plan"])
    model = _ready(plan.model_path, plan.threads, runtime)
    times = model.operator_times(request["invocations"])
    return {
        "operators": None if times is None else [asdict(each) for each in times],
        "runtime": runtime.label(model.delegate),
    }


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
    "operators": operators_pass,
}


def _ready(path: Path, threads: int, runtime: Runtime) -> Model:
    """The model, fed with fixed inputs and run once."""
    model = runtime.open(path, threads)
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
