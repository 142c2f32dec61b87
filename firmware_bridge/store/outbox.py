"""Answers that the host must have: kept until it acknowledges them, and a while longer for repeats.

Leaves publishing, and when to publish again, to the agent.
"""

from dataclasses import dataclass
from typing import cast

from firmware_bridge.store.database import Database

REMEMBERED = 200


@dataclass(frozen=True)
class Answer:
    """One encoded result; `answer_id` is the job or deployment it answers."""

    answer_id: str
    attempt: int
    rev: int
    payload: bytes


class Outbox:
    """The outbox table: one latest answer per job or deployment id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, answer: Answer) -> None:
        """Keep `answer` until it is acknowledged; replaces an older one of the same id."""
        self._database.rows(
            "INSERT OR REPLACE INTO outbox VALUES "
            "(?, (SELECT coalesce(max(position), 0) + 1 FROM outbox), ?, ?, ?, 0)",
            *(answer.answer_id, answer.attempt, answer.rev, answer.payload),
        )

    def get(self, answer_id: str) -> Answer | None:
        """The latest answer to `answer_id`, acknowledged or not."""
        rows = self._database.rows(
            "SELECT id, attempt, rev, payload FROM outbox WHERE id=?", answer_id
        )
        return _answer(rows[0]) if rows else None

    def pending(self) -> list[Answer]:
        """Answers without acknowledgement, oldest first."""
        rows = self._database.rows(
            "SELECT id, attempt, rev, payload FROM outbox WHERE acked=0 ORDER BY position"
        )
        return [_answer(row) for row in rows]

    def acknowledge(self, answer_id: str, attempt: int, rev: int) -> bool:
        """Take the host's word that it has the answer; False if that was about another revision."""
        with self._database.transaction():
            known = self.get(answer_id)
            if known is None or (known.attempt, known.rev) != (attempt, rev):
                return False
            self._database.rows("UPDATE outbox SET acked=1 WHERE id=?", answer_id)
            self._database.rows(
                "DELETE FROM outbox WHERE acked=1 AND position <="
                " (SELECT max(position) FROM outbox) - ?",
                REMEMBERED,
            )
        return True


def _answer(row: tuple[object, ...]) -> Answer:
    answer_id, attempt, rev, payload = row
    return Answer(cast(str, answer_id), cast(int, attempt), cast(int, rev), cast(bytes, payload))
