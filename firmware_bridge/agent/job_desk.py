"""Takes measuring jobs in, remembers them by id, decides which is next and sends the answers.

Everything here runs on the main loop and returns at once. Leaves carrying a job out to `measuring`
and the durable tables to the journal.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from firmware_bridge.agent.answers import Answers
from firmware_bridge.agent.failures import refused_job
from firmware_bridge.agent.measuring import JobOrder, digests_of
from firmware_bridge.agent.post import Post
from firmware_bridge.store.jobs import DONE, QUEUED, RUNNING, JobRow
from firmware_bridge.store.journal import Journal
from firmware_bridge.store.outbox import Answer
from firmware_bridge.wire.codec import decode
from firmware_bridge.wire.errors import StoreError, WireError
from firmware_bridge.wire.messages import (
    Event,
    EventState,
    JobFailed,
    MeasureJob,
    Measurement,
)

MAX_WAITING = 8
MAX_ATTEMPTS = 3
CRASHES_UNTIL_BROKEN = 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobRules:
    """What this device says no to.

    Attributes:
        measure: Whether it takes jobs at all.
        locks: Descriptions of the update locks in force now.
        boot_id: This boot.
        runtime: Runtime that crashes are remembered under; known once a child has looked.
        clock_synced: Whether wall times of the host mean something here.
    """

    measure: bool
    locks: Callable[[], list[str]]
    boot_id: str
    runtime: Callable[[], str]
    clock_synced: Callable[[], bool]


class JobDesk:
    """The state of all jobs of this device, in the journal."""

    def __init__(
        self,
        journal: Journal,
        answers: Answers,
        post: Post,
        rules: JobRules,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._answers = answers
        self._post = post
        self._rules = rules
        self._clock = clock

    def resume(self) -> None:
        """After a start: what was running when the daemon died runs again, as a new attempt."""
        self._journal.jobs.restart_running()

    def receive(self, job_id: str, job: MeasureJob, request: bytes) -> None:
        """A job has come, perhaps not for the first time.

        One that ended so long ago that its answer is forgotten is carried out once more.
        """
        if self._answers.repeat(job_id):
            return
        known = self._journal.jobs.get(job_id)
        if known is not None and known.state != DONE:
            self._tell(job_id, "MEASURING" if known.state == RUNNING else "QUEUED", None)
            return
        full = len(self._journal.jobs.open_jobs()) >= MAX_WAITING
        self._journal.jobs.add(job_id, request, self._clock(), self._rules.boot_id)
        refusal = _refuse_full() if full else self._refusal(job)
        if refusal is not None:
            self.finish(job_id, refusal)
        else:
            self._tell(job_id, "QUEUED", None)

    def cancel(self, job_id: str, running: str | None, stop: Callable[[], None]) -> None:
        """The host takes a job back.

        Args:
            job_id: Which one; one never seen is remembered as cancelled, since messages may
                overtake each other.
            running: The job that the worker is on, if any.
            stop: Tells the worker to stop.
        """
        if self._answers.repeat(job_id):
            return
        if job_id == running:
            stop()
            return
        if self._journal.jobs.get(job_id) is None:
            self._journal.jobs.add(job_id, b"", self._clock(), self._rules.boot_id)
        self.finish(job_id, refused_job("CANCELLED", "cancelled before it began"))

    def next_order(self) -> tuple[str, JobOrder] | None:
        """The job to carry out now, or None; jobs that cannot begin any more are answered."""
        for row in self._journal.jobs.open_jobs():
            found = self._order(row)
            if isinstance(found, JobOrder):
                self._journal.jobs.set_state(row.job_id, RUNNING)
                return row.job_id, found
            self.finish(row.job_id, found)
        return None

    def finish(self, job_id: str, result: Measurement | JobFailed) -> None:
        """Make the answer to a job durable together with the job's end, then send it."""
        with self._journal.transaction():
            attempt, rev = self._journal.jobs.next_rev(job_id)
            self._note_crash(job_id, result)
            answer = self._keep(job_id, replace(result, attempt=attempt, rev=rev))
            self._journal.jobs.set_state(job_id, DONE)
            self._journal.jobs.forget_old()
        self._answers.send(answer)

    def _keep(self, job_id: str, result: Measurement | JobFailed) -> Answer:
        try:
            return self._answers.keep(job_id, result)
        except WireError as error:
            failed = refused_job("INTERNAL", f"the result cannot be sent: {error}")
            return self._answers.keep(
                job_id, replace(failed, attempt=result.attempt, rev=result.rev)
            )

    def expire_waiting(self) -> None:
        """Answer waiting jobs whose time to live is over, while the worker is busy."""
        for row in self._journal.jobs.open_jobs():
            if row.state == QUEUED and isinstance(found := self._order(row), JobFailed):
                self.finish(row.job_id, found)

    def needed_digests(self) -> frozenset[str]:
        """Blobs that open jobs need."""
        jobs = (_decoded(row) for row in self._journal.jobs.open_jobs())
        return digests_of([job for job in jobs if job is not None])

    def _order(self, row: JobRow) -> JobOrder | JobFailed:
        job = _decoded(row)
        if job is None:
            return refused_job("INTERNAL", "expected a measure_job in the journal, got other bytes")
        if row.attempt > MAX_ATTEMPTS:
            return refused_job("INTERNAL", f"the agent died {row.attempt - 1} times at this job")
        deadline_s = self._deadline_s(row, job)
        if self._clock() > deadline_s:
            return refused_job("EXPIRED", f"not begun within {job.ttl_ms} ms", retryable=True)
        refusal = self._refusal(job)
        if refusal is not None:
            return refusal

        def tell(state: EventState, bytes_done: int | None) -> None:
            try:
                self._tell(row.job_id, state, bytes_done)
            except StoreError as error:  # a word about progress is not worth the job
                _log.warning("job %s: nothing said of %s: %s", row.job_id, state, error)

        return JobOrder(job, deadline_s, self.needed_digests(), tell)

    def _deadline_s(self, row: JobRow, job: MeasureJob) -> float:
        """Monotonic seconds start again with a boot; a job from before one counts from now."""
        received_s = row.received_s if row.boot_id == self._rules.boot_id else self._clock()
        return received_s + job.ttl_ms / 1000

    def _refusal(self, job: MeasureJob) -> JobFailed | None:
        if not self._rules.measure:
            return refused_job("NOT_ALLOWED", "this device runs with --no-measure")
        if self._past_wall_clock(job):
            return refused_job("EXPIRED", "its wall-clock end has passed", retryable=True)
        locks = self._rules.locks()
        if locks:
            return refused_job("LOCKED", "; ".join(locks), retryable=True)
        reason = self._journal.strikes.broken_reason(job.model.sha256, self._rules.runtime())
        if reason is not None:
            hint = "edgenas-device forget-broken lifts this"
            return refused_job("BROKEN_HERE", f"{reason}; {hint}")
        return None

    def _past_wall_clock(self, job: MeasureJob) -> bool:
        end_ms = job.expires_wall_ms
        if end_ms is None or not self._rules.clock_synced():
            return False
        return time.time_ns() // 1_000_000 > end_ms

    def _note_crash(self, job_id: str, result: Measurement | JobFailed) -> None:
        row = self._journal.jobs.get(job_id)
        job = _decoded(row) if row is not None else None
        if job is None or not isinstance(result, Measurement):
            return
        digest, strikes = job.model.sha256, self._journal.strikes
        if result.verdict == "crash" and strikes.strike(digest) >= CRASHES_UNTIL_BROKEN:
            _log.warning("model %s crashed again and is refused from now on", digest)
            reason = f"model {digest[:12]} crashed {CRASHES_UNTIL_BROKEN} times"
            strikes.mark_broken(digest, reason, self._rules.runtime())
        elif result.verdict == "ok":
            strikes.clear(digest)

    def _tell(self, job_id: str, state: EventState, bytes_done: int | None) -> None:
        attempt, rev = self._journal.jobs.next_rev(job_id)
        self._post.event(
            job_id, Event(attempt=attempt, rev=rev, state=state, bytes_done=bytes_done)
        )


def _decoded(row: JobRow) -> MeasureJob | None:
    try:
        message = decode(row.request, MeasureJob.cap_bytes).message
    except WireError:
        return None
    return message if isinstance(message, MeasureJob) else None


def _refuse_full() -> JobFailed:
    detail = f"{MAX_WAITING} jobs are waiting already; send fewer at a time"
    return refused_job("NOT_ALLOWED", detail, retryable=True)
