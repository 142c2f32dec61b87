"""The host's durable memory of one fleet: one SQLite file, one log for each kind of record.

Leaves the records to the logs it holds; itself knows which fleet it is about and how often a host
has started on it.
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import cast

from edgenas.fleet.database import Database
from edgenas.fleet.deployment_log import DeploymentLog
from edgenas.fleet.device_log import DeviceLog
from edgenas.fleet.errors import FleetJournalError
from edgenas.fleet.job_log import JobLog
from firmware_bridge.wire.values import new_id


class FleetJournal:
    """Every change is on the disk when the call that made it returns; nothing is ever overwritten.

    Attributes:
        devices: Sightings, facts and stray answers.
        jobs: Measuring jobs and their answers.
        deployments: Wishes, deployments and release counters.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the journal; only one host at a time can have it open.

        Raises:
            FleetJournalError: It cannot be opened, is in use, or is of another version.
        """
        self.path = path
        self._database = Database(path)
        self.devices = DeviceLog(self._database)
        self.jobs = JobLog(self._database)
        self.deployments = DeploymentLog(self._database)

    def transaction(self) -> AbstractContextManager[None]:
        """Make several changes durable together, or none of them."""
        return self._database.transaction()

    def bind(self, fleet: str) -> None:
        """Say which fleet this journal is about; the first name stays.

        Raises:
            FleetJournalError: It is about another fleet.
        """
        self._database.rows("INSERT OR IGNORE INTO identity VALUES ('fleet', ?)", fleet)
        (known,) = self._database.rows("SELECT value FROM identity WHERE name='fleet'")[0]
        if known != fleet:
            raise FleetJournalError(
                f"expected the journal of fleet {fleet!r} at {self.path}, got that of {known!r}; "
                "name another journal file or another fleet"
            )

    def identity(self) -> str:
        """The id of this journal, made at its first use (32 hex digits)."""
        with self.transaction():
            self._database.rows("INSERT OR IGNORE INTO identity VALUES ('journal', ?)", new_id())
            (found,) = self._database.rows("SELECT value FROM identity WHERE name='journal'")[0]
        return cast(str, found)

    def count_start(self, wall_ms: int) -> int:
        """Count one more start of a host; returns how many there have been."""
        with self.transaction():
            self._database.rows("INSERT INTO starts (wall_ms) VALUES (?)", wall_ms)
            rows = self._database.rows("SELECT count(*) FROM starts")
        return cast(int, rows[0][0])

    def close(self) -> None:
        """Close the file."""
        self._database.close()
