"""A package from `dpkg -i` to purge: it installs, enrols, measures, takes a release and goes back.

On a Debian root of the package's architecture, emulated where it is not this machine's. The broker
and the host run outside, on the loopback. Latencies seen here say nothing of any board.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from edgenas.export.run_bytes import run_codes
from edgenas.fleet.deployments import DeploymentOutcome
from edgenas.fleet.host import FleetHost
from edgenas.fleet.jobs import MeasureSpec
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.keys import ensure_keys, load_signing_key
from edgenas.fleet.releases import ReleaseSpec, build_release, build_way_back, sign_release
from edgenas.fleet.shelf import BlobShelf
from edgenas.fleet.timers import HostTimers
from edgenas.model.images import Codes, to_codes
from firmware_bridge.wire.messages import Golden
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.release import ReleaseManifest, Role, Target
from tests.edgenas.export.trained import train_digits
from tests.firmware_bridge.wire.brokers import BrokerProcess, start_mosquitto
from tests.packaging.board import DEVICE, FLEET, Board

# The answers come from XNNPACK. Another build of it may round one step otherwise; the kernels of
# tflite-runtime, which 32-bit boards have to use, round otherwise in every layer.
TOLERANCE_LSB = {"amd64": 1, "arm64": 1, "armhf": 4}
WAIT_S = 300.0  # a safety net: an emulated processor is some twenty times slower

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@dataclass(frozen=True)
class Network:
    """An exported subnet, and what it answers to one image on this machine."""

    model: bytes
    given: Codes
    answer: Codes


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> list[Network]:
    """The smallest and the largest INT8 subnet of a supernet that has learnt a little."""
    trained = train_digits(tmp_path_factory.mktemp("trained"))
    exporter = trained.exporter(tmp_path_factory.mktemp("exported"))
    found = []
    for arch in (trained.space.smallest(), trained.space.largest()):
        model = exporter.export(arch).path.read_bytes()
        given = to_codes(trained.unseen[:1], arch.resolution)
        found.append(Network(model, given, run_codes(model, given)))
    return found


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    started = start_mosquitto(tmp_path_factory.mktemp("mosquitto"), 262_144)
    yield started
    started.stop()


class Site:
    """A host with its broker, and the board's daemon as a member of its fleet."""

    def __init__(self, host: FleetHost, shelf: BlobShelf, keys_at: Path, arch: str) -> None:
        self.host, self.shelf = host, shelf
        self.tolerance_lsb = TOLERANCE_LSB[arch]
        self.key = load_signing_key(ensure_keys(keys_at).signing)

    def measure(self, network: Network) -> MeasureSpec:
        """A job that checks the answer as well."""
        given = self.shelf.add_bytes(network.given.tobytes())
        golden = Golden(given, 1, network.answer.tobytes().hex())
        model = self.shelf.add_bytes(network.model)
        return MeasureSpec(label="subnet", model=model, level="quick", golden=golden)

    def manifest(self, network: Network, probe_output: bytes) -> ReleaseManifest:
        contents: dict[Role, bytes] = {
            "model": network.model,
            "probe_input": network.given.tobytes(),
            "probe_output": probe_output,
        }
        files = {role: self.shelf.add_bytes(content) for role, content in contents.items()}
        spec = ReleaseSpec(
            fleet=FLEET,
            target=Target("generic"),
            files=files,
            probe_tolerance_lsb=self.tolerance_lsb,
        )
        counter = self.host.next_release_counter()
        return build_release(spec, counter=counter, now=datetime.now(timezone.utc))

    def ship(self, manifest: ReleaseManifest) -> DeploymentOutcome:
        envelope = sign_release(manifest, self.key)
        outcome = self.host.wait_deployment(self.host.offer(DEVICE, "main", envelope), WAIT_S)
        assert outcome is not None
        assert outcome.report is not None, outcome
        return outcome


