"""Doctor tries the runtime in a child, knows what does not go together, and reads the service."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from firmware_bridge.doctor import software
from firmware_bridge.facts import read_board

Versions = dict[str, str]


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> Versions:
    """Versions of what is installed, as far as doctor can see."""
    made: Versions = {}
    monkeypatch.setattr(software, "_version", made.get)
    return made


def test_the_runtime_here_runs_a_model() -> None:
    found = software.check_runtime((sys.executable,))
    assert (found.status, "ran a model" in found.cause) == ("ok", True)


@pytest.mark.parametrize(
    ("installed", "code", "told"),
    [
        ({}, "runtime-missing", "edgenas[device]"),
        ({"ai-edge-litert": "2.3.0", "numpy": "2.2.6"}, "runtime-broken", "this processor"),
        ({"tflite-runtime": "2.14.0", "numpy": "2.2.6"}, "runtime-broken", "numpy<2"),
    ],
)
def test_a_runtime_that_cannot_run_is_found_in_a_child(
    versions: Versions, tmp_path: Path, installed: Mapping[str, str], code: str, told: str
) -> None:
    versions.update(installed)
    script = tmp_path / "illegal"
    script.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    found = software.check_runtime((sys.executable, str(script)))
    assert (found.status, found.code) == ("fail", code)
    assert "SIGILL" in found.cause
    assert told in found.fix


def test_a_32_bit_python_on_a_64_bit_kernel_is_found() -> None:
    board = replace(read_board(machine="armv8l"), python_bits=32)
    found = software.check_python(board)
    assert (found.code, found.status) == ("python-32-bit", "warn")
    assert "32-bit, on armv8l" in found.cause
    assert software.check_python(replace(board, machine="aarch64")).status == "ok"
    assert software.check_python(replace(board, machine="armv7l")).status == "ok"


def test_a_python_below_the_floor_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "MIN_PYTHON", (9, 0))
    assert software.check_python(read_board()).code == "python-old"


def test_numpy_2_beside_tflite_runtime_is_found(versions: Versions) -> None:
    assert software.check_numpy().code == "numpy-missing"
    versions.update({"numpy": "2.2.6", "tflite-runtime": "2.14.0"})
    found = software.check_numpy()
    assert (found.code, found.fix) == ("numpy-too-new", "pip install 'numpy<2'")
    versions["numpy"] = "1.26.4"
    assert software.check_numpy().status == "ok"
    versions.update({"numpy": "2.2.6", "ai-edge-litert": "2.3.0"})
    assert software.check_numpy().status == "ok"  # the newer runtime answers


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert software.check_packages().status == "ok"
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "paho" else object()
    )
    found = software.check_packages()
    assert (found.code, found.fix) == ("packages-missing", "pip install paho-mqtt")


LOADED = {"LoadState": "loaded", "UnitFileState": "enabled", "ActiveState": "active"}


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (None, ""),
        (LOADED, ""),
        ({**LOADED, "ActiveState": "inactive"}, ""),  # enabled, waiting for its settings
        ({"LoadState": "not-found", "UnitFileState": ""}, "service-missing"),
        ({**LOADED, "UnitFileState": "disabled"}, "service-disabled"),
        ({**LOADED, "ActiveState": "failed", "Result": "watchdog"}, "service-failed"),
    ],
)
def test_the_service_is_judged_by_what_systemd_says(
    state: Mapping[str, str] | None, code: str
) -> None:
    found = software.check_service(state)
    assert found.code == code
    assert bool(found.fix) == bool(code)


def test_systemd_is_asked_only_where_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert software.read_service(tmp_path / "absent") is None
    tool = tmp_path / "systemctl"
    tool.write_text('#!/bin/sh\necho "LoadState=loaded"\necho "Result=exit-code"\necho "$2" >&2\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert software.read_service(tmp_path) == {"LoadState": "loaded", "Result": "exit-code"}
    tool.write_text("#!/bin/sh\nexit 1\n")
    assert software.read_service(tmp_path) is None
