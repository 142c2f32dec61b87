"""A mosquitto of our own as a process that can be looked at, killed and brought back.

Set up as `packaging/mosquitto.conf` advises, without passwords, on a loopback port. What it holds
for its clients lives in `folder` if it is to survive a kill. Leaves brokers with TLS to `own_site`,
and those for benchmarks that only need one to `brokers`.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.brokers import MOSQUITTO
from benchmarks.ports import free_port, listens

START_S = 60.0


class OwnBroker:
    """One broker on one port for as long as the object lives; a context manager."""

    def __init__(self, folder: Path, *, persistent: bool = False) -> None:
        """Prepare.

        Args:
            folder: For its configuration, its log and what it keeps.
            persistent: Write down sessions and retained messages every second.

        Raises:
            RuntimeError: mosquitto is not installed.
        """
        if MOSQUITTO is None:
            raise RuntimeError("expected mosquitto, found none; apt-get install mosquitto")
        self._program = MOSQUITTO
        self._port = free_port()
        self._log = folder / "mosquitto.log"
        self._config = folder / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        kept = f"persistence_location {folder}/\nautosave_interval 1\n" if persistent else ""
        self._config.write_text(
            f"listener {self._port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n"
            "max_packet_size 262144\nmax_queued_messages 0\nlog_type error\nuser root\n"
            f"persistence {'true' if persistent else 'false'}\n{kept}",
            encoding="utf-8",
        )

    @property
    def url(self) -> str:
        """Where it is."""
        return f"mqtt://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Its process.

        Raises:
            RuntimeError: It does not run.
        """
        if self._process is None:
            raise RuntimeError("expected a broker that runs; start it first")
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self._log.open("ab") as log:
            command = [self._program, "-c", str(self._config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline_s = time.monotonic() + START_S
        while not listens(self._port):
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"mosquitto did not start: {self._log.read_text()[-1000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL; may be repeated."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
