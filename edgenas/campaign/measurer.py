"""Having devices measure candidates: submit, wait, try again where that may help.

Job ids follow from what is measured, so a campaign that was killed finds its jobs again: an answer
that has arrived is taken from the fleet's journal, an open job is waited for, none is repeated.
Whether a figure is good enough is not decided here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from edgenas.campaign.errors import MeasuringError
from edgenas.campaign.measuring import RETRYABLE, SILENT, DeviceSetup, judge, measure_spec
from edgenas.campaign.scoring import Candidate, Scorer
from edgenas.export.errors import CandidateError
from edgenas.fleet.host import FleetHost
from edgenas.fleet.jobs import JobOutcome
from edgenas.search.trial import Failure, Outcome
from edgenas.space.arch import Arch
from firmware_bridge.machine_lock import LockBusyError, MachineLock
from firmware_bridge.runtimes.choice import FileFormat

ATTEMPTS = 3
LOCK_TIMEOUT_S = 3600.0  # the kernel takes the lock from the dead, so this is for the stuck
LISTEN_S = 1.0


@dataclass(frozen=True)
class Task:
    """One measurement that is wanted.

    Attributes:
        key: names it within the campaign, for ever.
        setup: the device.
        candidate: what is measured.
        level: how thoroughly.
        attempt: number of tries before this one.
        last_attempt: the last try that is made.
        elsewhere: another device may take it over, so that silence is answered at once.
    """

    key: str
    setup: DeviceSetup
    candidate: Candidate
    level: str
    attempt: int = 0
    last_attempt: int = ATTEMPTS - 1
    elsewhere: bool = False


@dataclass(frozen=True)
class Answer:
    """What came of a task.

    Attributes:
        task: the task.
        result: figures, or why there are none.
        raw: samples and memory figures as plain JSON; None without a measurement.
        overhead_ms: time from submission to answer beyond the device's own; None if unknown.
    """

    task: Task
    result: Outcome | Failure
    raw: dict[str, Any] | None
    overhead_ms: int | None


class Measurer:
    """Measures on the devices of one host.

    Args:
        host: the fleet.
        scorer: makes candidates.
        campaign: names this campaign; part of every job id.
        lock: taken around heavy work here, so that daemons on this machine measure in quiet.
        alive: called while waiting; raises if a device of this machine has died.
    """

    def __init__(
        self,
        host: FleetHost,
        scorer: Scorer,
        campaign: str,
        lock: MachineLock,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self.host, self.scorer, self.campaign = host, scorer, campaign
        self.lock, self.alive = lock, alive
        self._open: dict[str, Task] = {}

    def candidate(self, arch: Arch, file_format: FileFormat = "tflite") -> Candidate | Failure:
        """Export and score while nothing measures on this machine.

        Args:
            arch: the architecture.
            file_format: what the device's runtime reads.

        Raises:
            ExportError: there is no room; that is no fault of the candidate.
            MachineLockError: devices of this machine measured for too long.
            LocalDeviceError: a device of this machine has died.
        """
        with self.lock.hold(LOCK_TIMEOUT_S, self._looked_after):
            try:
                return self.scorer.candidate(arch, file_format)
            except CandidateError as error:
                if isinstance(error.__cause__, OSError):
                    raise
                return Failure("export", str(error))

    def quietly(self, work: Callable[[], None], timeout_s: float = LOCK_TIMEOUT_S) -> bool:
        """Do heavy work while nothing measures on this machine.

        Args:
            work: what to do.
            timeout_s: how long to wait for that; 0 asks for it to be done now or not at all.

        Returns:
            Whether it was done.

        Raises:
            MachineLockError: devices of this machine measured for longer than a positive timeout.
            LocalDeviceError: a device of this machine has died.
        """
        try:
            with self.lock.hold(timeout_s, self._looked_after):
                work()
        except LockBusyError:
            if timeout_s > 0:
                raise
            return False
        return True

    def start(self, task: Task) -> None:
        """Submit a task; one that was submitted before goes on.

        Tries that failed by chance before this process began are not counted: the device that was
        lost then may be back.
        """
        while self._failed_by_chance(task):
            attempt = task.attempt + 1
            task = replace(task, attempt=attempt, last_attempt=attempt + ATTEMPTS - 1)
        self._submit(task)

    def _submit(self, task: Task) -> None:
        job_id = self._job_id(task)
        self._open[job_id] = task
        if self.host.outcome(job_id) is None:
            spec = measure_spec(task.candidate, task.setup, task.level, self.host.shelf)
            self.host.submit(task.setup.device_id, spec, job_id)

    @property
    def outstanding(self) -> Mapping[str, Task]:
        """The tasks that have not been answered, by job id."""
        return self._open

    def wait(self) -> Answer:
        """The next answer to any open task; failures that may pass are tried again first.

        Raises:
            MeasuringError: nothing is open.
            LocalDeviceError: a device of this machine has died.
        """
        if not self._open:
            raise MeasuringError("expected an open measurement to wait for, got none")
        while True:
            found = self._next()
            if found is None:
                continue
            answer = self._answer(self._open.pop(found.job_id), found)
            if not self._retried(answer):
                return answer

    def _next(self) -> JobOutcome | None:
        """An outcome of one of our jobs, from the journal or as it arrives."""
        for job_id in self._open:
            known = self.host.outcome(job_id)
            if known is not None:
                return known
        self.alive()
        self.host.next_outcome(LISTEN_S)  # what it returns is found in the journal above
        return None

    def _answer(self, task: Task, found: JobOutcome) -> Answer:
        result = judge(found, task.candidate, task.level)
        measurement = found.measurement
        if measurement is None:
            return Answer(task, result, None, None)
        raw = {
            "device": task.setup.device_id,
            "legs": [asdict(leg) for leg in measurement.legs],
            "memory": dict(measurement.memory),
            "runtime": measurement.runtime,
            "fingerprint_sha256": measurement.fingerprint_sha256,
            "busy_pct": measurement.busy_pct,
        }
        overhead = None
        if measurement.measuring_ms is not None:
            own = measurement.measuring_ms + (measurement.waiting_ms or 0)
            overhead = found.host_wall_ms - own
        return Answer(task, result, raw, overhead)

    def _retried(self, answer: Answer) -> bool:
        """Whether the task was submitted once more."""
        result, task = answer.result, answer.task
        hopeless = not isinstance(result, Failure) or result.code not in RETRYABLE
        if hopeless or task.attempt >= task.last_attempt:
            return False
        if task.elsewhere and isinstance(result, Failure) and result.code in SILENT:
            return False
        self._submit(replace(task, attempt=task.attempt + 1))
        return True

    def _looked_after(self) -> bool:
        """Called while waiting for the lock: a dead device is noticed, the wait goes on."""
        self.alive()
        return False

    def _failed_by_chance(self, task: Task) -> bool:
        known = self.host.outcome(self._job_id(task))
        failure = None if known is None else known.failure
        return failure is not None and failure.code in RETRYABLE

    def _job_id(self, task: Task) -> str:
        setup, sha256 = task.setup, task.candidate.exported.sha256
        how = f"{setup.threads}/{setup.cpus}/{setup.memory_cap_bytes}/{task.level}"
        begin = f"{self.host.journal_id}/{self.campaign}"
        text = f"{begin}/{setup.device_id}/{task.key}/{sha256}/{how}/{task.attempt}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def require_answers(lost: Collection[str]) -> None:
    """Make sure that no device was lost.

    Raises:
        MeasuringError: names those that were.
    """
    if lost:
        raise MeasuringError(
            f"expected answers from {', '.join(sorted(lost))}, got none for minutes, or they have "
            f"had their bytes of candidates for today; start `edgenas-device run` there again, or "
            f"wait, then repeat the command: what was measured is kept"
        )
