"""Timing the INT8 file of one stage: on this machine, or on a device of a fleet.

Both run `firmware_bridge.bench`; the daemon of a device is asked for a job, this machine's bench is
called. What is timed and what becomes of the figures is left to `edgenas.campaign.block_table`.
"""

from __future__ import annotations

import hashlib
import os
import platform
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from edgenas.campaign.errors import MeasuringError
from edgenas.campaign.measurer import ATTEMPTS, LISTEN_S, LOCK_TIMEOUT_S
from edgenas.campaign.measuring import RETRYABLE, DeviceSetup, check_level
from edgenas.fleet.host import FleetHost
from edgenas.fleet.jobs import JobOutcome, MeasureSpec
from edgenas.fleet.profiles import cap_at, quiet_at
from firmware_bridge.bench.plan import plan_at_level
from firmware_bridge.bench.supervise import measure
from firmware_bridge.machine_lock import MachineLock, default_lock_path
from firmware_bridge.wire.levels import LEVELS
from firmware_bridge.wire.measured import Measurement
from firmware_bridge.wire.statistics import candidate_samples, summarize


class BlockMeter(ABC):
    """Times files on one device.

    Attributes:
        device: what is measured on, and how; part of what figures are kept under.
    """

    device: str

    @abstractmethod
    def latency_ms(self, model: Path, again: int = 0) -> float:
        """Median latency of a file.

        Args:
            model: the .tflite file.
            again: number of measurements of the file before this one.

        Raises:
            MeasuringError: the device gives no figures.
        """


class LocalMeter(BlockMeter):
    """Times on this machine, while nothing else of edgenas measures there.

    Args:
        level: how thoroughly.
        threads: of the interpreter.
    """

    def __init__(self, level: str = "quick", threads: int = 1) -> None:
        self._level, self._threads = LEVELS[check_level(level)], threads
        self._lock = MachineLock(default_lock_path(os.environ))
        self.device = f"local {platform.node()} {platform.machine()}, {level}, {threads} threads"

    def latency_ms(self, model: Path, again: int = 0) -> float:
        """As `BlockMeter`."""
        plan = plan_at_level(self._level, model.absolute(), threads=self._threads)
        return _median_ms(measure(plan, lock=self._lock, lock_timeout_s=LOCK_TIMEOUT_S), model)


@dataclass(frozen=True)
class _Figures:
    """What is asked of a device again and again."""

    setup: DeviceSetup
    level: str

    def spec(self, model: Path) -> MeasureSpec:
        level, setup = LEVELS[self.level], self.setup
        return MeasureSpec(
            label=f"stage {model.stem[:12]}",
            model=model,
            level=self.level,
            threads=setup.threads,
            cpus=setup.cpus,
            memory_cap_bytes=setup.memory_cap_bytes,
            cap_ms=cap_at(level, setup.cap_ms),
            quiet=quiet_at(level, setup.thermal),
        )


class FleetMeter(BlockMeter):
    """Times on a device whose daemon listens.

    Args:
        host: the fleet.
        setup: the device, and how it is measured.
        level: how thoroughly.

    Raises:
        MeasuringError: the device reads no TensorFlow Lite files.
    """

    def __init__(self, host: FleetHost, setup: DeviceSetup, level: str = "quick") -> None:
        if setup.file_format != "tflite":
            raise MeasuringError(
                f"device {setup.device_id}: expected a runtime that reads .tflite files, got one "
                f"for {setup.file_format}; install one there, or evolve for another device"
            )
        self._host, self._asked = host, _Figures(setup, check_level(level))
        self.device = f"{setup.device_id}, {level}, {setup.threads} threads"

    def latency_ms(self, model: Path, again: int = 0) -> float:
        """As `BlockMeter`; what may pass is tried again."""
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
        for attempt in range(ATTEMPTS):
            text = f"{self._host.journal_id}/{self.device}/{digest}/{again}/{attempt}"
            answer = self._answer(hashlib.sha256(text.encode()).hexdigest()[:32], model)
            if answer.failure is None or answer.failure.code not in RETRYABLE:
                break
        got = answer.measurement if answer.failure is None else answer.failure
        return _median_ms(got, model)

    def _answer(self, job_id: str, model: Path) -> JobOutcome:
        device = self._asked.setup.device_id
        if self._host.outcome(job_id) is None:
            self._host.submit(device, self._asked.spec(model), job_id)
        while True:
            known = self._host.outcome(job_id)
            if known is not None:
                return known
            self._host.next_outcome(LISTEN_S)  # what it returns is found in the journal above


def _median_ms(outcome: object, model: Path) -> float:
    if not isinstance(outcome, Measurement) or not outcome.legs:
        raise MeasuringError(
            f"{model}: expected figures of a stage, got {outcome}; look at the device, then repeat "
            f"the command: what was measured is kept"
        )
    return summarize(candidate_samples(outcome.legs)).p50_ns / 1e6
