"""Rollouts in a SQLite file of their own (WAL, synchronous FULL), for several processes at a time.

The fleet's journal belongs to the one process that speaks for the host; operators ask their verbs
of this file while that process runs. Leaves the meaning of rows to `events`.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgenas.rollout.errors import RolloutStoreError
from edgenas.rollout.events import Event, event_text, plan_text, read_event, read_plan
from edgenas.rollout.plan import Plan
from edgenas.rollout.store import Record

SCHEMA_VERSION = 1
_LOCK_WAIT_S = 10.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS rollouts (
    position INTEGER PRIMARY KEY, rollout_id TEXT NOT NULL UNIQUE, plan TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS rollout_events (
    rollout_id TEXT NOT NULL, position INTEGER NOT NULL, at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (rollout_id, position));
"""


class SqliteStore:
    """One file; safe to use from several threads and processes."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises:
            RolloutStoreError: It cannot be opened, or is of another version.
        """
        self._path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=_LOCK_WAIT_S
            )
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        try:
            self._prepare()
        except (sqlite3.Error, RolloutStoreError) as error:
            self._connection.close()
            raise (
                error if isinstance(error, RolloutStoreError) else self._unusable(error)
            ) from error

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        with self._transaction():
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version not in (0, SCHEMA_VERSION):
                raise RolloutStoreError(
                    f"expected rollouts of version {SCHEMA_VERSION} at {self._path}, got "
                    f"{version}; use the edgenas version that wrote the file"
                )
            for statement in _SCHEMA.split(";"):
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def add(self, plan: Plan) -> None:
        with self._transaction():
            rows = self._rows(
                "INSERT OR IGNORE INTO rollouts (rollout_id, plan) VALUES (?, ?)"
                " RETURNING position",
                *(plan.rollout_id, plan_text(plan)),
            )
            if not rows:
                raise RolloutStoreError(f"expected a new rollout, got {plan.rollout_id} again")

    def ids(self) -> list[str]:
        with self._transaction():
            rows = self._rows("SELECT rollout_id FROM rollouts ORDER BY position")
        return [str(rollout_id) for (rollout_id,) in rows]

    def plan(self, rollout_id: str) -> Plan:
        with self._transaction():
            rows = self._rows("SELECT plan FROM rollouts WHERE rollout_id=?", rollout_id)
        if not rows:
            raise RolloutStoreError(f"expected a rollout that was planned here, got {rollout_id}")
        return read_plan(str(rows[0][0]))

    def events(self, rollout_id: str, after: int = 0) -> list[Record]:
        with self._transaction():
            rows = self._rows(
                "SELECT position, at_ms, kind, body FROM rollout_events"
                " WHERE rollout_id=? AND position>? ORDER BY position",
                *(rollout_id, after),
            )
        return [Record(int(p), int(at), read_event(str(k), str(b))) for p, at, k, b in rows]

    def append(self, rollout_id: str, after: int, events: Sequence[Event], at_ms: int) -> bool:
        bodies = [(event.kind, event_text(event)) for event in events]
        with self._transaction():
            ((newest,),) = self._rows(
                "SELECT coalesce(max(position), 0) FROM rollout_events WHERE rollout_id=?",
                rollout_id,
            )
            if newest != after:
                return False
            for position, (kind, body) in enumerate(bodies, after + 1):
                self._rows(
                    "INSERT INTO rollout_events (rollout_id, position, at_ms, kind, body)"
                    " VALUES (?, ?, ?, ?, ?)",
                    *(rollout_id, position, at_ms, kind, body),
                )
        return True

    def close(self) -> None:
        """Close the file; the object is not usable afterwards."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Everything inside becomes durable together, or nothing; others wait their turn."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise self._unusable(error) from error
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _rows(self, statement: str, *values: str | int) -> list[tuple[str | int, ...]]:
        return self._connection.execute(statement, values).fetchall()

    def _unusable(self, error: Exception) -> RolloutStoreError:
        return RolloutStoreError(
            f"expected the rollouts in {self._path}, got {error}; free disk space or mend the "
            "permissions, then repeat the command: what is recorded is kept"
        )
