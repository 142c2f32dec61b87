"""Measuring jobs on their way: sent in order, at most two a device, answered once.

Used under the host's lock. Every method makes durable what it decides before it sends anything.
Jobs of other processes on the same journal are theirs until they die, see `refresh`. Leaves
presence to `roster` and the transfer of blobs to `serving`.
"""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from edgenas.fleet.clock import Clock
from edgenas.fleet.errors import FleetError
from edgenas.fleet.job_log import AnswerRow, JobRow
from edgenas.fleet.job_reading import (
    Answer,
    artifact,
    check_same,
    decoded_answer,
    decoded_job,
    outcome_of,
    told,
)
from edgenas.fleet.jobs import ANSWERS_CAP, JobOutcome, blobs_of, patience_s
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.post import Post
from edgenas.fleet.roster import Roster
from edgenas.fleet.timers import HostTimers
from firmware_bridge.wire.codec import encode
from firmware_bridge.wire.messages import Event, FailureCode, JobFailed, MeasureJob, Measurement
from firmware_bridge.wire.values import BlobRef

_log = logging.getLogger(__name__)

MAX_OUTSTANDING = 2  # mosquitto queues 1,000 messages for a client and then drops silently


@dataclass(slots=True)
class _OpenJob:
    """A job without an outcome; `seen` is the newest (attempt, rev) of the device.

    `submitted_s` may lie before this process; `opened_s` is when this process took it up.
    """

    job_id: str
    device_id: str
    request: MeasureJob
    submitted_s: float
    opened_s: float
    progress_s: float
    sent: bool = False
    cancelled: bool = False
    seen: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class _Together:
    """Answers that are heard together: what is known of their jobs, and what is new."""

    known: dict[str, set[tuple[int, int]]]
    new: list[AnswerRow] = field(default_factory=list)


