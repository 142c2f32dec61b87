"""What the parts of a host share: one engine, one journal, one shelf. The parts are in `host_*`."""

from edgenas.fleet.clock import Clock
from edgenas.fleet.engine import FleetEngine
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.shelf import BlobShelf


class HostPart:
    """One noun of a `FleetHost`; every part sees the same desks, behind the same lock."""

    def __init__(
        self, fleet: str, shelf: BlobShelf, journal: FleetJournal, engine: FleetEngine, clock: Clock
    ) -> None:
        """Nothing is sent.

        Args:
            fleet: Name of the fleet.
            shelf: The blobs.
            journal: What is durable.
            engine: Runs the desks.
            clock: Dates what callers ask for.
        """
        self.fleet = fleet
        self.shelf = shelf
        self._journal = journal
        self._engine = engine
        self._clock = clock
        self._desks = engine.desks
        self._changed = engine.changed
