"""``edgenas-device bench`` prints a page for people or JSON, and a status that a script can use."""

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware_bridge.bench import command
from firmware_bridge.bench.advice import MEASURED, advice_on
from firmware_bridge.bench.stub import STUBS
from firmware_bridge.machine_lock import MachineLock
from firmware_bridge.wire.messages import JobFailed
from tests.firmware_bridge.bench import tiny_model
from tests.firmware_bridge.bench.plans import program
from tests.firmware_bridge.bench.processes import running_with, wait_for
from tests.firmware_bridge.bench.stand_in import put_program

QUICK = ("--level", "quick", "--memory-cap-mb", "256")


@pytest.fixture(autouse=True)
def _own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGENAS_MEASURE_LOCK", str(tmp_path / "lock"))


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_model.dense(np.eye(8, dtype=np.int8)))
    return str(path)


@pytest.fixture
def slower(tmp_path: Path) -> str:
    path = tmp_path / "slower.tflite"
    path.write_bytes(tiny_model.convolution(48, 16, 16, 3))
    return str(path)


def page(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments)), capsys.readouterr().out


def fields(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    status, printed = page(capsys, *arguments, "--json")
    return status, json.loads(printed)


def test_people_get_a_page_with_units_and_a_verdict(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, printed = page(capsys, model, *QUICK)
    assert status == 0
    words = ("verdict", "latency, ms", "median (p50)", "memory, MiB", "peak, above the runtime")
    for word in (*words, "file not cached", "throttle flags", "others used the CPUs"):
        assert word in printed
    assert "{" not in printed
    assert "None" not in printed


def test_scripts_get_every_sample_and_its_summary(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, printed = fields(capsys, model, *QUICK)
    assert status == 0
    assert printed["kind"] == "measurement"
    assert printed["verdict"] in MEASURED
    samples = [value for leg in printed["legs"] for value in leg["samples_ns"]]
    assert len(samples) == printed["latency"]["n"] >= 60
    assert printed["latency"]["p50_ns"] in samples
    assert printed["memory"]["peak_delta_bytes"] >= 0
    assert printed["fingerprint"]["runtime"] == printed["runtime"]
    assert (printed["ratio"], printed["operators"], printed["against"]) == (None, None, None)


def test_two_models_are_compared_in_figures(
    model: str, slower: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, printed = fields(capsys, model, "--against", slower, *QUICK)
    assert status == 0
    assert {leg["model"] for leg in printed["legs"]} == {"R", "C"}
    assert printed["ratio"]["rounds"] >= 5
    assert printed["ratio"]["ci95"][1] < 1
    assert printed["ratio"]["finding"] == "faster"
    assert printed["reference_latency"]["p50_ns"] > printed["latency"]["p50_ns"]
    assert printed["against_loading"]["memory"]["model_file_bytes"] == Path(slower).stat().st_size


def test_two_models_are_compared_in_words(
    model: str, slower: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, printed = page(capsys, slower, "--against", model, *QUICK)
    assert status == 0
    assert "A takes " in printed
    assert "95 % CI" in printed
    assert "A is slower" in printed
    assert "A = slower.tflite" in printed
    assert "B = model.tflite" in printed


@pytest.mark.parametrize("content", [tiny_model.unknown_operator(), b"no model at all " * 9])
def test_a_broken_model_beside_is_named_as_the_one_to_blame(
    content: bytes, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "broken.tflite"
    other.write_bytes(content)
    status, told = fields(capsys, model, "--against", str(other), *QUICK)
    assert (status, told["verdict"]) == (1, "unsupported_op")
    assert told["detail"].startswith("broken.tflite: ")
    assert "export the model again" in told["advice"]


def test_an_onnx_model_tells_its_operators(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "stub.onnx"
    path.write_bytes(STUBS["onnx"])
    status, printed = page(capsys, str(path), "--operators", *QUICK)
    assert status == 0
    assert "onnxruntime" in printed
    assert "by kind" in printed
    assert "ms a run" in printed
    status, told = fields(capsys, str(path), "--operators", *QUICK)
    assert told["operators"]["invocations"] == 20
    assert all(each["ns"] >= 0 and each["count"] for each in told["operators"]["operators"])


def test_a_runtime_that_tells_no_operators_is_said_in_one_line(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, printed = page(capsys, model, "--operators", *QUICK)
    assert status == 0
    assert printed.rstrip().splitlines()[-1].endswith("offers no times per operator")


@pytest.mark.parametrize("asked", [(), ("--against", "MODEL"), ("--operators",)])
def test_a_file_that_is_no_model_gives_a_verdict_advice_and_status_1(
    asked: tuple[str, ...], model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello, this is certainly no model")
    words = [model if word == "MODEL" else word for word in asked]
    status, printed = page(capsys, str(path), *words)
    assert status == 1
    assert "verdict     unsupported_op" in printed
    assert "what to do  " in printed
    assert "median" not in printed
    status, told = fields(capsys, str(path), *words)
    assert (status, told["verdict"], told["latency"], told["ratio"]) == (
        1, "unsupported_op", None, None,
    )  # fmt: skip


def test_a_file_that_is_not_there_is_a_mistake_of_the_caller(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    absent = str(tmp_path / "absent.tflite")
    for words, got in (([absent], "none"), ([model, "--against", str(tmp_path)], "a folder")):
        assert command.run(parser.parse_args(words)) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert f"got {got}; check the path" in told.err


def test_a_board_that_cannot_measure_gives_a_code_and_status_1(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    status, printed = fields(capsys, model, "--level", "quick", "--lock", str(folder))
    assert status == 1
    assert (printed["kind"], printed["code"]) == ("job_failed", "INTERNAL")
    status, text = page(capsys, model, "--level", "quick", "--lock", str(folder))
    assert status == 1
    assert "failed (INTERNAL)" in text
    assert "edgenas-device doctor" in text


def test_the_lock_of_the_environment_is_used(
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDGENAS_MEASURE_LOCK", str(tmp_path / "named"))
    assert page(capsys, model, *QUICK)[0] == 0
    with MachineLock(tmp_path / "named").hold(0):
        pass
    assert (tmp_path / "named").read_text().startswith("process ")


def test_the_board_may_lie_in_a_folder(
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "temp").write_text("48212\n")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("Model\t\t: Raspberry Pi 4 Model B Rev 1.4\n")
    monkeypatch.setenv("EDGENAS_SYS_ROOT", str(tmp_path / "sys"))
    monkeypatch.setenv("EDGENAS_PROC_ROOT", str(tmp_path / "proc"))
    status, printed = page(capsys, model, *QUICK)
    assert status == 0
    assert "Raspberry Pi 4 Model B Rev 1.4" in printed
    assert "48.2 degrees Celsius" in printed


def test_the_other_engine_is_used_and_drawn(
    model: str, slower: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool, _ = put_program(tmp_path)
    engine = ("--engine", "benchmark_model", "--engine-path", str(tool))
    status, printed = page(capsys, model, "--against", slower, "--operators", *engine, *QUICK)
    assert status == 0
    assert "A is faster" in printed
    assert "benchmark_model " in printed
    assert "CONV_2D" in printed
    status, told = fields(capsys, model, *engine, *QUICK)
    assert told["engine"] == "benchmark_model"
    assert set(told["latency"]) >= {"n", "p50_ns", "p95_ns", "p95_upper95_ns", "mean_ns", "cv"}
    assert told["latency"]["p95_upper95_ns"] is None


def test_a_missing_engine_is_named_and_status_1(
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args([model, "--engine", "benchmark_model"])) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "expected the program benchmark_model on PATH" in said.err


def test_an_interrupt_ends_the_model_too_and_says_so(model: str, tmp_path: Path) -> None:
    note = tmp_path / "started"
    prefix = program(
        tmp_path,
        f"""
        import time
        open({str(note)!r}, "w").close()
        time.sleep(600)
        """,
    )
    bench = subprocess.Popen(
        [sys.executable, "-m", "firmware_bridge.cli", "bench", model, *QUICK],
        env={**os.environ, "EDGENAS_WORKER_ARGV": " ".join(prefix)},
        cwd=Path(__file__).resolve().parents[3],
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(note.exists)
    bench.send_signal(signal.SIGINT)
    said = bench.communicate()[1]
    assert bench.returncode == 130
    assert "interrupted" in said
    wait_for(lambda: not running_with(prefix[1]))


@pytest.mark.parametrize(
    "arguments",
    [("--threads", "0"), ("--cpus", "a,b"), ("--memory-cap-mb", "many"), ("--cap-s", "-1")],
)
def test_senseless_arguments_are_refused(
    arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["model.tflite", *arguments])
    assert "expected" in capsys.readouterr().err


def test_every_failure_comes_with_advice() -> None:
    for code in ("LOCKED", "NO_MEMORY", "INTERNAL", "CANCELLED", "EXPIRED"):
        outcome = JobFailed(attempt=0, rev=0, code=code, detail="x", retryable=False)
        assert advice_on(outcome)
