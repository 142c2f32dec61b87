"""`edgenas-device run` as a real process against a real mosquitto: kills, restarts, clean ends."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from firmware_bridge.wire.messages import Measurement
from firmware_bridge.wire.mqtt import MqttLink
from tests.firmware_bridge.agent.boards import PROJECT, ProcessBoard
from tests.firmware_bridge.agent.host_double import DEADLINE_S, HostDouble
from tests.firmware_bridge.agent.releases import make_signer, some_weights
from tests.firmware_bridge.bench import tiny_model
from tests.firmware_bridge.wire.brokers import BrokerProcess, start_mosquitto

Start = Callable[..., ProcessBoard]
HEAVY = ("numpy", "litert", "tflite", "torch")


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[list[BrokerProcess]]:
    """The running broker as the last of a list, which a restart extends."""
    brokers = [start_mosquitto(tmp_path, None)]
    yield brokers
    brokers[-1].stop()


@pytest.fixture
def far_host(mosquitto: list[BrokerProcess]) -> Iterator[HostDouble]:
    host = HostDouble(MqttLink(f"mqtt://127.0.0.1:{mosquitto[-1].port}", "host"))
    host.open()
    host.announce()
    yield host
    host.close()


@pytest.fixture
def start(mosquitto: list[BrokerProcess], far_host: HostDouble, tmp_path: Path) -> Iterator[Start]:
    boards: list[ProcessBoard] = []

    def run(*more: str) -> ProcessBoard:
        before = max((state.sess for state in far_host.states), default=0)
        url = f"mqtt://127.0.0.1:{mosquitto[-1].port}"
        boards.append(ProcessBoard(url, tmp_path, *more))
        far_host.state(lambda state: state.online and state.sess > before)
        return boards[-1]

    yield run
    for board in boards:
        board.stop()


def test_a_clean_life_without_a_runtime_in_the_daemon(
    far_host: HostDouble, start: Start, model: bytes
) -> None:
    board = start()
    ref = far_host.add(model)
    result = far_host.result(far_host.send_job(far_host.job(ref, reference=ref)))
    assert isinstance(result, Measurement), result
    assert result.verdict in ("ok", "noisy")
    mapped = Path(f"/proc/{board.process.pid}/maps").read_text().lower()
    assert "sqlite" in mapped
    assert [name for name in HEAVY if name in mapped] == []
    assert board.stop() == 0
    farewell = far_host.state(lambda state: not state.online)
    assert farewell.reason == "shutdown"


def test_a_kill_in_the_middle_of_a_measurement_is_answered_after_the_restart(
    far_host: HostDouble, start: Start, model: bytes
) -> None:
    board = start()
    job = far_host.job(far_host.add(model), min_time_ms=1500, max_samples=1_000_000)
    job_id = far_host.send_job(job)
    far_host.event(job_id, "MEASURING")
    board.kill()
    start()
    result = far_host.result(job_id)
    assert isinstance(result, Measurement), result
    assert result.attempt == 2


def test_a_broker_restart_loses_no_answer(
    far_host: HostDouble,
    start: Start,
    model: bytes,
    mosquitto: list[BrokerProcess],
    tmp_path: Path,
) -> None:
    start()
    job = far_host.job(far_host.add(model), min_time_ms=1000, max_samples=1_000_000)
    job_id = far_host.send_job(job)
    far_host.event(job_id, "MEASURING")
    port = mosquitto[-1].port
    mosquitto[-1].stop()
    mosquitto.append(start_mosquitto(tmp_path, None, port))
    assert isinstance(far_host.result(job_id), Measurement)


def test_a_release_reaches_the_slot(far_host: HostDouble, start: Start, tmp_path: Path) -> None:
    signer = make_signer(far_host, tmp_path)
    start("--verify-key", str(signer.key_file))
    wish = signer.wish(signer.manifest(1, 2), 1)
    far_host.send_wish(wish)
    far_host.result(str(wish.deployment))
    current = tmp_path / "state" / "slots" / "main" / "current" / "model.tflite"
    assert current.read_bytes() == tiny_model.dense(some_weights(1))


def test_a_second_daemon_on_the_same_state_is_refused(start: Start, tmp_path: Path) -> None:
    start()
    command = [sys.executable, "-m", "firmware_bridge.cli", "run", "--broker", "mqtt://127.0.0.1:1"]
    command += ["--fleet", "lab", "--id", "board-2", "--state-dir", str(tmp_path / "state")]
    refused = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert refused.returncode == 2
    assert "another one is using it" in refused.stderr


def test_without_a_broker_address_it_says_which_setting_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "firmware_bridge.cli", "run", "--fleet", "lab", "--id", "b-1"]
    command += ["--state-dir", str(tmp_path)]
    refused = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert refused.returncode == 2
    assert "EDGENAS_BROKER" in refused.stderr
