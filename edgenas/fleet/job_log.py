"""Which measuring jobs were given out and what came back, in the order it happened.

The first answer to a job is its outcome; later ones are late truths beside it. Every job is owned
by one of the processes that work on the database: that one sends it and hands its outcome out. A
job whose owner has died is claimed by compare-and-set. Leaves sending, ordering and deadlines to
`job_desk`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, exists, func, or_, select, update

from edgenas.database.connection import Database, Line, add_once
from edgenas.database.schema import ANSWERS, ARTIFACTS, CANCELS, JOBS, TAKEN
from edgenas.fleet.workers import NOBODY, Workers


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job as it was submitted; `request` is the encoded `MeasureJob`."""

    job_id: str
    device_id: str
    request: bytes
    submitted_wall_ms: int


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One answer to a job.

    Attributes:
        job_id: The job.
        attempt: The device's attempt; 0 if the host answers for it.
        rev: The device's revision within the attempt.
        body: The encoded `Measurement` or `JobFailed`.
        host_wall_ms: Milliseconds from submission to this answer.
        verdict: Of a measurement; None for a failure.
        fingerprint: Digest of what was measured on; None for a failure.
    """

    job_id: str
    attempt: int
    rev: int
    body: bytes
    host_wall_ms: int
    verdict: str | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Artifact:
    """Bytes that a job or a release names."""

    sha256: str
    size_bytes: int


_JOB = (JOBS.c.job_id, JOBS.c.device_id, JOBS.c.request, JOBS.c.submitted_wall_ms)
_ANSWER = (
    *(ANSWERS.c.job_id, ANSWERS.c.attempt, ANSWERS.c.rev, ANSWERS.c.body, ANSWERS.c.host_wall_ms),
    *(ANSWERS.c.verdict, ANSWERS.c.fingerprint),
)
_HERE = JOBS.c.job_id == bindparam("job_id")
_MINE = JOBS.c.owner == bindparam("me")
_ANSWERED = exists().where(ANSWERS.c.job_id == JOBS.c.job_id)
_EARLIER = ANSWERS.alias()
_FIRST = select(func.min(_EARLIER.c.position)).where(_EARLIER.c.job_id == JOBS.c.job_id)

_ADD = add_once(JOBS)
_ADD_ARTIFACT = add_once(ARTIFACTS)
_ADD_CANCEL = add_once(CANCELS)
_ADD_ANSWER = add_once(ANSWERS)
_ADD_TAKEN = add_once(TAKEN)
_GET = select(*_JOB).where(_HERE)
_OPEN = select(*_JOB).where(_MINE, ~_ANSWERED).order_by(JOBS.c.position)
_OPEN_ELSEWHERE = (
    select(*_JOB)
    .where(
        *(JOBS.c.owner > NOBODY, JOBS.c.owner != bindparam("me")),
        *(JOBS.c.device_id == bindparam("device_id"), ~_ANSWERED),
    )
    .order_by(JOBS.c.position)
)
_CANCELLED = (
    select(CANCELS.c.job_id)
    .join(JOBS, JOBS.c.job_id == CANCELS.c.job_id)
    .where(or_(JOBS.c.owner.is_(None), JOBS.c.owner != NOBODY))
)
_ANSWERS = (
    select(*_ANSWER).where(ANSWERS.c.job_id == bindparam("job_id")).order_by(ANSWERS.c.position)
)
_KNOWN = select(ANSWERS.c.job_id, ANSWERS.c.attempt, ANSWERS.c.rev).where(
    ANSWERS.c.job_id.in_(bindparam("job_ids", expanding=True))
)
_UNTAKEN = (
    select(*_ANSWER)
    .join(JOBS, JOBS.c.job_id == ANSWERS.c.job_id)
    .where(_MINE, ANSWERS.c.position == _FIRST.scalar_subquery())
    .order_by(ANSWERS.c.position)
)
_OWNERS = select(JOBS.c.owner).where(or_(JOBS.c.owner.is_(None), JOBS.c.owner > NOBODY)).distinct()
_CLAIM = (
    update(JOBS)
    .where(JOBS.c.owner.is_not_distinct_from(bindparam("from_owner", type_=JOBS.c.owner.type)))
    .values(owner=bindparam("me"))
    .returning(JOBS.c.job_id)
)
_LET_GO = update(JOBS).where(JOBS.c.job_id == bindparam("which"), _MINE).values(owner=NOBODY)


class JobLog:
    """Jobs, cancellations and answers; rows are only added, the owner of a job alone changes."""

    def __init__(self, database: Database, workers: Workers) -> None:
        self._database = database
        self._workers = workers

    def add(self, job: JobRow, named: Iterable[Artifact] = ()) -> bool:
        """Remember a job before it is sent; the process that does so owns it.

        Args:
            job: The job.
            named: The artifacts that it names, the model first.

        Returns:
            False if a job of that id is there already, from whichever process: it is left alone.
        """
        artifacts = [
            {"sha256": a.sha256, "size_bytes": a.size_bytes, "wall_ms": job.submitted_wall_ms}
            for a in named
        ]
        row = {
            "job_id": job.job_id,
            "device_id": job.device_id,
            "request": job.request,
            "submitted_wall_ms": job.submitted_wall_ms,
            "model_sha256": artifacts[0]["sha256"] if artifacts else None,
            "owner": self._workers.me,
        }
        with self._database.transaction():
            added = self._database.change(_ADD, row) == 1
            if added and artifacts:
                self._database.change(_ADD_ARTIFACT, artifacts)
        return added

    def get(self, job_id: str) -> JobRow | None:
        """The job called `job_id`, or None if it was never submitted here."""
        rows = self._database.rows(_GET, {"job_id": job_id})
        return _job(rows[0]) if rows else None

    def claim(self) -> set[str]:
        """Become the owner of the jobs that nobody alive owns and whose outcome nobody took.

        Returns:
            Ids of the jobs that were claimed.
        """
        me, claimed = self._workers.me, set[str]()
        for (owner,) in self._database.rows(_OWNERS):
            if owner != me and not self._workers.alive(owner):
                values = {"from_owner": owner, "me": me}
                claimed |= {row[0] for row in self._database.rows(_CLAIM, values)}
        return claimed

    def open_jobs(self) -> list[JobRow]:
        """Jobs of this process without any answer, oldest first."""
        return [_job(row) for row in self._database.rows(_OPEN, {"me": self._workers.me})]

    def open_elsewhere(self, device_id: str) -> list[JobRow]:
        """Jobs of other processes for a device without any answer, oldest first."""
        values = {"me": self._workers.me, "device_id": device_id}
        return [_job(row) for row in self._database.rows(_OPEN_ELSEWHERE, values)]

    def add_cancel(self, job_id: str, wall_ms: int) -> None:
        """Remember that a job is no longer wanted."""
        self._database.change(_ADD_CANCEL, {"job_id": job_id, "wall_ms": wall_ms})

    def cancelled(self) -> set[str]:
        """Ids of the jobs that were cancelled and whose outcome nobody took."""
        return {row[0] for row in self._database.rows(_CANCELLED)}

    def known_answers(self, job_ids: Sequence[str]) -> dict[str, set[tuple[int, int]]]:
        """(attempt, rev) of every answer that is there, for each of the jobs."""
        known: dict[str, set[tuple[int, int]]] = {job_id: set() for job_id in job_ids}
        for row in self._database.rows(_KNOWN, {"job_ids": list(known)}):
            known[row[0]].add((row[1], row[2]))
        return known

    def add_answers(self, answers: Sequence[AnswerRow], wall_ms: int) -> None:
        """Remember answers together that are not there yet; inside one transaction with the look
        at what is.
        """
        if answers:
            rows = [_answer_values(answer, wall_ms) for answer in answers]
            self._database.change(_ADD_ANSWER, rows)

    def add_answer(self, answer: AnswerRow, wall_ms: int) -> bool:
        """Remember an answer before it is acknowledged.

        Returns:
            False if that very answer is there already, from whichever process, or if the host
            answers a job that has an answer.
        """
        row = _answer_values(answer, wall_ms)
        with self._database.transaction():
            if answer.attempt == 0 and self.answers(answer.job_id):
                return False
            return self._database.change(_ADD_ANSWER, row) == 1

    def answers(self, job_id: str) -> list[AnswerRow]:
        """All answers to a job, the outcome first and late truths after it."""
        return [AnswerRow(*row) for row in self._database.rows(_ANSWERS, {"job_id": job_id})]

    def untaken(self) -> list[AnswerRow]:
        """Outcomes of this process's jobs that the caller has not taken yet, oldest first."""
        return [AnswerRow(*row) for row in self._database.rows(_UNTAKEN, {"me": self._workers.me})]

    def take(self, job_id: str) -> bool:
        """Remember that the caller has its outcome and does not need it again.

        Returns:
            False if the job is not, or no longer, this process's: another one has its outcome.
        """
        with self._database.transaction():
            values = {"which": job_id, "me": self._workers.me}
            mine = self._database.change(_LET_GO, values) == 1
            if mine:
                self._database.change(_ADD_TAKEN, {"job_id": job_id})
        return mine


def _answer_values(answer: AnswerRow, wall_ms: int) -> dict[str, object]:
    return {
        "job_id": answer.job_id,
        "attempt": answer.attempt,
        "rev": answer.rev,
        "body": answer.body,
        "verdict": answer.verdict,
        "fingerprint": answer.fingerprint,
        "host_wall_ms": answer.host_wall_ms,
        "wall_ms": wall_ms,
    }


def _job(row: Line) -> JobRow:
    return JobRow(*row)
