"""The device's durable memory: one SQLite file, one log object for each kind of record.

Leaves the records to the logs it holds; itself knows the identity of this installation and how
often the daemon has started.
"""

import uuid
from contextlib import AbstractContextManager
from pathlib import Path
from typing import cast

from firmware_bridge.store.database import Database, JournalHeldError
from firmware_bridge.store.jobs import JobLog
from firmware_bridge.store.outbox import Outbox
from firmware_bridge.store.slot_log import SlotLog
from firmware_bridge.store.strikes import StrikeLog
from firmware_bridge.wire.errors import StoreError

JOURNAL_NAME = "journal.sqlite"  # in the state directory
PROOF_BYTES = 16_384


class Journal:
    """Every change is on the disk when the call that made it returns.

    Attributes:
        jobs: Measuring jobs.
        outbox: Answers waiting for the host's acknowledgement.
        slots: What each slot runs and is moving to.
        strikes: Crashes, and what is refused because of them.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the journal.

        Raises:
            StoreError: The file cannot be opened or is of another version.
        """
        self._database = Database(path)
        self.jobs = JobLog(self._database)
        self.outbox = Outbox(self._database)
        self.slots = SlotLog(self._database)
        self.strikes = StrikeLog(self._database)

    def transaction(self) -> AbstractContextManager[None]:
        """Make several changes durable together, or none of them."""
        return self._database.transaction()

    def install_id(self) -> str:
        """The identity of this state directory, made at its first use (32 hex digits)."""
        with self.transaction():
            known = self._fact("install_id")
            if known is None:
                known = uuid.uuid4().hex
                self._set_fact("install_id", known)
        return known

    def count_start(self) -> int:
        """Count one more start of the daemon; returns how many there have been."""
        with self.transaction():
            count = int(self._fact("start_count") or 0) + 1
            self._set_fact("start_count", str(count))
        return count

    def last_runtime(self) -> str:
        """The runtime that worked here last; empty before any did."""
        return self._fact("runtime") or ""

    def set_last_runtime(self, label: str) -> None:
        """Remember which runtime works here."""
        self._set_fact("runtime", label)

    def answers(self) -> bool:
        """Whether a change can be begun now; a disk that is full or read-only does answer."""
        try:
            self._database.begin_nothing()
        except JournalHeldError:
            return False
        except StoreError:
            return True
        return True

    def prove_room(self) -> None:
        """Make a change of no meaning, as large as most, to see whether the disk takes it.

        Raises:
            StoreError: It does not.
        """
        with self.transaction():
            self._set_fact("room", "x" * PROOF_BYTES)
        self._database.rows("DELETE FROM facts WHERE name='room'")

    def last_time_s(self) -> float:
        """The latest synchronised wall time that was noted, seconds since the epoch; 0 before."""
        return float(self._fact("last_time_s") or 0.0)

    def set_last_time_s(self, wall_s: float) -> None:
        """Note a wall time that was synchronised."""
        self._set_fact("last_time_s", f"{wall_s:.0f}")

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _fact(self, name: str) -> str | None:
        rows = self._database.rows("SELECT value FROM facts WHERE name=?", name)
        return cast(str, rows[0][0]) if rows else None

    def _set_fact(self, name: str, value: str) -> None:
        self._database.rows("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, value)
