"""Which measuring jobs were given out and what came back, in the order it happened.

The first answer to a job is its outcome; later ones are late truths beside it. Leaves sending,
ordering and deadlines to `job_desk`.
"""

from dataclasses import dataclass
from typing import cast

from edgenas.fleet.database import Database, Row


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
    """

    job_id: str
    attempt: int
    rev: int
    body: bytes
    host_wall_ms: int


_ANSWER = "answers.job_id, attempt, rev, body, host_wall_ms"
_JOB = "jobs.job_id, device_id, request, submitted_wall_ms"


class JobLog:
    """Jobs, cancellations and answers; rows are only added."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, job: JobRow) -> None:
        """Remember a job before it is sent."""
        self._database.rows(
            "INSERT INTO jobs (job_id, device_id, request, submitted_wall_ms) VALUES (?, ?, ?, ?)",
            *(job.job_id, job.device_id, job.request, job.submitted_wall_ms),
        )

    def get(self, job_id: str) -> JobRow | None:
        """The job called `job_id`, or None if it was never submitted here."""
        rows = self._database.rows(f"SELECT {_JOB} FROM jobs WHERE job_id=?", job_id)
        return _job(rows[0]) if rows else None

    def open_jobs(self) -> list[JobRow]:
        """Jobs without any answer, oldest first."""
        rows = self._database.rows(
            f"SELECT {_JOB} FROM jobs WHERE job_id NOT IN (SELECT job_id FROM answers)"
            " ORDER BY position"
        )
        return [_job(row) for row in rows]

    def add_cancel(self, job_id: str, wall_ms: int) -> None:
        """Remember that a job is no longer wanted."""
        self._database.rows("INSERT OR IGNORE INTO cancels VALUES (?, ?)", job_id, wall_ms)

    def cancelled(self) -> set[str]:
        """Ids of all jobs that were cancelled."""
        return {cast(str, row[0]) for row in self._database.rows("SELECT job_id FROM cancels")}

    def add_answer(self, answer: AnswerRow, wall_ms: int) -> None:
        """Remember an answer before it is acknowledged."""
        self._database.rows(
            "INSERT INTO answers (job_id, attempt, rev, body, host_wall_ms, wall_ms)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            *(answer.job_id, answer.attempt, answer.rev, answer.body),
            *(answer.host_wall_ms, wall_ms),
        )

    def answers(self, job_id: str) -> list[AnswerRow]:
        """All answers to a job, the outcome first and late truths after it."""
        rows = self._database.rows(
            f"SELECT {_ANSWER} FROM answers WHERE job_id=? ORDER BY position", job_id
        )
        return [_answer(row) for row in rows]

    def untaken(self) -> list[AnswerRow]:
        """Outcomes that the caller has not taken yet, oldest first."""
        rows = self._database.rows(
            f"SELECT {_ANSWER} FROM answers WHERE job_id NOT IN (SELECT job_id FROM taken)"
            " AND position IN (SELECT min(position) FROM answers GROUP BY job_id)"
            " ORDER BY position"
        )
        return [_answer(row) for row in rows]

    def take(self, job_id: str) -> None:
        """Remember that the caller has its outcome and does not need it again."""
        self._database.rows("INSERT OR IGNORE INTO taken VALUES (?)", job_id)


def _job(row: Row) -> JobRow:
    return JobRow(*cast("tuple[str, str, bytes, int]", row))


def _answer(row: Row) -> AnswerRow:
    return AnswerRow(*cast("tuple[str, int, int, bytes, int]", row))
