"""Which measuring jobs this device knows, in which order, and how far each one is.

Leaves the answers to `outbox` and the decision what to run next to the agent.
"""

from dataclasses import dataclass
from typing import cast

from firmware_bridge.store.database import Database

QUEUED = "queued"
RUNNING = "running"
DONE = "done"

REMEMBERED = 500


@dataclass(frozen=True)
class JobRow:
    """One job as the journal holds it.

    `received_s` is the monotonic second of its arrival within the boot named by `boot_id`;
    `rev` is the highest revision sent within `attempt`.
    """

    job_id: str
    state: str
    request: bytes
    attempt: int
    rev: int
    received_s: float
    boot_id: str


_COLUMNS = "job_id, state, request, attempt, rev, received_s, boot_id"


class JobLog:
    """The jobs table: jobs are added once, move forwards, and are remembered after their end."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, job_id: str) -> JobRow | None:
        """The job called `job_id`, or None if it was never seen or is long forgotten."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM jobs WHERE job_id=?", job_id)
        return _row(rows[0]) if rows else None

    def add(self, job_id: str, request: bytes, received_s: float, boot_id: str) -> None:
        """Remember a job that has just arrived: QUEUED behind all others, at its first attempt."""
        self._database.rows(
            "INSERT OR REPLACE INTO jobs VALUES"
            " (?, (SELECT coalesce(max(position), 0) + 1 FROM jobs), ?, ?, 1, 0, ?, ?)",
            *(job_id, QUEUED, request, received_s, boot_id),
        )

    def open_jobs(self) -> list[JobRow]:
        """Jobs without an answer yet, oldest first."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM jobs WHERE state!=? ORDER BY position", DONE
        )
        return [_row(row) for row in rows]

    def set_state(self, job_id: str, state: str) -> None:
        """Move a job to QUEUED, RUNNING or DONE."""
        self._database.rows("UPDATE jobs SET state=? WHERE job_id=?", state, job_id)

    def next_rev(self, job_id: str) -> tuple[int, int]:
        """Reserve the next message of a job; returns its (attempt, rev).

        Does not wait for the disk: a power cut ends the attempt, and what it takes is a revision of
        that attempt. The revision of an answer is durable with the answer.
        """
        with self._database.transaction(durable=False):
            self._database.rows("UPDATE jobs SET rev=rev+1 WHERE job_id=?", job_id)
            rows = self._database.rows("SELECT attempt, rev FROM jobs WHERE job_id=?", job_id)
        attempt, rev = rows[0]
        return cast(int, attempt), cast(int, rev)

    def restart_running(self) -> None:
        """After a start of the daemon: put jobs that were cut off back, as their next attempt."""
        self._database.rows(
            "UPDATE jobs SET state=?, attempt=attempt+1, rev=0 WHERE state=?", QUEUED, RUNNING
        )

    def forget_old(self) -> None:
        """Keep only the latest `REMEMBERED` finished jobs."""
        self._database.rows(
            "DELETE FROM jobs WHERE state=? AND position <= (SELECT max(position) FROM jobs) - ?",
            *(DONE, REMEMBERED),
        )


def _row(row: tuple[object, ...]) -> JobRow:
    job_id, state, request, attempt, rev, received_s, boot_id = row
    return JobRow(
        cast(str, job_id),
        cast(str, state),
        cast(bytes, request),
        cast(int, attempt),
        cast(int, rev),
        cast(float, received_s),
        cast(str, boot_id),
    )
