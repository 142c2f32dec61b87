"""The brokers that benchmarks run on: mosquitto where it is installed, else the embedded one.

Leaves what is measured to the benchmarks.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgenas.broker.thread import BrokerThread

MOSQUITTO = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
START_S = 20.0


@contextmanager
def running_broker(folder: Path) -> Iterator[tuple[str, str]]:
    """Kind and URL of a broker for the length of a block; `folder` takes its configuration."""
    if MOSQUITTO is not None:
        with mosquitto(MOSQUITTO, folder) as url:
            yield "mosquitto", url
        return
    with BrokerThread(port=0) as broker:
        yield "embedded", broker.url


@contextmanager
def mosquitto(program: str, folder: Path) -> Iterator[str]:
    """URL of a mosquitto on a free loopback port, set up as `packaging/mosquitto.conf` advises."""
    config, port = folder / "mosquitto.conf", _free_port()
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n"
        "max_packet_size 262144\npersistence false\nlog_type error\nuser root\n",
        encoding="ascii",
    )
    with subprocess.Popen([program, "-c", str(config)]) as process:
        try:
            _wait_listening(port, process)
            yield f"mqtt://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
