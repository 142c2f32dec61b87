"""The host with the real daemon, real child processes and a real broker: the workflows end to end.

Skipped where no TFLite runtime is installed; on mosquitto skipped where that is not installed.
"""

import importlib.util
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from edgenas.broker import BrokerThread
from edgenas.cli.main import main
from edgenas.fleet.deployments import DeploymentOutcome
from edgenas.fleet.host import FleetHost
from edgenas.fleet.jobs import MeasureSpec
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.keys import ensure_keys, load_signing_key
from edgenas.fleet.local import LocalDevice, LocalDeviceSpec, LocalFleet
from edgenas.fleet.releases import ReleaseSpec, build_release, sign_release
from edgenas.fleet.shelf import BlobShelf
from edgenas.fleet.timers import HostTimers
from firmware_bridge.bench.stub import STUB_INPUT, STUB_MODEL
from firmware_bridge.wire.messages import Golden, Measurement
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.release import Role, Target
from firmware_bridge.wire.values import BlobRef, new_id
from tests.edgenas.fleet.conftest import eventually, outcome_of
from tests.firmware_bridge.wire.brokers import free_port

WAIT_S = 60.0  # a safety net: children import a runtime on a machine that may be busy
MOSQUITTO = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
RUNTIMES = ("ai_edge_litert", "tflite_runtime")

pytestmark = pytest.mark.skipif(
    not any(importlib.util.find_spec(name) for name in RUNTIMES),
    reason="no TFLite runtime is installed",
)


@pytest.fixture(scope="module", params=["embedded", "mosquitto"])
def broker_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    if request.param == "embedded":
        with BrokerThread() as broker:
            yield f"mqtt://127.0.0.1:{broker.port}"
        return
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    yield from _mosquitto(MOSQUITTO, tmp_path_factory.mktemp("mosquitto"))


def _mosquitto(program: str, folder: Path) -> Iterator[str]:
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n"
        "max_packet_size 262144\npersistence false\nlog_type error\n"
    )
    with subprocess.Popen([program, "-c", str(config)]) as process:
        yield f"mqtt://127.0.0.1:{port}"
        process.terminate()


class Site:
    """One host and one local daemon on a fleet of their own."""

    def __init__(self, url: str, folder: Path, cleanup: ExitStack) -> None:
        self.url, self.folder, self.cleanup = url, folder, cleanup
        self.fleet = f"lab-{new_id()[:8]}"
        self.keys = ensure_keys(folder / "keys")
        shutil.copytree(folder / "keys", folder / "given")  # what the board was given stays
        self.shelf = BlobShelf(folder / "shelf")
        device = LocalDeviceSpec(
            device_id=f"dev-{new_id()[:8]}",
            broker_url=url,
            fleet=self.fleet,
            state_dir=folder / "device",
            log_path=folder / "device.log",
            verify_keys=tuple(folder / "given" / key.name for key in self.keys.verify),
            lock_path=folder / "lock",
        )
        self.devices = cleanup.enter_context(LocalFleet([device]))
        self.host = self.open_host(HostTimers())
        self.devices.wait_online(self.host, WAIT_S)

    @property
    def device(self) -> LocalDevice:
        return self.devices.devices[0]

    @property
    def device_id(self) -> str:
        return self.device.spec.device_id

    @property
    def active_model(self) -> bytes | None:
        path = self.folder / "device" / "slots" / "main" / "current" / "model.tflite"
        return path.read_bytes() if path.exists() else None

    def open_host(self, timers: HostTimers) -> FleetHost:
        self._journal = FleetJournal(self.folder / "fleet.sqlite")
        self.cleanup.callback(self._journal.close)
        link = MqttLink(self.url, f"host-{self.fleet}")
        host = FleetHost(link, self.fleet, self.shelf, self._journal, timers=timers)
        self.cleanup.enter_context(host)
        return host

    def restart_host(self, timers: HostTimers) -> FleetHost:
        """Crash and come back: what was handed out last is not taken."""
        self.host.__exit__(RuntimeError, None, None)
        self._journal.close()
        self.host = self.open_host(timers)
        return self.host

    def spec(self, model: BlobRef) -> MeasureSpec:
        golden = Golden(self.shelf.add_bytes(STUB_INPUT), 1, STUB_INPUT.hex())
        return MeasureSpec(label="stub", model=model, level="quick", golden=golden)

    def ship(
        self, model: bytes, probe_output: bytes, *, stranger: bool = False
    ) -> DeploymentOutcome:
        contents: dict[Role, bytes] = {
            "model": model,
            "probe_input": STUB_INPUT,
            "probe_output": probe_output,
        }
        files = {role: self.shelf.add_bytes(content) for role, content in contents.items()}
        spec = ReleaseSpec(fleet=self.fleet, target=Target("generic"), files=files)
        now = datetime.now(timezone.utc)
        manifest = build_release(spec, counter=self.host.next_release_counter(), now=now)
        keys = ensure_keys(self.folder / "stranger") if stranger else self.keys
        envelope = sign_release(manifest, load_signing_key(keys.signing))
        outcome = self.host.wait_deployment(
            self.host.offer(self.device_id, "main", envelope), WAIT_S
        )
        assert outcome is not None
        assert outcome.report is not None
        return outcome


