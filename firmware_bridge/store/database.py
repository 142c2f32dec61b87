"""One SQLite file opened so that a committed change survives a power cut (WAL, synchronous FULL).

Leaves the meaning of the tables to the logs beside this module; knows only the schema, the
transactions and the lock that lets the main loop and the worker share one connection.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from firmware_bridge.faults import FAULTS
from firmware_bridge.wire.errors import StoreError

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE jobs (
    job_id TEXT PRIMARY KEY, position INTEGER NOT NULL, state TEXT NOT NULL,
    request BLOB NOT NULL, attempt INTEGER NOT NULL, rev INTEGER NOT NULL,
    received_s REAL NOT NULL, boot_id TEXT NOT NULL);
CREATE TABLE outbox (
    id TEXT PRIMARY KEY, position INTEGER NOT NULL, attempt INTEGER NOT NULL,
    rev INTEGER NOT NULL, payload BLOB NOT NULL, acked INTEGER NOT NULL);
CREATE TABLE slots (name TEXT PRIMARY KEY, row TEXT NOT NULL);
CREATE TABLE strikes (subject TEXT PRIMARY KEY, count INTEGER NOT NULL);
CREATE TABLE broken (subject TEXT PRIMARY KEY, reason TEXT NOT NULL, runtime TEXT NOT NULL);
"""

Value = str | int | float | bytes | None


class JournalHeldError(StoreError):
    """Another process holds the journal's lock and does not let go."""


class JournalDamagedError(StoreError):
    """The file is no database any more, or parts of it are not what they should be.

    Attributes:
        found: What SQLite says of it.
    """

    def __init__(self, where: str, found: str) -> None:
        self.found = found
        super().__init__(
            f"expected a whole journal{where}, got: {found}; "
            "start the daemon, or run edgenas-device recover: a new journal is begun"
        )


class Database:
    """A journal file; safe to use from several threads, one transaction at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create the file at `path`.

        Raises:
            JournalDamagedError: It was one, and is damaged.
            StoreError: The file cannot be opened or is of another schema version.
        """
        self._lock = threading.RLock()
        self._depth = 0
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise _unusable(path, error) from error
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._create_or_check(path)
            self._check_whole(path)
        except sqlite3.Error as error:
            self._connection.close()
            raise _unusable(path, error) from error
        except StoreError:
            self._connection.close()
            raise

    def _check_whole(self, path: Path) -> None:
        """Every page is read once, which takes milliseconds: the journal is small."""
        (found,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise JournalDamagedError(f" at {path}", found)

    def _create_or_check(self, path: Path) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            with self.transaction():
                for statement in _SCHEMA.split(";"):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        elif version != SCHEMA_VERSION:
            raise StoreError(
                f"expected journal version {SCHEMA_VERSION} at {path}, got {version}; "
                "run the agent version that wrote it or choose another --state-dir"
            )

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """Group changes: all of them become durable on leaving, or none on an exception.

        Args:
            durable: False does not wait for the disk: the changes survive the end of this process,
                and a power cut from the next durable change on. Within another transaction it is
                that one which counts.

        Raises:
            StoreError: SQLite could not begin or commit, for instance because the disk is full.
        """
        with self._lock:
            outermost = self._depth == 0
            if outermost and not durable:
                self._connection.execute("PRAGMA synchronous=NORMAL")
            try:
                yield from self._group(outermost=outermost)
            finally:
                if outermost and not durable:
                    self._connection.execute("PRAGMA synchronous=FULL")

    def _group(self, *, outermost: bool) -> Iterator[None]:
        if outermost:
            self.rows("BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield
            if outermost:
                self.rows("COMMIT")
        except BaseException:
            if outermost and self._connection.in_transaction:
                with suppress(sqlite3.Error):  # the first error is the one to tell
                    self._connection.execute("ROLLBACK")
            raise
        finally:
            self._depth -= 1

    def rows(self, statement: str, *values: Value) -> list[tuple[Value, ...]]:
        """Run one statement and return all of its rows; a change is durable on return.

        Raises:
            StoreError: SQLite refused, for instance because the disk is full.
        """
        with self._lock:
            try:
                return self._run(statement, values)
            except (sqlite3.Error, OSError) as error:
                raise _refused(error) from error

    def begin_nothing(self) -> None:
        """Take the lock that a change would need, and let go of it.

        Raises:
            JournalHeldError: Another process keeps it.
            StoreError: SQLite refused for another reason.
        """
        with self._lock:
            self.rows("BEGIN IMMEDIATE")
            self.rows("ROLLBACK")

    def _run(self, statement: str, values: tuple[Value, ...]) -> list[tuple[Value, ...]]:
        if statement.startswith("SELECT"):
            return self._connection.execute(statement, values).fetchall()
        FAULTS.before(statement)
        found = self._connection.execute(statement, values).fetchall()
        FAULTS.after(statement)
        return found

    def close(self) -> None:
        """Close the file; the object is not usable afterwards."""
        with self._lock:
            self._connection.close()


def _refused(error: sqlite3.Error | OSError) -> StoreError:
    text = str(error)
    if "locked" in text or "busy" in text:
        return JournalHeldError(
            f"expected the journal to take a change, got {text}; end the process that holds it"
        )
    if _is_damage(text):
        return JournalDamagedError("", text)
    unwritable = "readonly" in text or "Read-only" in text
    advice = "mount the disk writable" if unwritable else "free disk space"
    return StoreError(f"expected the journal to take a change, got {text}; {advice}")


def _is_damage(text: str) -> bool:
    return "malformed" in text or "not a database" in text


def _unusable(path: Path, error: sqlite3.Error) -> StoreError:
    if _is_damage(str(error)):
        return JournalDamagedError(f" at {path}", str(error))
    return StoreError(
        f"expected a journal at {path}, got {error}; "
        "give the daemon a writable --state-dir on a disk with free space"
    )
