"""What has crashed here before, so that a device does not fall into the same hole for ever.

A subject is a blob digest (a crashing candidate) or `bundle:<id>` (a bundle that had to be rolled
back). Leaves the number of strikes that makes something broken to the callers.
"""

from typing import cast

from firmware_bridge.store.database import Database


class StrikeLog:
    """The strikes and broken tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def strike(self, subject: str) -> int:
        """Count one fault of `subject`; returns how many there are now."""
        with self._database.transaction():
            self._database.rows(
                "INSERT INTO strikes VALUES (?, 1)"
                " ON CONFLICT(subject) DO UPDATE SET count=count+1",
                subject,
            )
            rows = self._database.rows("SELECT count FROM strikes WHERE subject=?", subject)
        return cast(int, rows[0][0])

    def clear(self, subject: str) -> None:
        """Forget the strikes of `subject` after it has worked."""
        self._database.rows("DELETE FROM strikes WHERE subject=?", subject)

    def mark_broken(self, subject: str, reason: str, runtime: str) -> None:
        """Refuse `subject` from now on while the runtime is `runtime`."""
        self._database.rows(
            "INSERT OR REPLACE INTO broken VALUES (?, ?, ?)", subject, reason, runtime
        )

    def broken_reason(self, subject: str, runtime: str) -> str | None:
        """Why `subject` is refused under `runtime`, or None if it is not."""
        rows = self._database.rows(
            "SELECT reason FROM broken WHERE subject=? AND runtime=?", subject, runtime
        )
        return cast(str, rows[0][0]) if rows else None

    def forget(self, subject: str | None = None) -> int:
        """Take back the verdict on `subject`, or on everything; returns how many were broken."""
        with self._database.transaction():
            where, values = ("", ()) if subject is None else (" WHERE subject=?", (subject,))
            rows = self._database.rows(f"SELECT count(*) FROM broken{where}", *values)
            self._database.rows(f"DELETE FROM broken{where}", *values)
            self._database.rows(f"DELETE FROM strikes{where}", *values)
        return cast(int, rows[0][0])
