"""The installed distribution, as a board has it: command line, doctor, bench, and a real daemon
that measures a real INT8 candidate for a host.

Runs only in the environments of `make test-devices`, which hold our wheel, a runtime and no host
side; skipped elsewhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import firmware_bridge
from firmware_bridge.wire.levels import LEVELS
from firmware_bridge.wire.messages import Golden, Measurement
from firmware_bridge.wire.mqtt import MqttLink
from tests.firmware_bridge.agent.boards import ProcessBoard
from tests.firmware_bridge.agent.host_double import HostDouble
from tests.firmware_bridge.wire.brokers import start_mosquitto

RUNTIME = os.environ.get("EDGENAS_DEVICE_RUNTIME", "")
CANDIDATE = Path(os.environ.get("EDGENAS_DEVICE_CANDIDATE", ""))
# What the host takes for the same network: kernels of tflite-runtime round differently from those
# that the host's answers come from, in every layer.
MAX_GOLDEN_LSB = 16
PROGRAM = Path(sys.executable).with_name("edgenas-device")

pytestmark = pytest.mark.skipif(not RUNTIME, reason="only in the environments of test-devices")


def edgenas_device(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostDouble]:
    broker = start_mosquitto(tmp_path, 262_144)
    made = HostDouble(MqttLink(f"mqtt://127.0.0.1:{broker.port}", "host"))
    made.open()
    yield made
    made.close()
    broker.stop()


def test_the_wheel_is_tested_and_not_a_checkout() -> None:
    home = Path(firmware_bridge.__file__).resolve()
    assert Path(sys.prefix).resolve() in home.parents
    found = {name for name in ("torch", "onnx", "rich") if _importable(name)}
    assert not found, "a board has none of these"


def test_doctor_finds_this_environment_fit(tmp_path: Path) -> None:
    lock = str(tmp_path / "lock")
    done = edgenas_device("doctor", "--json", "--state-dir", str(tmp_path), "--lock", lock)
    findings = {each["check"]: each for each in json.loads(done.stdout)}
    assert [c for c, each in findings.items() if each["status"] == "fail"] == []
    assert done.returncode == 0
    assert RUNTIME in findings["runtime"]["cause"]


def test_bench_measures_the_candidate(tmp_path: Path) -> None:
    model = str(CANDIDATE / "candidate.tflite")
    lock = str(tmp_path / "lock")
    done = edgenas_device("bench", model, "--level", "quick", "--json", "--lock", lock)
    assert done.returncode == 0, done.stderr
    assert RUNTIME in done.stdout
    assert '"verdict": "ok"' in done.stdout or '"verdict": "noisy"' in done.stdout


def test_a_daemon_measures_the_candidate_for_a_host(host: HostDouble, tmp_path: Path) -> None:
    model = host.add((CANDIDATE / "candidate.tflite").read_bytes())
    inputs = host.add((CANDIDATE / "inputs").read_bytes())
    outputs = (CANDIDATE / "outputs").read_bytes()
    level = LEVELS["quick"]
    job = host.job(
        model,
        reference=model,
        golden=Golden(inputs, 4, outputs.hex()),
        min_samples=level.min_samples,
        max_samples=level.max_samples,
    )
    address = host.link.address  # type: ignore[attr-defined]
    board = ProcessBoard(str(address), tmp_path)
    try:
        host.state(lambda state: state.online)
        answer = host.result(host.send_job(job))
    finally:
        assert board.stop() == 0, board.log.read_text()
    assert isinstance(answer, Measurement), answer
    assert answer.verdict in ("ok", "noisy"), answer.detail
    assert answer.golden_max_lsb is not None
    assert answer.golden_max_lsb <= MAX_GOLDEN_LSB
    assert RUNTIME in str(answer.runtime)
    assert sum(len(leg.samples_ns) for leg in answer.legs if leg.model == "C") >= level.min_samples
    peak = answer.memory["peak_delta_bytes"]
    assert isinstance(peak, int)
    assert peak > 0


def _importable(name: str) -> bool:
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is None)"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
