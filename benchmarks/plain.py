"""A plain loop over a TFLite interpreter: what edgenas' figures are compared with.

    python -m benchmarks.plain latency MODEL [--threads N] [--warmup-s S] [--seconds S] [--cpu N]
    python -m benchmarks.plain memory MODEL [--threads N]

Uses nothing of edgenas but for the one-operator model that both take as the beginning of memory.
`latency` prints its samples as one JSON line. `memory` prints a line and waits for one after each
of its two stages, so that another process can read /proc meanwhile.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import sys
import time
from typing import Any

import numpy as np

SEED = 7
MEMORY_RUNS = 10
RUNTIMES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")


def main() -> None:
    """Run one of the two modes."""
    options = _arguments()
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    if options.mode == "latency":
        _latency(options)
    else:
        _memory(options)


def _latency(options: argparse.Namespace) -> None:
    """Warm up, then time runs for so many seconds."""
    native = _interpreter(options.threads, model_path=options.model)
    until_ns = time.perf_counter_ns() + int(options.warmup_s * 1e9)
    while time.perf_counter_ns() < until_ns:
        native.invoke()
    gc.disable()
    samples: list[int] = []
    until_ns = time.perf_counter_ns() + int(options.seconds * 1e9)
    while (start_ns := time.perf_counter_ns()) < until_ns:
        native.invoke()
        samples.append(time.perf_counter_ns() - start_ns)
    print(json.dumps(samples))


def _memory(options: argparse.Namespace) -> None:
    """Import and run a small model; wait; load the model and run it ten times; wait."""
    from firmware_bridge.bench.stub import STUBS

    small = _interpreter(1, model_content=STUBS["tflite"])
    small.invoke()
    del small
    gc.collect()
    _wait("ready")
    native = _interpreter(options.threads, model_path=options.model)
    for _ in range(MEMORY_RUNS):
        native.invoke()
    _wait("done")


def _wait(stage: str) -> None:
    print(stage, flush=True)
    sys.stdin.readline()


def _interpreter(threads: int, **source: object) -> Any:
    """An interpreter with inputs at random over their full range."""
    native = _module().Interpreter(num_threads=threads, **source)
    native.allocate_tensors()
    rng = np.random.default_rng(SEED)
    for detail in native.get_input_details():
        native.set_tensor(detail["index"], _random(rng, detail["shape"], detail["dtype"]))
    return native


def _random(rng: np.random.Generator, shape: Any, dtype: Any) -> Any:
    if np.dtype(dtype).kind == "f":
        return rng.uniform(-1, 1, shape).astype(dtype)
    bounds = np.iinfo(dtype)
    return rng.integers(bounds.min, bounds.max, shape, dtype=dtype, endpoint=True)


def _module() -> Any:
    for name in RUNTIMES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise SystemExit("expected ai-edge-litert or tflite-runtime, got neither; install one of them")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("mode", choices=("latency", "memory"))
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--warmup-s", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--cpu", type=int, help="stay on this one")
    return parser.parse_args()


if __name__ == "__main__":
    main()
