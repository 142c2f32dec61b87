"""The host's end of a fleet: measures models on devices and ships releases to them.

This is what callers use: one door to its devices, jobs and deployments, each of which has its home
in `host_devices`, `host_jobs` and `host_deployments`. How it runs is in `engine`. Leaves what to
measure or ship to the caller, and the waves of a rollout to a planner.
"""

from types import TracebackType
from typing import Self

from edgenas.fleet.clock import Clock, SystemClock
from edgenas.fleet.engine import FleetEngine
from edgenas.fleet.enrolment_desk import EnrolmentDesk
from edgenas.fleet.host_deployments import HostDeployments
from edgenas.fleet.host_devices import HostDevices
from edgenas.fleet.host_jobs import HostJobs
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.shelf import BlobShelf
from edgenas.fleet.timers import HostTimers
from firmware_bridge.wire.link import Link
from firmware_bridge.wire.values import check_name


class FleetHost(HostDevices, HostJobs, HostDeployments):
    """Measures and ships over one link; use it as a context manager or call `open` and `close`.

    A host that starts on the journal of an earlier one goes on with its jobs, deployments and
    outcomes. Journal and shelf stay the caller's to close.

    Attributes:
        fleet: Name of the fleet.
        shelf: The blobs.
        rollouts: The journal's rollouts, for whoever carries them out.
        journal_id: Tells this journal from all others. A caller that chooses ids of jobs makes it
            part of them: a device answers an id that it knows with the answer that it gave before.
    """

    def __init__(
        self,
        link: Link,
        fleet: str,
        shelf: BlobShelf,
        journal: FleetJournal,
        clock: Clock | None = None,
        timers: HostTimers | None = None,
        enrolment: EnrolmentDesk | None = None,
    ) -> None:
        """Take up what the journal holds; nothing is sent before `open`.

        With `enrolment` it renews the certificates of its devices.

        Raises:
            FleetJournalError: The journal is about another fleet or cannot be read.
        """
        clock = clock or SystemClock()
        self.journal_id = journal.identity()
        self.rollouts = journal.rollouts
        named, timers = check_name(fleet, "fleet"), timers or HostTimers()
        engine = FleetEngine(link, named, shelf, journal, clock, timers, enrolment)
        super().__init__(named, shelf, journal, engine, clock)

    def open(self, timeout_s: float = 10.0) -> None:
        """Connect, say that the host is there, and start to take messages in.

        Raises:
            BrokerUnreachableError: No connection in time; says where, why and what to do.
            FleetStoppedError: The broker does not take packets as large as a chunk.
        """
        self._engine.open(timeout_s)

    def close(self) -> None:
        """Say that the host is gone and end its threads; the outcome handed out last is taken."""
        try:
            self._take_handed_out()
        finally:
            self._engine.shut()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._handed_out = None  # the caller failed while it worked on it
        self.close()
