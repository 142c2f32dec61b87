"""The SQLite file below a study: schema, version and transactions (WAL, synchronous FULL).

A change is on the disk when the call that made it returns, and rows are only ever added. What the
rows mean is left to `edgenas.search.study`.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgenas.search.errors import StudyError

APPLICATION_ID = 0x656E7331  # "ens1": tells a study from any other SQLite file
SCHEMA_VERSION = 1
LOCK_WAIT_S = 10.0

_SCHEMA = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE budgets (position INTEGER PRIMARY KEY, device TEXT NOT NULL,"
    " body TEXT NOT NULL, wall_ms INTEGER NOT NULL)",
    "CREATE TABLE trials (number INTEGER PRIMARY KEY, device TEXT NOT NULL,"
    " searcher TEXT NOT NULL, arch_id TEXT NOT NULL, arch TEXT NOT NULL,"
    " wall_ms INTEGER NOT NULL, UNIQUE (device, searcher, arch_id))",
    "CREATE TABLE results (number INTEGER PRIMARY KEY REFERENCES trials (number),"
    " body TEXT NOT NULL, raw TEXT, wall_ms INTEGER NOT NULL)",
    "CREATE TABLE sessions (position INTEGER PRIMARY KEY, device TEXT NOT NULL,"
    " arch_id TEXT NOT NULL, arch TEXT NOT NULL, body TEXT NOT NULL, raw TEXT,"
    " wall_ms INTEGER NOT NULL)",
)

Value = str | int | None
Row = tuple[Value, ...]


class Database:
    """One file; several processes and threads may have it open."""

    def __init__(self, path: Path, *, create: bool) -> None:
        """Open the file, or create it.

        Args:
            path: the file.
            create: whether it may be created; without, it is opened for reading only.

        Raises:
            StudyError: it cannot be opened, is no study, or is of another version.
        """
        self.path = path
        self._lock = threading.RLock()
        if not create and not path.is_file():
            raise StudyError(path, "expected a study, got no such file; name the one to read")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=LOCK_WAIT_S
            )
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        try:
            self._prepare(create)
        except BaseException:
            self._connection.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the changes inside durable together on leaving, or none of them.

        Raises:
            StudyError: SQLite could not begin or commit.
        """
        with self._lock:
            self.rows("BEGIN IMMEDIATE")
            try:
                yield
                self.rows("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, statement: str, *values: Value) -> list[Row]:
        """Run one statement and return all of its rows.

        Raises:
            StudyError: SQLite refused, for instance because the disk is full.
        """
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise self._unusable(error) from error

    def close(self) -> None:
        """Close the file; the object is not usable afterwards."""
        with self._lock:
            self._connection.close()

    def _prepare(self, create: bool) -> None:
        if create:
            self._refuse_foreign()
            self._use_write_ahead_log()
            self.rows("PRAGMA synchronous=FULL")
            with self.transaction():
                if not self._header()[0]:
                    self._create()
        application, version = self._header()
        if application != APPLICATION_ID:
            raise StudyError(self.path, "expected a study, got a file of another kind")
        if version != SCHEMA_VERSION:
            raise StudyError(
                self.path,
                f"expected version {SCHEMA_VERSION}, got {version}; use the edgenas version that "
                "wrote it, or start a new study in another file",
            )
        if not create:
            self.rows("PRAGMA query_only=ON")

    def _refuse_foreign(self) -> None:
        tables = self.rows("SELECT count(*) FROM sqlite_master")[0][0]
        if tables and self._header()[0] != APPLICATION_ID:
            raise StudyError(
                self.path, "expected a study, got another SQLite database; name another file"
            )

    def _use_write_ahead_log(self) -> None:
        if self.rows("PRAGMA journal_mode")[0][0] != "wal":
            self.rows("PRAGMA journal_mode=WAL")

    def _create(self) -> None:
        for statement in _SCHEMA:
            self.rows(statement)
        self.rows(f"PRAGMA application_id={APPLICATION_ID}")
        self.rows(f"PRAGMA user_version={SCHEMA_VERSION}")

    def _header(self) -> tuple[Value, Value]:
        application = self.rows("PRAGMA application_id")[0][0]
        return application, self.rows("PRAGMA user_version")[0][0]

    def _unusable(self, error: Exception) -> StudyError:
        return StudyError(
            self.path,
            f"expected a usable SQLite file, got {error}; free disk space, or end the process "
            "that holds it, then start again: it goes on from what is recorded",
        )
