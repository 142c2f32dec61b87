"""A real daemon that outlives brokers and hosts, and hosts that know nothing of one another.

Answers wait in the device's outbox while nobody is there; a new broker has kept nothing; a host on
another journal takes answers that were not meant for it. Skipped where no TFLite runtime is.
"""

import importlib.util
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import datetime, timezone
from pathlib import Path

import pytest

from edgenas.broker import BrokerThread
from edgenas.fleet.errors import FleetStoppedError
from edgenas.fleet.host import FleetHost
from edgenas.fleet.jobs import MeasureSpec
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.keys import ensure_keys, load_signing_key
from edgenas.fleet.local import LocalDevice, LocalDeviceSpec
from edgenas.fleet.releases import ReleaseSpec, build_release, sign_release
from edgenas.fleet.shelf import BlobShelf
from firmware_bridge.bench.stub import STUB_INPUT, STUB_MODEL
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.release import Role, Target
from firmware_bridge.wire.values import BlobRef
from tests.edgenas.fleet.conftest import eventually, outcome_of

WAIT_S = 60.0  # a safety net: children import a runtime on a machine that may be busy
FLEET, DEVICE = "lab", "dev-1"
RUNTIMES = ("ai_edge_litert", "tflite_runtime")

pytestmark = pytest.mark.skipif(
    not any(importlib.util.find_spec(name) for name in RUNTIMES),
    reason="no TFLite runtime is installed",
)


class Yard:
    """A daemon, the broker it knows, and hosts that each have a folder of their own."""

    def __init__(self, folder: Path, cleanup: ExitStack) -> None:
        self.folder, self._cleanup = folder, cleanup
        self.keys = ensure_keys(folder / "keys")
        self._brokers = ExitStack()
        cleanup.callback(self._brokers.close)
        self.port = self._brokers.enter_context(BrokerThread()).port
        self._hosts = ExitStack()
        cleanup.callback(self._hosts.close)

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def new_broker(self) -> None:
        """Another broker at the same address; it knows nothing of the first."""
        self._brokers.close()
        self._brokers.enter_context(BrokerThread(port=self.port))

    def stop_broker(self) -> None:
        self._brokers.close()

    def start_device(self) -> LocalDevice:
        spec = LocalDeviceSpec(
            device_id=DEVICE,
            broker_url=self.url,
            fleet=FLEET,
            state_dir=self.folder / "device",
            log_path=self.folder / "device.log",
            verify_keys=self.keys.verify,
            lock_path=self.folder / "lock",
        )
        return self._cleanup.enter_context(LocalDevice(spec))

    def host(self, name: str) -> FleetHost:
        """The host that keeps its things in folder `name`; another one must have gone."""
        self.cut_host()
        self.journal = FleetJournal(self.folder / name / "fleet.sqlite")
        self._hosts.callback(self.journal.close)
        link, shelf = MqttLink(self.url, f"host-{FLEET}"), BlobShelf(self.folder / name / "shelf")
        host = self._hosts.enter_context(FleetHost(link, FLEET, shelf, self.journal))
        host.wait_for_devices([DEVICE], WAIT_S)
        return host

    def cut_host(self) -> None:
        """End the present host."""
        self._hosts.close()

    def unacknowledged(self) -> int:
        """Answers that the device still has to get rid of."""
        path = self.folder / "device" / "journal.sqlite"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as journal:
            (count,) = journal.execute("SELECT count(*) FROM outbox WHERE acked=0").fetchone()
        return int(count)

    def has_the_model(self) -> bool:
        """Whether the device has all that a job needs, and no longer needs the host."""
        return any((self.folder / "device/blobs/sha256").glob("*"))


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    with ExitStack() as cleanup:
        yield Yard(tmp_path, cleanup)


def spec_on(host: FleetHost) -> MeasureSpec:
    return MeasureSpec(label="stub", model=host.shelf.add_bytes(STUB_MODEL), level="quick")


def test_an_answer_outlives_its_host_and_its_broker(yard: Yard) -> None:
    yard.start_device()
    host = yard.host("one")
    job_id = host.submit(DEVICE, spec_on(host))
    eventually(yard.has_the_model)
    yard.cut_host()
    yard.stop_broker()
    eventually(lambda: yard.unacknowledged() == 1)
    yard.new_broker()
    host = yard.host("one")
    outcome = outcome_of(host)
    assert outcome.job_id == job_id
    assert outcome.measurement is not None, outcome.failure
    assert outcome.measurement.attempt == 1
    eventually(lambda: yard.unacknowledged() == 0)


def test_a_host_on_another_journal_takes_nothing_from_the_first(yard: Yard) -> None:
    yard.start_device()
    host = yard.host("one")
    first = host.submit(DEVICE, spec_on(host))
    eventually(yard.has_the_model)
    yard.cut_host()
    eventually(lambda: yard.unacknowledged() == 1)

    stranger = yard.host("two")
    second = stranger.submit(DEVICE, spec_on(stranger))
    outcome = outcome_of(stranger)
    assert (outcome.job_id, outcome.measurement is None) == (second, False)
    eventually(lambda: yard.unacknowledged() == 0)
    assert first in {work_id for _, work_id, _ in yard.journal.devices.strays()}

    host = yard.host("one")
    outcome = outcome_of(host)
    assert outcome.job_id == first
    assert outcome.measurement is not None, outcome.failure
    assert outcome.measurement.attempt == 1


def test_a_deployment_whose_report_a_stranger_took_is_reported_again(yard: Yard) -> None:
    yard.start_device()
    host = yard.host("one")
    model = host.shelf.add_bytes(STUB_MODEL)
    probe = host.shelf.add_bytes(STUB_INPUT)
    files: dict[Role, BlobRef] = {"model": model, "probe_input": probe, "probe_output": probe}
    spec = ReleaseSpec(fleet=FLEET, target=Target("generic"), files=files)
    manifest = build_release(
        spec, counter=host.next_release_counter(), now=datetime.now(timezone.utc)
    )
    envelope = sign_release(manifest, load_signing_key(yard.keys.signing))
    deployment = host.offer(DEVICE, "main", envelope)
    eventually(lambda: host.deployment_phase(deployment) in ("VERIFYING", "ACTIVATING"))
    yard.cut_host()
    eventually(lambda: yard.unacknowledged() == 1)
    yard.host("two")
    eventually(lambda: yard.unacknowledged() == 0)
    outcome = yard.host("one").wait_deployment(deployment, WAIT_S)
    assert outcome is not None
    assert outcome.succeeded, outcome


def test_of_two_hosts_of_one_fleet_the_older_one_ends_and_says_why(yard: Yard) -> None:
    yard.start_device()
    older = yard.host("one")
    with ExitStack() as cleanup:
        journal = cleanup.enter_context(closing(FleetJournal(yard.folder / "two.sqlite")))
        link, shelf = MqttLink(yard.url, f"host-{FLEET}"), BlobShelf(yard.folder / "two")
        newer = cleanup.enter_context(FleetHost(link, FLEET, shelf, journal))
        with pytest.raises(FleetStoppedError, match="another one has connected"):
            older.next_outcome(WAIT_S)
        newer.wait_for_devices([DEVICE], WAIT_S)
        newer.submit(DEVICE, spec_on(newer))
        assert outcome_of(newer).measurement is not None