@pytest.fixture
def site(broker_url: str, tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as cleanup:
        yield Site(broker_url, tmp_path, cleanup)


def test_a_campaign_measures_survives_its_host_and_ships(site: Site) -> None:
    host, stub = site.host, site.shelf.add_bytes(STUB_MODEL)
    host.submit(site.device_id, replace(site.spec(stub), reference=stub))
    good = outcome_of(host)
    assert good.measurement is not None, good.failure
    assert good.measurement.verdict in ("ok", "noisy")
    assert good.measurement.golden_max_lsb == 0
    assert good.measurement.measuring_ms is not None
    assert good.host_wall_ms >= good.measurement.measuring_ms

    jobs = [host.submit(site.device_id, site.spec(stub)) for _ in range(2)]
    jobs.append(host.submit(site.device_id, site.spec(site.shelf.add_bytes(b"no model" * 99))))
    host = site.restart_host(HostTimers())
    again = outcome_of(host)
    assert (again.job_id, again.measurement) == (good.job_id, good.measurement)
    outcomes = [outcome_of(host) for _ in jobs]
    assert [outcome.job_id for outcome in outcomes] == jobs
    verdicts = [outcome.measurement.verdict for outcome in outcomes if outcome.measurement]
    assert set(verdicts[:2]) <= {"ok", "noisy"}
    assert verdicts[2] == "unsupported_op"  # infeasible is a verdict, not a failure

    assert site.active_model is None
    strange = site.ship(STUB_MODEL, STUB_INPUT, stranger=True)
    assert strange.outcome == "REJECTED"
    shipped = site.ship(STUB_MODEL, STUB_INPUT)
    assert shipped.succeeded, shipped
    assert site.active_model == STUB_MODEL
    wrong = site.ship(STUB_MODEL + b"\0", bytes(4))
    assert wrong.outcome == "FAILED_NO_STATE_CHANGE"
    assert wrong.report is not None
    assert wrong.report.code == "self_test"
    broken = site.ship(b"no model" * 99, STUB_INPUT)
    assert broken.outcome == "FAILED_NO_STATE_CHANGE"
    assert site.active_model == STUB_MODEL


@pytest.mark.parametrize("broker_url", ["embedded"], indirect=True)
def test_a_board_takes_what_the_former_spare_key_signs_and_the_next_one_once_given(
    site: Site,
) -> None:
    assert site.ship(STUB_MODEL, STUB_INPUT).succeeded
    assert main(["keys", "rotate", str(site.folder)]) == 0
    site.keys = ensure_keys(site.folder / "keys")
    assert site.ship(STUB_MODEL + b"\0", STUB_INPUT).succeeded
    assert site.active_model == STUB_MODEL + b"\0"
    assert main(["keys", "rotate", str(site.folder)]) == 0
    refused = site.ship(STUB_MODEL, STUB_INPUT)
    assert refused.report is not None
    assert (refused.outcome, refused.report.code) == ("REJECTED", "bad_signature")


@pytest.mark.slow  # the Will has a delay of its own
@pytest.mark.parametrize("broker_url", ["mosquitto"], indirect=True)
def test_a_daemon_killed_while_measuring_is_lost_and_tells_the_truth_later(site: Site) -> None:
    host = site.restart_host(HostTimers(death_grace_s=0.1, lost_after_s=0.1))
    host.wait_for_devices([site.device_id], WAIT_S)
    job_id = host.submit(site.device_id, site.spec(site.shelf.add_bytes(STUB_MODEL)))
    eventually(lambda: _status(host) == "measuring")
    site.device.kill()
    lost = outcome_of(host)  # after the Will's own delay
    assert (lost.job_id, lost.failure and lost.failure.code) == (job_id, "DEVICE_LOST")
    site.device.start()
    deadline_s = time.monotonic() + WAIT_S
    while not host.late_answers(job_id):
        assert time.monotonic() < deadline_s, site.device.log_tail()
        time.sleep(0.05)
    (late,) = host.late_answers(job_id)
    assert isinstance(late, Measurement)
    assert late.attempt == 2
    host.submit(site.device_id, site.spec(site.shelf.add_bytes(STUB_MODEL)))
    assert outcome_of(host).measurement is not None


def _status(host: FleetHost) -> str | None:
    (view,) = host.devices()
    return view.state.status if view.state else None
