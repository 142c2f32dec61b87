"""The host's SQLite file: schema, transactions and the lock (WAL, synchronous FULL).

A change is on the disk when the call that made it returns. Rows are only ever added: a later row
amends an earlier one. Leaves the meaning of the tables to the logs beside this module.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgenas.fleet.errors import FleetJournalError

SCHEMA_VERSION = 2
_LOCK_WAIT_S = 1.0

_SCHEMA = """
CREATE TABLE identity (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE starts (position INTEGER PRIMARY KEY, wall_ms INTEGER NOT NULL);
CREATE TABLE sightings (
    position INTEGER PRIMARY KEY, device_id TEXT NOT NULL, install_id TEXT NOT NULL,
    sess INTEGER NOT NULL, boot_id TEXT, note TEXT NOT NULL, wall_ms INTEGER NOT NULL);
CREATE TABLE facts (
    position INTEGER PRIMARY KEY, device_id TEXT NOT NULL, body BLOB NOT NULL,
    wall_ms INTEGER NOT NULL);
CREATE TABLE strays (
    position INTEGER PRIMARY KEY, device_id TEXT NOT NULL, work_id TEXT NOT NULL,
    body BLOB NOT NULL, wall_ms INTEGER NOT NULL);
CREATE TABLE jobs (
    position INTEGER PRIMARY KEY, job_id TEXT NOT NULL UNIQUE, device_id TEXT NOT NULL,
    request BLOB NOT NULL, submitted_wall_ms INTEGER NOT NULL);
CREATE TABLE cancels (job_id TEXT PRIMARY KEY, wall_ms INTEGER NOT NULL);
CREATE TABLE answers (
    position INTEGER PRIMARY KEY, job_id TEXT NOT NULL, attempt INTEGER NOT NULL,
    rev INTEGER NOT NULL, body BLOB NOT NULL, host_wall_ms INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL);
CREATE INDEX answers_by_job ON answers (job_id, position);
CREATE TABLE taken (job_id TEXT PRIMARY KEY);
CREATE TABLE wishes (
    position INTEGER PRIMARY KEY, device_id TEXT NOT NULL, slot TEXT NOT NULL,
    rev INTEGER NOT NULL, body BLOB NOT NULL, wall_ms INTEGER NOT NULL);
CREATE TABLE deployments (
    position INTEGER PRIMARY KEY, deployment_id TEXT NOT NULL UNIQUE, device_id TEXT NOT NULL,
    slot TEXT NOT NULL, offered_wall_ms INTEGER NOT NULL);
CREATE TABLE deployment_steps (
    position INTEGER PRIMARY KEY, deployment_id TEXT NOT NULL, attempt INTEGER NOT NULL,
    rev INTEGER NOT NULL, state TEXT NOT NULL, wall_ms INTEGER NOT NULL);
CREATE TABLE deployment_outcomes (
    position INTEGER PRIMARY KEY, deployment_id TEXT NOT NULL, outcome TEXT NOT NULL,
    attempt INTEGER NOT NULL, rev INTEGER NOT NULL, body BLOB,
    host_wall_ms INTEGER NOT NULL, wall_ms INTEGER NOT NULL);
CREATE TABLE counters (
    position INTEGER PRIMARY KEY, slot TEXT NOT NULL, counter INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL);
"""

# What a file of an older version lacks: to be run, in order, on top of what it holds.
_UPGRADES = {
    2: """
CREATE TABLE ways_back (
    position INTEGER PRIMARY KEY, device_id TEXT NOT NULL, slot TEXT NOT NULL,
    replaces_bundle TEXT NOT NULL, counter INTEGER NOT NULL, envelope TEXT NOT NULL,
    wall_ms INTEGER NOT NULL);
CREATE TABLE served (
    position INTEGER PRIMARY KEY, device_id TEXT NOT NULL, bytes INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL);
""",
}

Value = str | int | float | bytes | None
Row = tuple[Value, ...]


class Database:
    """One file; safe to use from several threads, one transaction at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create the file at `path`.

        Raises:
            FleetJournalError: It cannot be opened, is in use elsewhere or of another version.
        """
        self._path = path
        self._lock = threading.RLock()
        self._depth = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=_LOCK_WAIT_S
            )
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        try:
            # One writer for ever: a second host on the same file would acknowledge results twice.
            self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._create_or_check()
        except sqlite3.Error as error:
            self._connection.close()
            raise self._unusable(error) from error
        except FleetJournalError:
            self._connection.close()
            raise

    def _unusable(self, error: Exception) -> FleetJournalError:
        return FleetJournalError(
            f"expected a fleet journal at {self._path}, got {error}; "
            "close the other host that uses it, or name another file on a disk with free space"
        )

    def _create_or_check(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version < SCHEMA_VERSION:
            with self.transaction():
                for script in _scripts(version):
                    for statement in script.split(";"):
                        self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        elif version != SCHEMA_VERSION:
            raise FleetJournalError(
                f"expected journal version {SCHEMA_VERSION} at {self._path}, got {version}; "
                "use the edgenas version that wrote it, or another file"
            )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Group changes: all of them become durable on leaving, or none on an exception.

        Raises:
            FleetJournalError: SQLite could not begin or commit.
        """
        with self._lock:
            outermost = self._depth == 0
            if outermost:
                self.rows("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
                if outermost:
                    self.rows("COMMIT")
            except BaseException:
                if outermost and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1

    def rows(self, statement: str, *values: Value) -> list[Row]:
        """Run one statement and return all of its rows; a change is durable on return.

        Raises:
            FleetJournalError: SQLite refused, for instance because the disk is full.
        """
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise FleetJournalError(
                    f"expected the journal {self._path} to take a change, got {error}; "
                    "free disk space, then start again: it goes on from what is recorded"
                ) from error

    def close(self) -> None:
        """Close the file; the object is not usable afterwards."""
        with self._lock:
            self._connection.close()


def _scripts(version: int) -> list[str]:
    """What brings a file of `version` up to date; 0 is a new one."""
    first = [_SCHEMA] if version == 0 else []
    return [*first, *(script for number, script in _UPGRADES.items() if number > version)]