class JobDesk:
    """All jobs that have no outcome yet, and the outcomes nobody has taken yet."""

    def __init__(
        self, journal: FleetJournal, post: Post, roster: Roster, clock: Clock, timers: HostTimers
    ) -> None:
        self._log = journal.jobs
        self._post = post
        self._roster = roster
        self._clock = clock
        self._timers = timers
        self._open: dict[str, _OpenJob] = {}
        self._by_device: dict[str, dict[str, _OpenJob]] = {}
        self._lost: dict[str, _OpenJob] = {}
        self._together: _Together | None = None
        self.ready: deque[JobOutcome] = deque()
        self._restore()

    def _restore(self) -> None:
        self._log.claim()
        self._take_up()
        for answer in self._log.untaken():
            self._hand_out(answer)

    def _take_up(self) -> list[str]:
        """Take the open jobs up that are this process's; returns the devices of the new ones."""
        cancelled = self._log.cancelled()
        new = [row for row in self._log.open_jobs() if row.job_id not in self._open]
        for row in new:
            self._put(self._opened(row, row.job_id in cancelled))
        return [row.device_id for row in new]

    def _hand_out(self, answer: AnswerRow) -> None:
        row = self._row(answer.job_id)
        self.ready.append(told(row, answer))

    def refresh(self) -> bool:
        """Look at what other processes have done: end the jobs whose answers they heard, and go on
        with the jobs of those that have died; returns whether there is a new outcome.
        """
        claimed, before = self._log.claim(), len(self.ready)
        for answer in self._log.untaken():
            if answer.job_id in claimed or self._drop(answer.job_id):
                self._hand_out(answer)
        if claimed:
            for device_id in self._take_up():
                self._send_next(device_id)
        return len(self.ready) > before

    def _opened(self, row: JobRow, cancelled: bool = False) -> _OpenJob:
        now_s = self._clock.monotonic_s()
        return _OpenJob(
            row.job_id,
            row.device_id,
            decoded_job(row.request),
            submitted_s=now_s - self._wall_since_ms(row) / 1000,
            opened_s=now_s,
            progress_s=now_s,
            cancelled=cancelled,
        )

    def _row(self, job_id: str) -> JobRow:
        row = self._log.get(job_id)
        if row is None:
            raise FleetError(
                f"expected a job submitted here, got {job_id}; it is not in the journal"
            )
        return row

    def knows(self, job_id: str) -> bool:
        """Whether a job of that id was ever submitted here."""
        return job_id in self._open or self._log.get(job_id) is not None

    def submit(self, device_id: str, job_id: str, request: MeasureJob) -> None:
        """Take a job in and send it as soon as it is its turn; an id known already is left alone.

        Raises:
            FleetError: The id belongs to a job of another device or model.
        """
        known = self._log.get(job_id)
        if known is not None:
            check_same(known, device_id, request)
            return
        row = JobRow(job_id, device_id, encode(request), self._clock.wall_ms())
        if not self._log.add(row, map(artifact, blobs_of(request))):
            check_same(self._row(job_id), device_id, request)  # another process was quicker
            return
        self._put(self._opened(row))
        self._send_next(device_id)

    def cancel(self, job_id: str) -> None:
        """Take a job back: at once if it was not sent, else by asking the device."""
        job = self._open.get(job_id)
        if job is None:
            return
        self._log.add_cancel(job_id, self._clock.wall_ms())
        job.cancelled = True
        if job.sent:
            self._post.cancel(job.device_id, job_id)
        else:
            self._fail(job, "CANCELLED", "cancelled before it was sent")

    def born(self, device_id: str, *, new_install: bool) -> None:
        """A device is there: repeat what it should have, which is harmless, and go on."""
        for job in self._of(device_id):
            if new_install:
                job.seen = (0, 0)
            if job.sent:
                self._send(job)
        self._send_next(device_id)

    def hear_event(self, device_id: str, job_id: str, event: Event) -> None:
        """A device reports progress; a gap in its reports is answered with one resync."""
        job = self._open.get(job_id)
        if job is None or job.device_id != device_id:
            return
        before, now = job.seen, (event.attempt, event.rev)
        if now <= before:
            return
        job.seen = now
        job.progress_s = self._clock.monotonic_s()
        expected = before[1] + 1 if event.attempt == before[0] else 1
        if event.rev > expected:
            self._post.resync(device_id)

    @contextmanager
    def together(self, job_ids: Sequence[str]) -> Iterator[None]:
        """Hear answers to these jobs with one look at the journal and one change of it.

        Used inside a transaction: what was looked at is then what is there.
        """
        self._together = _Together(self._log.known_answers(job_ids))
        try:
            yield
            self._log.add_answers(self._together.new, self._clock.wall_ms())
        finally:
            self._together = None

    def _known(self, job_id: str) -> set[tuple[int, int]]:
        """(attempt, rev) of every answer to a job."""
        if self._together is not None and job_id in self._together.known:
            return self._together.known[job_id]
        return {(earlier.attempt, earlier.rev) for earlier in self._log.answers(job_id)}

    def _is_late_truth(self, job_id: str, key: tuple[int, int]) -> bool:
        known = self._known(job_id)
        return key not in known and len(known) < ANSWERS_CAP

    def hear_answer(self, device_id: str, job_id: str, answer: Answer, body: bytes) -> bool:
        """A device answers: durable, then acknowledged.

        Args:
            device_id: The device.
            job_id: The job it answers.
            answer: The answer.
            body: Its bytes as they came, which is what the journal keeps.

        Returns:
            Whether this was the outcome of a job, and not a repetition or a late truth.
        """
        job = self._open.get(job_id)
        asked = self._row(job_id) if job is None else job
        if asked.device_id != device_id:
            _log.warning(
                "device %s answers job %s of %s; ignored", device_id, job_id, asked.device_id
            )
            return False
        key = (answer.attempt, answer.rev)
        if job is not None:
            self._finish(job, answer, body)
        elif isinstance(asked, JobRow) and self._is_late_truth(job_id, key):
            self._record(job_id, answer, body, self._wall_since_ms(asked))
            self._lost.pop(job_id, None)
        self._post.ack(device_id, job_id, *key)
        self._send_next(device_id)
        return job is not None

    def tick(self) -> bool:
        """Give up jobs whose device is gone or silent for too long; returns whether one was."""
        now_s, changed = self._clock.monotonic_s(), False
        for job in list(self._open.values()):
            due_s, why = self._given_up_at(job)
            if due_s is not None and now_s >= due_s:
                self._lost[job.job_id] = job
                self._fail(job, "DEVICE_LOST", why)
                changed = True
        return changed

    def next_due_s(self) -> float | None:
        """Monotonic second at which `tick` has something to do, or None."""
        dues = (self._given_up_at(job)[0] for job in self._open.values())
        return min((due for due in dues if due is not None), default=None)

    def blob(self, device_id: str, digest: str) -> BlobRef | None:
        """The blob of that digest if a job of that device names it.

        A lost job counts until its lifetime is over: its device may be back and still at it.
        """
        lost = [job for job in self._lost.values() if job.device_id == device_id]
        now_s = self._clock.monotonic_s()
        alive = [j for j in lost if now_s < j.progress_s + patience_s(j.request, 0.0)]
        for job in [*self._of(device_id), *alive]:
            for ref in blobs_of(job.request):
                if ref.sha256 == digest:
                    return ref
        return None

    def is_elsewhere(self, device_id: str, digest: str) -> bool:
        """Whether an open job of another process has that device pull that blob."""
        rows = self._log.open_elsewhere(device_id)
        requests = [decoded_job(row.request) for row in rows]
        return any(digest == ref.sha256 for request in requests for ref in blobs_of(request))

    def refuse_bytes(self, device_id: str, digest: str, budget_bytes: int) -> bool:
        """End the open jobs of a device that name a blob, for it has had its bytes for today.

        Returns:
            Whether there was one.
        """
        named = [
            j for j in self._of(device_id) if digest in {b.sha256 for b in blobs_of(j.request)}
        ]
        for job in named:
            self._post.cancel(device_id, job.job_id)
            self._fail(
                job,
                "OVER_BUDGET",
                f"expected at most {budget_bytes} B of candidates a device and 24 hours, and "
                f"{device_id} has had them; go on tomorrow",
            )
        return bool(named)

    def outcome(self, job_id: str) -> JobOutcome | None:
        """The outcome of a job, taken or not; None while there is none."""
        answers = self._log.answers(job_id)
        if not answers:
            return None
        first = answers[0]
        return told(self._row(job_id), first)

    def late_answers(self, job_id: str) -> list[Answer]:
        """What the device still said after its job had an outcome."""
        return [decoded_answer(answer.body) for answer in self._log.answers(job_id)[1:]]

    def open_jobs(self) -> list[str]:
        """Ids of the jobs without an outcome, in the order of submission."""
        return list(self._open)

    def _of(self, device_id: str) -> list[_OpenJob]:
        return list(self._by_device.get(device_id, {}).values())

    def _put(self, job: _OpenJob) -> None:
        self._open[job.job_id] = job
        self._by_device.setdefault(job.device_id, {})[job.job_id] = job

    def _drop(self, job_id: str) -> bool:
        """Close a job; returns whether it was open."""
        job = self._open.pop(job_id, None)
        if job is not None:
            del self._by_device[job.device_id][job_id]
        return job is not None

    def _given_up_at(self, job: _OpenJob) -> tuple[float | None, str]:
        offline_since_s = self._roster.offline_since_s(job.device_id)
        if offline_since_s is not None:
            lost_s = max(offline_since_s, job.opened_s) + self._timers.lost_after_s
            return (
                lost_s,
                "the device went offline and did not come back; measure elsewhere or wait",
            )
        if not job.sent:
            return None, ""
        silent_s = job.progress_s + patience_s(job.request, self._timers.job_slack_s)
        return silent_s, "the device is online but silent about this job; look at its log"

    def _send_next(self, device_id: str) -> None:
        if not self._roster.view(device_id).online:
            return
        waiting = self._of(device_id)
        room = MAX_OUTSTANDING - sum(job.sent for job in waiting)
        for job in [job for job in waiting if not job.sent][: max(room, 0)]:
            self._send(job)

    def _send(self, job: _OpenJob) -> None:
        job.sent = True
        job.progress_s = self._clock.monotonic_s()
        expires_wall_ms = self._clock.wall_ms() + job.request.ttl_ms
        request = replace(job.request, expires_wall_ms=expires_wall_ms)
        self._post.job(job.device_id, job.job_id, request)
        if job.cancelled:
            self._post.cancel(job.device_id, job.job_id)

    def _fail(self, job: _OpenJob, code: FailureCode, detail: str) -> None:
        # attempt 0 is none of the device's: its own answer, should it come, is a newer one
        failed = JobFailed(
            attempt=0, rev=0, code=code, detail=detail, retryable=code != "CANCELLED"
        )
        self._finish(job, failed, encode(failed))

    def _finish(self, job: _OpenJob, answer: Answer, body: bytes) -> None:
        """Record an answer and hand out the outcome, which is whichever was durable first."""
        host_wall_ms = round((self._clock.monotonic_s() - job.submitted_s) * 1000)
        first = not self._known(job.job_id)
        if first or answer.attempt:
            self._record(job.job_id, answer, body, host_wall_ms)
        self._drop(job.job_id)
        if first:
            self.ready.append(
                outcome_of(job.device_id, job.job_id, job.request, answer, host_wall_ms)
            )
        else:
            self._hand_out(self._log.answers(job.job_id)[0])

    def _record(self, job_id: str, answer: Answer, body: bytes, host_wall_ms: int) -> None:
        verdict = fingerprint = None
        if isinstance(answer, Measurement):
            verdict, fingerprint = answer.verdict, answer.fingerprint_sha256
        key = (answer.attempt, answer.rev)
        answer_row = AnswerRow(job_id, *key, body, host_wall_ms, verdict, fingerprint)
        if self._together is not None and job_id in self._together.known:
            if key not in self._together.known[job_id]:
                self._together.known[job_id].add(key)
                self._together.new.append(answer_row)
        else:
            self._log.add_answer(answer_row, self._clock.wall_ms())

    def _wall_since_ms(self, row: JobRow) -> int:
        return max(0, self._clock.wall_ms() - row.submitted_wall_ms)
