"""One fleet in this process: a broker, a host on its own journal and shelf, and device twins."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgenas.fleet.host import FleetHost
from edgenas.fleet.jobs import JobOutcome, MeasureSpec
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.shelf import BlobShelf
from edgenas.fleet.timers import HostTimers
from firmware_bridge.wire.memory import MemoryBroker, MemoryLink
from firmware_bridge.wire.messages import MeasureJob, SlotState
from firmware_bridge.wire.values import BlobRef
from tests.databases import place
from tests.edgenas.fleet.device_twin import Answer, DeviceTwin, Script
from tests.edgenas.fleet.office import Office
from tests.edgenas.fleet.scripted import good_measurement

FLEET = "lab"
WAIT_S = 30.0  # a safety net; nothing here takes that long
PATIENT = HostTimers(death_grace_s=600, lost_after_s=600)
HASTY = HostTimers(death_grace_s=0.05, lost_after_s=0.05)


class Lab:
    """A fleet whose host can be stopped, cut off and started again on the same journal."""

    def __init__(self, directory: Path, cleanup: ExitStack) -> None:
        self.directory = directory
        self.broker = MemoryBroker()
        self.shelf = BlobShelf(directory / "shelf")
        self.twins: dict[str, DeviceTwin] = {}
        self._cleanup = cleanup
        self._links: list[MemoryLink] = []
        cleanup.callback(self.cut_host)
        self.journal = self.open_journal()

    def open_journal(self) -> FleetJournal:
        return FleetJournal(place(self.directory / "fleet.sqlite"))

    def host(self, timers: HostTimers = PATIENT) -> FleetHost:
        """A host that is open; an earlier one must have been cut off or closed."""
        link = MemoryLink(self.broker, f"host-{FLEET}")
        self._links.append(link)
        self.current = FleetHost(link, FLEET, self.shelf, self.journal, timers=timers)
        self.current.open(WAIT_S)
        return self.current

    def cut_host(self) -> None:
        """Stop the host as a crash would: no goodbye, nothing marked as taken."""
        for link in self._links:
            link.drop()
            self.current.__exit__(RuntimeError, None, None)
        self._links.clear()
        self.journal.close()

    def restart_host(self, timers: HostTimers = PATIENT) -> FleetHost:
        """Cut the host off and start another on the same journal."""
        self.cut_host()
        self.journal = self.open_journal()
        return self.host(timers)

    def twin(
        self,
        device_id: str = "dev-1",
        measure: Script = good_measurement,
        keys: Mapping[str, bytes] | None = None,
        slots: Mapping[str, SlotState] | None = None,
    ) -> DeviceTwin:
        """A device that is on."""
        twin = DeviceTwin(self.broker, FLEET, device_id, measure=measure, keys=keys, slots=slots)
        self.twins[device_id] = twin
        self._cleanup.callback(twin.stop)
        twin.start()
        return twin

    def model(self, seed: int = 1, size: int = 200_000) -> BlobRef:
        """A model on the shelf; another seed means other bytes."""
        return self.shelf.add_bytes(bytes([seed]) * size)

    def spec(self, seed: int = 1) -> MeasureSpec:
        """What to measure: another seed means another model."""
        return MeasureSpec(label=f"model {seed}", model=self.model(seed), level="quick")


class Gate:
    """A script that waits: `entered` says that it measures, `leave` lets it answer."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.leave = threading.Semaphore(0)

    def __call__(self, job_id: str, job: MeasureJob, model: bytes) -> Answer | None:
        self.entered.release()
        assert self.leave.acquire(timeout=WAIT_S)
        return good_measurement(job_id, job, model)


def outcome_of(host: FleetHost) -> JobOutcome:
    """The next outcome, which must come."""
    outcome = host.next_outcome(WAIT_S)
    assert outcome is not None
    return outcome


def eventually(so: Callable[[], bool]) -> None:
    """Wait until something is so that messages under way bring about."""
    deadline_s = time.monotonic() + WAIT_S
    while not so():
        assert time.monotonic() < deadline_s, "it did not come about"
        time.sleep(0.002)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with ExitStack() as cleanup:
        yield Lab(tmp_path, cleanup)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with ExitStack() as cleanup:
        yield Office(tmp_path, cleanup)
