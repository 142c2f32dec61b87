"""``edgenas-device doctor`` finds what is wrong with a board and says how to mend it."""

import argparse
import json
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from firmware_bridge import doctor
from firmware_bridge.doctor import Patient
from firmware_bridge.facts import read_board
from firmware_bridge.machine_lock import MachineLock


def examine(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    return doctor.run(parser.parse_args(arguments))


def test_a_sound_machine_passes_with_one_line_a_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--state-dir", str(tmp_path), "--lock", str(tmp_path / "lock")]
    assert examine(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(("ok ", "warn ")) for line in lines)
    assert any("runtime" in line and "ran a model" in line for line in lines)


def test_json_holds_the_same_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--json", "--state-dir", str(tmp_path), "--lock", str(tmp_path / "lock")]
    assert examine(arguments) == 0
    findings = json.loads(capsys.readouterr().out)
    checks = [finding["check"] for finding in findings]
    assert checks == [
        "python", "runtime", "numpy", "packages", "cpu", "clear_refs", "disk", "governor",
        "throttling", "clock", "lock",
    ]  # fmt: skip
    assert all(finding["fix"] for finding in findings if finding["status"] != "ok")


def test_a_missing_folder_fails_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--state-dir", str(tmp_path / "no"), "--lock", str(tmp_path / "lock")]
    assert examine(arguments) == 1
    assert "fail disk" in capsys.readouterr().out


def test_a_broker_that_answers_and_one_that_does_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert doctor.check_broker(f"mqtt://127.0.0.1:{port}").status == "ok"
    gone = doctor.check_broker(f"mqtt://127.0.0.1:{port}")
    assert gone.status == "fail"
    assert f"127.0.0.1:{port}" in gone.cause


@pytest.mark.parametrize("url", ["", "localhost", "http://host", "mqtt://", "mqtt://host:many"])
def test_an_address_that_is_no_broker_is_refused_without_trying(url: str) -> None:
    finding = doctor.check_broker(url)
    assert finding.status == "fail"
    assert "mqtt://host:1883" in finding.cause


def test_credentials_are_not_printed() -> None:
    finding = doctor.check_broker("mqtt://user:secret@127.0.0.1:1")
    assert "secret" not in finding.cause + finding.fix


def test_a_runtime_that_cannot_run_is_found_in_a_child(tmp_path: Path) -> None:
    script = tmp_path / "illegal"
    script.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    finding = doctor.check_runtime(Patient(argv_prefix=(sys.executable, str(script))))
    assert finding.status == "fail"
    assert "SIGILL" in finding.cause


def test_a_32_bit_python_on_a_64_bit_kernel_is_found() -> None:
    board = replace(read_board(machine="aarch64"), python_bits=32)
    assert doctor.check_python(board).status == "fail"
    assert doctor.check_python(replace(board, python_bits=64)).status == "ok"


def test_numpy_2_beside_tflite_runtime_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"numpy": "2.2.6", "tflite-runtime": "2.14.0"}
    monkeypatch.setattr(doctor, "_version", versions.get)
    assert doctor.check_numpy().status == "fail"
    versions["numpy"] = "1.26.4"
    assert doctor.check_numpy().status == "ok"
    versions.clear()
    assert doctor.check_numpy().status == "fail"


def test_slow_governors_and_missing_features_are_warnings(tmp_path: Path) -> None:
    board = replace(read_board(tmp_path, tmp_path, tmp_path, "aarch64"), cpu_features=("asimd",))
    assert doctor.check_governor(replace(board, governor="ondemand")).status == "warn"
    assert doctor.check_governor(replace(board, governor="performance")).status == "ok"
    assert "asimddp" in doctor.check_cpu(board).cause
    assert doctor.check_cpu(replace(board, cpu_features=("asimd", "asimddp"))).status == "ok"


def test_the_throttle_source_is_named(tmp_path: Path) -> None:
    flags = tmp_path / "devices/platform/soc/soc:firmware/get_throttled"
    flags.parent.mkdir(parents=True)
    flags.write_text("0\n")
    finding = doctor.check_throttle_source(tmp_path)
    assert (finding.status, str(flags) in finding.cause) == ("ok", True)


def test_a_held_lock_is_no_fault_and_an_unusable_one_is(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with MachineLock(path).hold(0):
        assert "a measurement is running" in doctor.check_lock(path).cause
    assert doctor.check_lock(path).status == "ok"
    assert doctor.check_lock(tmp_path).status == "fail"
