"""What chaos happens to: daemons, a host's command, and somebody who meddles with messages.

All of them are the real programs (behind `shifted`, for their clocks) and the real broker. Leaves
what is done to them, and when, to `chaos_site`.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import deque
from pathlib import Path

from benchmarks.chaos_schedule import Mischief
from benchmarks.record import ROOT
from benchmarks.shifted import BOOT
from edgenas.fleet.local import LocalDeviceSpec
from firmware_bridge.wire.codec import decode
from firmware_bridge.wire.link import LinkEvent, Received
from firmware_bridge.wire.messages import BlobRequest
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.topics import Topics
from firmware_bridge.wire.values import CHUNK_BYTES, new_id

STOP_S = 60.0


class Program:
    """A real program with a wall clock of its own; outlives its processes."""

    def __init__(self, folder: Path, name: str, words: list[str]) -> None:
        self._offset = folder / f"{name}.offset"
        self._log = folder / f"{name}.log"
        self._words = words
        self._process: subprocess.Popen[bytes] | None = None
        self.shift(0.0)

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def status(self) -> int | None:
        """How it ended, None if it runs or never did."""
        return None if self._process is None else self._process.poll()

    def shift(self, seconds: float) -> None:
        """Set its wall clock off."""
        beside = self._offset.with_suffix(".new")
        beside.write_text(str(seconds), encoding="ascii")
        os.replace(beside, self._offset)

    def start(self, **environment: str) -> None:
        """Start it; `environment` comes on top of this process's own."""
        command = [sys.executable, "-m", "benchmarks.shifted", str(self._offset), *self._words]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            )

    def kill(self) -> None:
        """SIGKILL; may be repeated."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_S)

    def told(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-1500:] if self._log.exists() else "(no log)"


class Board(Program):
    """A daemon, and the board that it runs on: a power cut is another boot."""

    def __init__(self, spec: LocalDeviceSpec) -> None:
        words = spec.argv()[3:]  # without the interpreter, -m and the module
        broker = ["--broker", spec.broker_url, "--disk-reserve-mb", "0"]
        super().__init__(spec.log_path.parent, spec.device_id, ["device", *words, *broker])
        self.device_id = spec.device_id
        self._boot_id = new_id()
        self.power_goes = False  # with the kill that was ordered

    def boot(self, fault: str = "") -> None:
        """Start the daemon, with a fault ordered."""
        hasty = {"EDGENAS_RESEND_S": "1", "EDGENAS_SILENCE_S": "1"}
        self.start(**hasty, **{BOOT: self._boot_id, "EDGENAS_FAULT": fault})

    def cut_power(self) -> None:
        """Kill it; what starts there next is another boot."""
        self.kill()
        self._boot_id = new_id()

    def come_back(self) -> None:
        """Start it again after it has ended."""
        if self.power_goes:
            self._boot_id, self.power_goes = new_id(), False
        self.boot()


class Meddler:
    """Repeats messages, sends some once more when they are old, and answers with wrong chunks.

    A broker may do the first two after a broken connection. What is retained stays as it was.
    """

    def __init__(self, url: str, fleet: str, mischief: Mischief, seed: int) -> None:
        self._topics = Topics(fleet)
        self._mischief = mischief
        self._rng = random.Random(seed)
        self._old: deque[tuple[int, Received]] = deque()
        self._passed = 0
        self._own: deque[tuple[str, bytes]] = deque(maxlen=256)
        self.counts = {"again": 0, "late": 0, "corrupt": 0}
        self._link = MqttLink(url, f"meddler-{fleet}", session_expiry_s=0)
        self._link.subscribe(f"edgenas/v1/{fleet}/#")

    def open(self) -> None:
        """Begin."""
        self._link.open(self._hear)

    def close(self) -> None:
        """Stop."""
        self._link.close()

    def _hear(self, event: LinkEvent) -> None:
        if not isinstance(event, Received) or event.retained:
            return
        address = self._topics.parse(event.topic)
        if address is None or (event.topic, event.payload) in self._own:
            return
        self._passed += 1
        while self._old and self._old[0][0] <= self._passed:
            self._send(self._old.popleft()[1], "late")
        if address.direction == "up" and address.family == "blob":
            self._spoil(address.device, event.payload)
        elif address.family in ("event", "result", "wish", "ack"):
            self._repeat(event)

    def _repeat(self, event: Received) -> None:
        if self._rng.random() < self._mischief.again:
            self._send(event, "again")
        if self._rng.random() < self._mischief.late:
            self._old.append((self._passed + self._rng.randint(2, 12), event))

    def _spoil(self, device: str, payload: bytes) -> None:
        request = decode(payload).message
        if not isinstance(request, BlobRequest) or self._rng.random() >= self._mischief.corrupt:
            return
        topic = self._topics.chunk(device, request.digest, request.first * CHUNK_BYTES)
        self.counts["corrupt"] += 1
        self._link.publish(topic, self._rng.randbytes(CHUNK_BYTES), qos=0)

    def _send(self, event: Received, what: str) -> None:
        self.counts[what] += 1
        self._own.append((event.topic, event.payload))
        self._link.publish(event.topic, event.payload)
