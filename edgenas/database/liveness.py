"""Which of the processes that work on a database are still alive: a lock each, held for life.

The kernel (for a file) or the server (for PostgreSQL) lets go of the lock when the process ends,
however it ends. So nothing has to be renewed in time, and no clock can be wrong about it. Linux
only. Leaves what follows from a death to whoever asks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from pathlib import Path
from typing import Protocol

from sqlalchemy import text

from edgenas.database.connection import Database
from edgenas.errors import EdgenasError

_FLOCK = "hhqqi4x"  # struct flock where a long has 64 bits: type, whence, start, length, process
# A schema of its own for each fleet's tables: its advisory locks are told apart by its name.
_SPACE = "hashtext('edgenas workers of ' || current_schema())"
_HOLD = text(f"SELECT pg_advisory_lock({_SPACE}, CAST(:number AS integer))")
_RELEASE = text(f"SELECT pg_advisory_unlock({_SPACE}, CAST(:number AS integer))")
_LOCKS = (
    "SELECT count(*) FROM pg_locks WHERE locktype='advisory' AND objsubid=2 AND granted"
    f" AND CAST(classid AS bigint)=(CAST({_SPACE} AS bigint) & 4294967295)"
    " AND database=(SELECT oid FROM pg_database WHERE datname=current_database())"
)
_HELD = text(f"{_LOCKS} AND objid=CAST(:number AS bigint)")
_HELD_BY_OTHERS = text(f"{_LOCKS} AND pid<>pg_backend_pid()")


class Liveness(Protocol):
    """Locks by number; one object holds at most a few, for as long as it lives."""

    def hold(self, number: int) -> None:
        """Take the lock of a number that is this process's own."""

    def alive(self, number: int) -> bool:
        """Whether somebody holds the lock of that number."""

    def others(self) -> bool:
        """Whether anybody else holds any lock."""

    def close(self) -> None:
        """Let go of everything."""


class FileLiveness:
    """One byte of a file for each number; a lock belongs to this object, not to the process."""

    def __init__(self, path: Path) -> None:
        """Open or create the file."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._held: set[int] = set()

    def hold(self, number: int) -> None:
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _byte(fcntl.F_WRLCK, number))
        self._held.add(number)

    def alive(self, number: int) -> bool:
        if number in self._held:
            return True
        answer = fcntl.fcntl(self._file, fcntl.F_OFD_GETLK, _byte(fcntl.F_WRLCK, number))
        return _is_locked(answer)

    def others(self) -> bool:
        everything = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        return _is_locked(fcntl.fcntl(self._file, fcntl.F_OFD_GETLK, everything))

    def close(self) -> None:
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.close(self._file)
        self._file = -1


class ServerLiveness:
    """Advisory locks of the connection that works on the database: neither outlives the other."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: set[int] = set()

    def hold(self, number: int) -> None:
        self._database.rows(_HOLD, {"number": number})
        self._held.add(number)

    def alive(self, number: int) -> bool:
        return bool(self._database.rows(_HELD, {"number": number})[0][0])

    def others(self) -> bool:
        return bool(self._database.rows(_HELD_BY_OTHERS)[0][0])

    def close(self) -> None:
        """Let go and hear that it is so: of a connection that ends, the server learns later.

        Where that fails the connection is gone, and the locks with it.
        """
        held, self._held = self._held, set()
        with contextlib.suppress(EdgenasError):
            for number in held:
                self._database.rows(_RELEASE, {"number": number})


def liveness_of(database: Database) -> Liveness:
    """What fits the kind of database."""
    path = database.address.file
    if path is None:
        return ServerLiveness(database)
    return FileLiveness(path.with_name(path.name + ".workers"))


def _is_locked(answer: bytes) -> bool:
    kind: int = struct.unpack(_FLOCK, answer)[0]
    return kind != fcntl.F_UNLCK


def _byte(kind: int, number: int) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, number, 1, 0)
