"""The host's durable memory of one fleet: one database, one log for each kind of record.

Several processes may have it open. Leaves the records to the logs it holds; itself knows which
fleet it is about and how often a host has started on it.
"""

import getpass
import os
import socket
from contextlib import AbstractContextManager
from typing import cast

from sqlalchemy import bindparam, func, insert, select

from edgenas.database.address import Where
from edgenas.database.connection import Database, add_once
from edgenas.database.schema import IDENTITY, STARTS
from edgenas.fleet.audit_log import AuditLog
from edgenas.fleet.deployment_log import DeploymentLog
from edgenas.fleet.device_log import DeviceLog
from edgenas.fleet.enrolment_log import EnrolmentLog
from edgenas.fleet.errors import FleetJournalError
from edgenas.fleet.job_log import JobLog
from edgenas.fleet.label_log import LabelLog
from edgenas.fleet.release_log import ReleaseLog
from edgenas.fleet.rollout_log import RolloutLog
from edgenas.fleet.workers import Workers
from firmware_bridge.wire.values import new_id

WHAT = "fleet journal"

_SET = add_once(IDENTITY)
_GET = select(IDENTITY.c.value).where(IDENTITY.c.name == bindparam("name"))
_START = insert(STARTS)
_STARTED = select(func.count()).select_from(STARTS)


class FleetJournal:
    """Every change is durable when the call that made it returns; nothing is ever overwritten.

    Attributes:
        where: The database, without a password.
        workers: The processes that have it open.
        audit: Who did what to the fleet, and when.
        devices: Sightings, facts and stray answers.
        labels: Tags and groups.
        enrolments: Invitations, requests and certificates.
        jobs: Measuring jobs and their answers.
        releases: Signed releases.
        rollouts: Plans of rollouts, and everything that has happened to them.
        deployments: Wishes, deployments and release counters.
    """

    def __init__(self, where: Where, who: str | None = None) -> None:
        """Open or create the journal; other processes may have it open as well.

        Args:
            where: A file, or the URL of a PostgreSQL database.
            who: Whose actions this process carries out; None takes user and machine.

        Raises:
            FleetJournalError: It cannot be used, or is of a newer version.
            DatabaseError: The URL cannot be read.
        """
        self._database = Database(where, WHAT, FleetJournalError)
        self.where = str(self._database.address)
        who = who or this_person()
        try:
            self.workers = Workers(self._database, who)
        except BaseException:
            self._database.close()
            raise
        self.audit = AuditLog(self._database, who)
        self.devices = DeviceLog(self._database)
        self.labels = LabelLog(self._database, self.audit)
        self.enrolments = EnrolmentLog(self._database)
        self.jobs = JobLog(self._database, self.workers)
        self.releases = ReleaseLog(self._database)
        self.rollouts = RolloutLog(self._database, self.audit)
        self.deployments = DeploymentLog(self._database)

    def transaction(self) -> AbstractContextManager[None]:
        """Make several changes durable together, or none; no other process is in one meanwhile."""
        return self._database.transaction()

    def bind(self, fleet: str) -> None:
        """Say which fleet this journal is about; the first name stays.

        Raises:
            FleetJournalError: It is about another fleet.
        """
        self._database.change(_SET, {"name": "fleet", "value": fleet})
        known = self._identity("fleet")
        if known != fleet:
            raise FleetJournalError(
                f"expected the journal of fleet {fleet!r} at {self.where}, got that of {known!r}; "
                "name another journal or another fleet"
            )

    def fleet(self) -> str:
        """The fleet that this journal is about.

        Raises:
            FleetJournalError: Nobody has said so yet.
        """
        rows = self._database.rows(_GET, {"name": "fleet"})
        if not rows:
            raise FleetJournalError(
                f"expected the journal of a fleet at {self.where}, got one without; name another, "
                "or begin with `edgenas fleet invite` or `edgenas search`"
            )
        return str(rows[0][0])

    def identity(self) -> str:
        """The id of this journal, made at its first use (32 hex digits)."""
        self._database.change(_SET, {"name": "journal", "value": new_id()})
        return self._identity("journal")

    def count_start(self, wall_ms: int) -> int:
        """Count one more start of a host; returns how many there have been."""
        with self._database.transaction():
            self._database.change(_START, {"wall_ms": wall_ms})
            count = cast(int, self._database.rows(_STARTED)[0][0])
            self.audit.add("host.started", f"start {count}", wall_ms)
        return count

    def close(self) -> None:
        """Close it; what this process had taken up is free for the others. May be repeated."""
        self.workers.close()
        self._database.close()

    def _identity(self, name: str) -> str:
        return str(self._database.rows(_GET, {"name": name})[0][0])


def this_person() -> str:
    """User and machine, as the audit log names them."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container without a name for its user
        user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
