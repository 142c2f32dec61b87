"""Starts real brokers as child processes on free loopback ports, for tests.

What is asked of a broker is left to the tests. Another implementation is one more function
in ``START`` that takes a folder and limits, and returns a :class:`BrokerProcess`.
"""

import importlib.util
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

START_DEADLINE_S = 60.0  # of a machine that is busy with other things
STOP_DEADLINE_S = 20.0
PROJECT = Path(__file__).resolve().parents[3]
OUTGOING_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


@dataclass
class BrokerProcess:
    """A broker that listens on ``port`` of the loopback."""

    process: subprocess.Popen[bytes]
    port: int

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(STOP_DEADLINE_S)


def start_mosquitto(
    folder: Path, max_packet_bytes: int | None, port: int = 0, lines: Sequence[str] = ()
) -> BrokerProcess:
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("mosquitto is not installed")
    port = port or free_port()
    settings = [
        f"listener {port} 127.0.0.1",
        "set_tcp_nodelay true",
        "persistence false",
        "user root",  # heeded only when started by root, who could not read the folder otherwise
        *(lines or ["allow_anonymous true"]),
    ]
    if max_packet_bytes is not None:
        settings.append(f"max_packet_size {max_packet_bytes}")
    config = folder / "mosquitto.conf"
    config.write_text("\n".join(settings) + "\n")
    with (folder / "mosquitto.log").open("ab") as log:
        process = subprocess.Popen([program, "-c", str(config)], stdout=log, stderr=log)
    return _listening(BrokerProcess(process, port), folder / "mosquitto.log")


def start_edgenas(folder: Path, max_packet_bytes: int | None, port: int = 0) -> BrokerProcess:
    if importlib.util.find_spec("edgenas.broker") is None:
        pytest.skip("edgenas.broker is not part of this installation")
    if sys.version_info < (3, 12):
        pytest.skip("edgenas.broker is of the host, which needs Python 3.12")
    port_file = folder / "port"
    port_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "edgenas.broker", "--port", str(port)]
    command += ["--port-file", str(port_file)]
    if max_packet_bytes is not None:
        command += ["--max-packet-bytes", str(max_packet_bytes)]
    with (folder / "edgenas.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=PROJECT)
    deadline = time.monotonic() + START_DEADLINE_S
    while not (port_file.exists() and port_file.read_text().strip()):
        _check_alive(process, folder / "edgenas.log", deadline)
        time.sleep(0.02)
    return _listening(BrokerProcess(process, int(port_file.read_text())), folder / "edgenas.log")


START: dict[str, Callable[[Path, int | None, int], BrokerProcess]] = {
    "mosquitto": start_mosquitto,
    "edgenas": start_edgenas,
}


def free_port() -> int:
    """A port on which nobody listens, and which no outgoing connection is given as its own."""
    first_outgoing = int(OUTGOING_PORTS.read_text().split()[0])
    while True:
        port = random.randrange(first_outgoing // 2, first_outgoing)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _listening(broker: BrokerProcess, log: Path) -> BrokerProcess:
    deadline = time.monotonic() + START_DEADLINE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", broker.port), timeout=1).close()
            return broker
        except OSError:
            _check_alive(broker.process, log, deadline)
            time.sleep(0.02)


def _check_alive(process: subprocess.Popen[bytes], log: Path, deadline: float) -> None:
    if process.poll() is not None or time.monotonic() > deadline:
        process.kill()
        process.wait(STOP_DEADLINE_S)
        pytest.fail(f"the broker did not start:\n{log.read_text()}")
