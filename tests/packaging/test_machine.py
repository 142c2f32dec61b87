"""The package under a real systemd, on a whole emulated ARM machine: readiness, watchdog, purge.

The broker and the host run outside; the machine reaches them as a board would. Shows what an
installed package cannot show without systemd as the first process. Latencies say nothing.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgenas.fleet.host import FleetHost
from edgenas.fleet.jobs import MeasureSpec
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.shelf import BlobShelf
from edgenas.fleet.timers import HostTimers
from firmware_bridge.bench.stub import STUB_MODEL
from firmware_bridge.wire.messages import Measurement
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.values import MIB
from tests.firmware_bridge.wire.brokers import BrokerProcess, start_mosquitto
from tests.packaging import machine
from tests.packaging.board import DEVICE, FLEET
from tests.packaging.roots import PROJECT

WAIT_S = 400.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(
        not os.environ.get("EDGENAS_PACKAGE_VM"), reason="`make test-vm` asks for it"
    ),
]

SCRIPT = Path(__file__).with_name("in_machine.sh")
EXPECTED = {
    "before enrolment": "inactive enabled",
    "ready": "active notify edgenas",
    "recovered": "success",
    "folders": "edgenas 750 edgenas 775",
    "settings readable": "edgenas yes, nobody no",
    "after measuring": "active, 0 restarts, same process yes",
    "after a kill": "active, 1 restarts",
    "after it hung": "active, 2 restarts",
    "watchdog timeouts": "1",
    "leave while it runs": "refused",
    "stopped": "inactive success",
    "left": "[]",
    "unit": "not-found",
    "user": "gone",
}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    started = start_mosquitto(tmp_path, 262_144)
    yield started
    started.stop()


@pytest.fixture
def package() -> Path:
    found = sorted((PROJECT / "build/deb").glob("*+py311_arm64.deb"))
    if not found:
        pytest.skip("no package for arm64: `make deb ARCH=arm64 PY=311` makes it")
    return found[-1]


@pytest.fixture
def gate() -> Iterator[socket.socket]:
    """What the machine waits at until the measurement is over."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_a_machine_lives_with_the_package_and_without_it_again(
    broker: BrokerProcess, gate: socket.socket, package: Path, tmp_path: Path
) -> None:
    machine.skip_unless_possible()
    settings = {"PORT": broker.port, "GATE": gate.getsockname()[1]}
    base = machine.base_machine()
    with machine.boot(base, tmp_path, SCRIPT, settings, package) as running:
        running.wait_for("=== ready to measure ===")
        waiting, _ = gate.accept()
        with waiting:
            measurement = _measure(broker.port, tmp_path)
        console = running.wait_for(machine.DONE)
    print(console)
    assert measurement.verdict in ("ok", "noisy")
    said = dict(line.split(": ", 1) for line in console.splitlines() if ": " in line)
    assert {name: said.get(name) for name in EXPECTED} == EXPECTED


def _measure(port: int, folder: Path) -> Measurement:
    shelf = BlobShelf(folder / "shelf")
    with ExitStack() as cleanup:
        journal = FleetJournal(folder / "fleet.sqlite")
        cleanup.callback(journal.close)
        link = MqttLink(f"mqtt://127.0.0.1:{port}", "host-of-lab")
        host = cleanup.enter_context(FleetHost(link, FLEET, shelf, journal, timers=HostTimers()))
        host.wait_for_devices([DEVICE], WAIT_S)
        model = shelf.add_bytes(STUB_MODEL)
        spec = MeasureSpec(label="stub", model=model, level="quick", memory_cap_bytes=128 * MIB)
        host.submit(DEVICE, spec)
        outcome = host.next_outcome(WAIT_S)
    assert outcome is not None
    assert outcome.measurement is not None, outcome.failure
    return outcome.measurement