@pytest.fixture
def site(broker: BrokerProcess, board: Board, tmp_path: Path) -> Iterator[Site]:
    """The host, and the board's daemon, online; enrols the board where it is not."""
    url = f"mqtt://127.0.0.1:{broker.port}"
    keys_at = tmp_path / "keys"
    (verify_key, *_) = ensure_keys(keys_at).verify
    board.hand_over(verify_key, "/tmp/release.pub")
    enroll = ("enroll", "--broker", url, "--fleet", FLEET, "--id", DEVICE)
    said = board.device(*enroll, "--verify-key", "/tmp/release.pub")
    assert f"enrolled as {DEVICE}" in said
    assert "nothing to do" in board.device(*enroll, "--verify-key", "/tmp/release.pub")
    board.add_setting("EDGENAS_PROBATION_S", "0")  # one probe instead of ten minutes of them
    shelf, log = BlobShelf(tmp_path / "shelf"), tmp_path / "daemon.log"
    with ExitStack() as cleanup:
        journal = FleetJournal(tmp_path / "fleet.sqlite")
        cleanup.callback(journal.close)
        link = MqttLink(url, "host-of-lab")
        timers = HostTimers(step_s=WAIT_S)
        host = cleanup.enter_context(FleetHost(link, FLEET, shelf, journal, timers=timers))
        cleanup.enter_context(board.daemon(log))
        host.wait_for_devices([DEVICE], WAIT_S)
        yield Site(host, shelf, keys_at, board.root.arch)
    print(log.read_text())


def test_the_package_installs_without_network_and_its_runtime_runs(
    board: Board, package: Path
) -> None:
    before = board.root.files()
    board.remember(before)
    said = board.install(package)
    assert "edgenas-device enroll" in said  # what to do next
    assert "uid=" in board.root.run("id", "edgenas").stdout
    findings = board.device("doctor", "--state-dir", "/var/lib", good=False)
    failed = [line for line in findings.splitlines() if line.startswith("fail")]
    assert not failed, findings
    assert "ran a model" in findings
    compiled = [path for path in board.root.files() - before if path.endswith(".pyc")]
    assert any("/firmware_bridge/agent/" in path for path in compiled)


def test_a_board_that_cannot_reach_its_broker_is_not_enrolled(board: Board) -> None:
    enroll = ("enroll", "--broker", "mqtt://127.0.0.1:1", "--id", DEVICE)
    said = board.device(*enroll, good=False)
    assert "127.0.0.1:1" in said
    assert not (board.root.path / "etc/edgenas/agent.env").exists()


def test_it_measures_takes_a_release_and_goes_back(
    site: Site, board: Board, networks: list[Network]
) -> None:
    small, large = networks
    site.host.submit(DEVICE, site.measure(small))
    measured = site.host.next_outcome(WAIT_S)
    assert measured is not None
    assert measured.measurement is not None, measured.failure
    assert measured.measurement.verdict in ("ok", "noisy")
    assert measured.measurement.golden_max_lsb is not None
    assert measured.measurement.golden_max_lsb <= site.tolerance_lsb

    first = site.manifest(small, small.answer.tobytes())
    assert site.ship(first).succeeded
    assert board.active_model == small.model

    wrong = np.invert(large.answer).tobytes()
    refused = site.ship(site.manifest(large, wrong))
    assert refused.outcome == "FAILED_NO_STATE_CHANGE", refused
    assert board.active_model == small.model

    second = site.manifest(large, large.answer.tobytes())
    assert site.ship(second).succeeded
    assert board.active_model == large.model
    back = build_way_back(second, first, now=datetime.now(timezone.utc))
    assert site.ship(back).succeeded
    assert board.active_model == small.model


def test_leaving_and_purging_leave_nothing(board: Board, package: Path) -> None:
    state = board.root.path / "var/lib/edgenas"
    assert (state / "journal.sqlite").exists()
    assert f"{DEVICE} has left {FLEET}" in board.device("leave")
    assert (state / "journal.sqlite").exists()  # models and journal stay
    board.root.run("dpkg", "--remove", "edgenas-device")
    assert (state / "journal.sqlite").exists()
    said = board.install_with_script(package)
    assert str(package.name) in said
    assert (state / "journal.sqlite").exists()  # ... and are found again
    board.root.run("dpkg", "--purge", "edgenas-device")
    left = {path for path in board.root.files() - board.remembered if not _of_dpkg(path)}
    assert left == set()
    accounts = (board.root.path / "etc/passwd").read_text() + board.root.run(
        "cat", "/etc/group"
    ).stdout
    assert "edgenas" not in accounts


def _of_dpkg(path: str) -> bool:
    """Whether a path is a record, a backup or a log of the package tools themselves."""
    records = ("var/lib/dpkg", "var/lib/apt", "var/log", "var/cache", "var/lib/systemd")
    return path.startswith((*records, "run", "tmp")) or (
        path.startswith("etc/") and path.endswith("-")
    )


@pytest.mark.skipif(shutil.which("lintian") is None, reason="lintian is not installed")
def test_lintian_has_nothing_to_say_that_is_not_overridden(package: Path) -> None:
    command = ["lintian", "--allow-root", "--fail-on", "error,warning", str(package)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
