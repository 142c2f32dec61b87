"""Devices under test: the daemon on a thread with an in-memory broker, and as a real process.

Leaves what they are asked to do to the tests, and the other end to `host_double`.
"""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

from firmware_bridge.agent.assembly import Assembly
from firmware_bridge.agent.inbox import Stop
from firmware_bridge.agent.settings import AgentSettings
from firmware_bridge.wire.memory import MemoryBroker, MemoryLink
from tests.firmware_bridge.agent.host_double import DEADLINE_S, DEVICE, FLEET

PROJECT = Path(__file__).resolve().parents[3]


def settings_in(folder: Path, **changes: object) -> AgentSettings:
    """Settings of a device whose state lies in `folder`."""
    chosen = AgentSettings(
        broker="mqtt://127.0.0.1:1",
        fleet=FLEET,
        device_id=DEVICE,
        state_dir=folder / "state",
        lock_path=folder / "measure.lock",
        disk_cap_mb=64,
        disk_reserve_mb=0,
        probation_s=0.0,
        resend_s=0.5,
        silence_s=0.3,
    )
    return replace(chosen, **changes)  # type: ignore[arg-type]


class ThreadBoard:
    """The whole daemon in this process, over the in-memory broker."""

    def __init__(self, broker: MemoryBroker, settings: AgentSettings) -> None:
        self.link = MemoryLink(broker, settings.device_id)
        self.assembly = Assembly(settings, self.link)
        self._thread = threading.Thread(target=self.assembly.daemon.run, name="daemon")
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        self.assembly.inbox.put(Stop())
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), "the daemon did not stop"
        self.assembly.close()


class ProcessBoard:
    """`edgenas-device run` as a real process against a real broker."""

    def __init__(self, broker_url: str, folder: Path, *more: str) -> None:
        command = [sys.executable, "-m", "firmware_bridge.cli", "run", "--broker", broker_url]
        command += ["--fleet", FLEET, "--id", DEVICE, "--state-dir", str(folder / "state")]
        command += ["--lock", str(folder / "measure.lock"), "--disk-reserve-mb", "0"]
        command += ["--probation-s", "0", *more]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        self.log = folder / "device.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, cwd=PROJECT, env=environment)

    def kill(self) -> None:
        """As a power cut: no last words."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE_S)

    def stop(self) -> int:
        """Ask it to end; returns its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(DEADLINE_S)
