"""``edgenas-device bench`` prints one JSON object and an exit status that a script can use."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware_bridge.bench import command
from firmware_bridge.machine_lock import MachineLock
from tests.firmware_bridge.bench import tiny_model


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    status = command.run(parser.parse_args(arguments))
    return status, json.loads(capsys.readouterr().out)


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.tflite"
    path.write_bytes(tiny_model.dense(np.eye(8, dtype=np.int8)))
    return str(path)


def test_a_measured_model_gives_fields_and_summaries(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = str(tmp_path / "lock")
    options = ("--level", "quick", "--reference", model, "--lock", lock, "--memory-cap-mb", "256")
    status, printed = bench(capsys, model, *options)
    assert status == 0
    assert printed["kind"] == "measurement"
    assert printed["verdict"] in command.MEASURED
    assert printed["latency"]["n"] >= 60
    assert printed["latency"]["p50_ns"] > 0
    assert printed["reference_latency"]["n"] >= 60
    assert printed["ratio"]["rounds"] >= 5
    assert printed["memory"]["peak_delta_bytes"] >= 0


def test_a_file_that_is_no_model_gives_a_verdict_and_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello, this is certainly no model")
    status, printed = bench(capsys, str(path), "--lock", str(tmp_path / "lock"))
    assert status == 1
    assert printed["verdict"] == "unsupported_op"
    assert printed["latency"] is None
    assert printed["ratio"] is None


def test_a_board_that_cannot_measure_gives_a_code_and_status_1(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    status, printed = bench(capsys, model, "--level", "quick", "--lock", str(folder))
    assert status == 1
    assert (printed["kind"], printed["code"]) == ("job_failed", "INTERNAL")


def test_the_lock_of_the_environment_is_used(
    model: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDGENAS_MEASURE_LOCK", str(tmp_path / "named"))
    assert bench(capsys, model, "--level", "quick", "--memory-cap-mb", "256")[0] == 0
    with MachineLock(tmp_path / "named").hold(0):
        pass
    assert (tmp_path / "named").read_text().startswith("process ")


@pytest.mark.parametrize(
    "arguments", [("--threads", "0"), ("--cpus", "a,b"), ("--memory-cap-mb", "many")]
)
def test_senseless_arguments_are_refused(
    arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["model.tflite", *arguments])
    assert "expected" in capsys.readouterr().err
