"""``--engine benchmark_model``: a real program is run in the fence, and every end is a verdict."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware_bridge.bench.details import Bench
from firmware_bridge.bench.external import (
    EngineMissingError,
    EngineReport,
    find_engine,
    measure_with_engine,
)
from firmware_bridge.bench.stub import STUBS
from firmware_bridge.machine_lock import MachineLock
from firmware_bridge.wire.messages import JobFailed, Measurement
from tests.firmware_bridge.bench import tiny_model
from tests.firmware_bridge.bench.plans import MIB, brisk
from tests.firmware_bridge.bench.stand_in import put_program


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    lock = MachineLock(tmp_path / "lock")
    return Bench((sys.executable,), lock, Path("/proc"), Path("/sys"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_model.dense(np.eye(64, dtype=np.int8)))
    return path


def calls(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def measurement(report: EngineReport) -> Measurement:
    assert isinstance(report.outcome, Measurement), report.outcome
    return report.outcome


def test_load_memory_latency_and_operators_are_runs_apart(
    model: Path, bench: Bench, tmp_path: Path
) -> None:
    program, log = put_program(tmp_path)
    cpu = max(os.sched_getaffinity(0))
    plan = brisk(model, threads=1, cpus=(cpu,), min_samples=40)
    report = measure_with_engine(plan, program, bench, operators=True)
    outcome, us = measurement(report), max(model.stat().st_size // 10, 10)
    assert outcome.verdict == "ok"
    assert outcome.load_cold_ns == us * 10_000
    assert outcome.memory["peak_delta_bytes"] == round(2.25 * MIB)
    assert outcome.memory["peak_bytes"] == round(7.5 * MIB)
    assert (outcome.runtime or "").startswith("benchmark_model ")
    assert (outcome.runtime or "").endswith(" xnnpack")
    assert report.latency is not None
    assert (report.latency.count, report.latency.p50_ns) == (40, us * 1000)
    assert report.operators is not None
    assert [each.ns for each in report.operators.operators or ()] == [20 * 93_000, 20 * 31_000]

    memory, latency, operators = calls(log)
    assert memory["report_peak_memory_footprint"] == "true"
    assert latency["report_peak_memory_footprint"] == "false"
    assert "profiling_output_csv_file" in operators
    assert all(call["cpus"] == [cpu] and call["stdin"] == "" for call in calls(log))
    assert not Path(operators["profiling_output_csv_file"]).exists()


def test_two_models_take_turns_and_their_ratio_has_an_interval(
    model: Path, bench: Bench, tmp_path: Path
) -> None:
    program, log = put_program(tmp_path)
    other = tmp_path / "other.tflite"
    other.write_bytes(tiny_model.dense(np.eye(128, dtype=np.int8)))
    report = measure_with_engine(brisk(model, reference_path=other), program, bench)
    assert measurement(report).verdict == "ok"
    names = [Path(call["graph"]).stem[0] for call in calls(log)]
    assert "".join(names) == "m" + "ommo" * 5
    assert report.ratio is not None
    expected = (model.stat().st_size // 10) / (other.stat().st_size // 10)
    assert report.ratio.ratio == pytest.approx(expected)
    assert report.ratio.finding == "faster"


@pytest.mark.parametrize(
    ("misbehave", "verdict", "told"),
    [
        ("os.abort()", "crash", "SIGABRT"),
        ("import time; time.sleep(600)", "timeout", "deadline"),
        (
            "held = bytearray(b'x' * (300 << 20)); import time; time.sleep(600)",
            "oom",
            "memory_cap_bytes",
        ),
        (
            "print('ERROR: Failed to allocate tensors!'); sys.exit(1)",
            "unsupported_op",
            "allocate tensors",
        ),
    ],
    ids=["abort", "hang", "memory", "refusal"],
)
def test_each_bad_end_is_a_verdict(
    misbehave: str, verdict: str, told: str, model: Path, bench: Bench, tmp_path: Path
) -> None:
    program, _ = put_program(tmp_path, misbehave=misbehave)
    startup_ms = 1500 if verdict == "timeout" else 30_000  # elsewhere a slow machine has the time
    plan = brisk(model, cap_ms=500, startup_ms=startup_ms, memory_cap_bytes=200 * MIB)
    outcome = measurement(measure_with_engine(plan, program, bench))
    assert outcome.verdict == verdict
    assert told in (outcome.detail or "")


@pytest.mark.parametrize(
    ("misbehave", "told"),
    [("sys.exit(0)", "Inference timings"), ("sys.exit('no such flag')", "no such flag")],
    ids=["says-nothing", "fails"],
)
def test_a_tool_that_does_not_do_its_work_is_no_fault_of_the_model(
    misbehave: str, told: str, model: Path, bench: Bench, tmp_path: Path
) -> None:
    program, _ = put_program(tmp_path, misbehave=misbehave)
    outcome = measure_with_engine(brisk(model), program, bench).outcome
    assert isinstance(outcome, JobFailed)
    assert outcome.code == "INTERNAL"
    assert told in outcome.detail


def test_a_build_without_percentiles_gives_means(model: Path, bench: Bench, tmp_path: Path) -> None:
    program, _ = put_program(tmp_path, percentiles=False, csv="nothing of use")
    report = measure_with_engine(brisk(model), program, bench, operators=True)
    assert measurement(report).verdict == "ok"
    assert report.latency is not None
    assert report.latency.p50_ns is None
    assert report.operators is not None
    assert report.operators.operators is None
    assert "no times per operator" in (report.operators.note or "")


@pytest.mark.parametrize("content", [b"hello, this is certainly no model", STUBS["onnx"]])
def test_a_file_that_is_no_tflite_model_is_not_given_to_the_tool(
    content: bytes, bench: Bench, tmp_path: Path
) -> None:
    program, log = put_program(tmp_path)
    path = tmp_path / "file"
    path.write_bytes(content)
    assert measurement(measure_with_engine(brisk(path), program, bench)).verdict == "unsupported_op"
    assert not log.exists()


def test_the_program_is_found_where_it_was_named_or_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, _ = put_program(tmp_path)
    assert find_engine(program) == program
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_engine(None) == program
    program.chmod(0o644)
    for named in (program, None):
        with pytest.raises(EngineMissingError, match=r"found none.*--engine-path"):
            find_engine(named)
