"""From an invitation to a measurement: real mosquitto with TLS, real commands, the real daemon.

Skipped where mosquitto or a runtime is not installed.
"""

import importlib.util
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from edgenas.fleet.audit_log import reading
from edgenas.fleet.clock import SystemClock
from edgenas.fleet.deployments import DeploymentOutcome
from edgenas.fleet.enrolment import Mode
from edgenas.fleet.enrolment_desk import EnrolmentDesk, Terms
from edgenas.fleet.enrolment_server import EnrolmentServer
from edgenas.fleet.host import FleetHost
from edgenas.fleet.jobs import MeasureSpec
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.keys import ensure_keys, load_signing_key
from edgenas.fleet.releases import ReleaseSpec, build_release, sign_release
from edgenas.fleet.shelf import BlobShelf
from edgenas.site.access import SiteAccess
from edgenas.site.authority import certificate_sha256, now_utc
from firmware_bridge.bench.stub import STUB_INPUT, STUB_MODEL
from firmware_bridge.enroll_settings import read_environment
from firmware_bridge.wire.enrolment import Token
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.release import Role, Target
from firmware_bridge.wire.signing import SigningKey
from tests.edgenas.fleet.conftest import outcome_of
from tests.edgenas.site.sites import NEEDS_MOSQUITTO, WAIT_S, Site, connack, eventually
from tests.firmware_bridge.agent.releases import some_weights
from tests.firmware_bridge.bench import tiny_model
from tests.firmware_bridge.wire.brokers import PROJECT

RUNTIMES = ("ai_edge_litert", "tflite_runtime")
FLEET = "lab"
SOON_DAYS = 0.4  # with the day that it is dated back, two thirds of its life are over at once

pytestmark = [
    NEEDS_MOSQUITTO,
    pytest.mark.skipif(
        not any(importlib.util.find_spec(name) for name in RUNTIMES),
        reason="no TFLite runtime is installed",
    ),
]


class LaterClock(SystemClock):
    """A host's clock that is some hours ahead."""

    def __init__(self, ahead_h: float) -> None:
        self._ahead_ms = round(ahead_h * 3_600_000)

    def wall_ms(self) -> int:
        return super().wall_ms() + self._ahead_ms


class Yard:
    """A site with its broker, the commands of host and device, and daemons."""

    def __init__(self, folder: Path, cleanup: ExitStack) -> None:
        self.folder, self._cleanup = folder, cleanup
        self.site = Site(folder / "site")
        cleanup.callback(self.site.stop)
        self.site.start()
        self.database = self.site.folder.path / "fleet.sqlite"
        self.keys = ensure_keys(folder / "keys")

    def host_command(self, *words: str) -> str:
        command = [sys.executable, "-m", "edgenas.cli.main", *words]
        command += ["--tls", str(self.site.folder.path)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=WAIT_S, check=True, cwd=PROJECT
        )
        return done.stdout

    def invite(self, *words: str) -> tuple[subprocess.Popen[str], str]:
        """A running `edgenas fleet invite`, and its token."""
        command = [sys.executable, "-m", "edgenas.cli.main", "fleet", "invite", *words]
        command += ["--tls", str(self.site.folder.path), "--fleet", FLEET]
        command += ["--listen", "127.0.0.1:0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT)
        self._cleanup.callback(self.end, process)
        assert process.stdout is not None
        found = None
        while found is None:
            line = process.stdout.readline()
            assert line, "it ended without a token"
            found = re.search(r"edgenas1-\S+", line)
        return process, found[0]

    @staticmethod
    def end(process: subprocess.Popen[str]) -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=WAIT_S)

    def verified(self) -> tuple[str, list[str], dict[str, str]]:
        """Verdict, flaws and slots of the one device, by `edgenas fleet verify`."""
        command = [sys.executable, "-m", "edgenas.cli.main", "fleet", "verify", "--json"]
        command += ["--tls", str(self.site.folder.path)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=WAIT_S, check=False, cwd=PROJECT
        )
        (row,) = json.loads(done.stdout or "[]") or pytest.fail(done.stderr)
        assert done.returncode == (row["verdict"] != "proven")
        return row["verdict"], row["flaws"], row["slots"]

    def ship(self, host: FleetHost, name: str) -> str:
        """Bring the stub of a model to a device; returns the bundle that it then runs."""
        contents: dict[Role, bytes] = {
            "model": STUB_MODEL,
            "probe_input": STUB_INPUT,
            "probe_output": STUB_INPUT,
        }
        files = {role: host.shelf.add_bytes(content) for role, content in contents.items()}
        spec = ReleaseSpec(fleet=FLEET, target=Target("generic"), files=files)
        manifest = build_release(spec, counter=host.next_release_counter(), now=now_utc())
        envelope = sign_release(manifest, load_signing_key(self.keys.signing))
        outcome = host.wait_deployment(host.offer(name, "main", envelope), WAIT_S)
        assert outcome is not None
        assert outcome.outcome == "SUCCEEDED", outcome
        return manifest.bundle_id()

    def enroll(self, token: str, name: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "firmware_bridge.cli", "enroll", "-", "--id", name]
        command += ["--config-dir", str(self.folder / name / "etc")]
        command += ["--state-dir", str(self.folder / name / "state")]
        return subprocess.run(
            command,
            input=token,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
            cwd=PROJECT,
        )

    def settings(self, name: str) -> Mapping[str, str]:
        return read_environment((self.folder / name / "etc/agent.env").read_text())

    def daemon(self, name: str) -> subprocess.Popen[bytes]:
        """The daemon as a service manager would start it: by the settings alone."""
        environment = {**os.environ, **self.settings(name)}
        environment["EDGENAS_PROBATION_S"] = "0"
        environment["EDGENAS_MEASURE_LOCK"] = str(self.folder / "measure.lock")
        log = (self.folder / f"{name}.log").open("ab")
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", "firmware_bridge.cli", "run"],
                env=environment,
                stdout=log,
                stderr=log,
                cwd=PROJECT,
            )
        self._cleanup.callback(stop, process)
        return process

    def open_host(self, desk: Callable[[FleetJournal], EnrolmentDesk] | None = None) -> FleetHost:
        journal = FleetJournal(self.database)
        self._cleanup.callback(journal.close)
        context = SiteAccess(self.site.folder.path).host()
        link = MqttLink(self.site.url, f"host-{FLEET}", tls=context)
        shelf = BlobShelf(self.folder / "shelf")
        enrolment = None if desk is None else desk(journal)
        host = FleetHost(link, FLEET, shelf, journal, enrolment=enrolment)
        return self._cleanup.enter_context(host)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(WAIT_S)


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    with ExitStack() as cleanup:
        yield Yard(tmp_path, cleanup)


@pytest.mark.slow
def test_an_invited_board_measures_over_tls_until_it_is_revoked(yard: Yard) -> None:
    inviting, token = yard.invite("--verify-key", str(yard.keys.verify[0]))
    done = yard.enroll(token, "board-1")
    assert done.returncode == 0, done.stderr
    second = yard.enroll(token, "board-2")
    assert second.returncode == 2
    assert "used up" in second.stderr
    assert not (yard.folder / "board-2/etc").exists()
    yard.end(inviting)

    settings = yard.settings("board-1")
    assert settings["EDGENAS_BROKER"] == yard.site.url
    key = Path(settings["EDGENAS_TLS_KEY"])
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700

    host = yard.open_host()
    yard.daemon("board-1")
    host.wait_for_devices(["board-1"], WAIT_S)
    model = host.shelf.add_bytes(STUB_MODEL)
    host.submit("board-1", MeasureSpec(label="stub", model=model, level="quick"))
    outcome = outcome_of(host)
    assert outcome.measurement is not None, outcome.failure

    check_what_it_runs(yard, host)
    said = yard.host_command("fleet", "revoke", "board-1", "--why", "lost")
    assert "the broker that runs here reads that now" in said
    certificate = Path(settings["EDGENAS_TLS_CERT"])
    eventually(lambda: not accepted(yard, certificate, key))
    host.submit("board-1", MeasureSpec(label="again", model=model, level="quick"))
    assert host.next_outcome(1.0) is None


def check_what_it_runs(yard: Yard, host: FleetHost) -> None:
    """The board signs what it runs, also after somebody has changed the bytes behind its link."""
    assert yard.verified() == ("proven", [], {})
    bundle = yard.ship(host, "board-1")
    assert yard.verified() == ("proven", [], {"main": bundle})
    model = yard.folder / "board-1/state/bundles" / bundle / "model.tflite"
    content = model.read_bytes()
    model.unlink()
    model.write_bytes(content[:-1] + b"x")
    word, flaws, runs = yard.verified()
    assert (word, runs) == ("disbelieved", {"main": bundle})
    assert "the bytes of its files" in flaws[0]
    with reading(yard.database) as audit:
        assert "device.disbelieved" in [entry.action for entry in audit.entries()]


def accepted(yard: Yard, certificate: Path, key: Path) -> bool:
    context = ssl.create_default_context(cafile=yard.site.folder.host / "ca.pem")
    context.load_cert_chain(certificate, key)
    return connack(yard.site.port, context) != b""


@pytest.mark.slow
def test_a_daemon_renews_its_certificate_and_uses_it(yard: Yard) -> None:
    def early(journal: FleetJournal) -> EnrolmentDesk:
        return EnrolmentDesk(journal, yard.site.folder, days=SOON_DAYS)

    _enrol_with(yard, early)
    before = Path(yard.settings("board-1")["EDGENAS_TLS_CERT"]).read_bytes()

    def later(journal: FleetJournal) -> EnrolmentDesk:
        return EnrolmentDesk(journal, yard.site.folder, clock=LaterClock(8))

    yard.open_host(later)
    yard.daemon("board-1")
    path = Path(yard.settings("board-1")["EDGENAS_TLS_CERT"])
    eventually(lambda: path.read_bytes() != before)
    ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    assert (ends - now_utc()).days > 300
    key = Path(yard.settings("board-1")["EDGENAS_TLS_KEY"])
    assert accepted(yard, path, key)
    with_log = (yard.folder / "board-1.log").read_text
    eventually(lambda: "a new certificate" in with_log())


@pytest.mark.slow
def test_a_board_that_is_enrolled_anew_takes_no_older_release(yard: Yard) -> None:
    """A new memory card has forgotten all; a host that was broken into repeats what was signed."""
    key, public = SigningKey.generate(), yard.folder / "release.pub"
    key.save_public(public)

    def desk(journal: FleetJournal) -> EnrolmentDesk:
        return EnrolmentDesk(journal, yard.site.folder)

    def signed(seed: int) -> dict[str, Any]:
        model = host.shelf.add_bytes(tiny_model.dense(some_weights(seed)))
        spec = ReleaseSpec(fleet=FLEET, target=Target("generic"), files={"model": model})
        counter = host.next_release_counter()
        return sign_release(build_release(spec, counter=counter, now=now_utc()), key)

    def end(device_id: str, envelope: dict[str, Any]) -> DeploymentOutcome:
        ended = host.wait_deployment(host.offer(device_id, "main", envelope), WAIT_S)
        assert ended is not None
        return ended

    _enrol_with(yard, desk, public.read_text())
    host, daemon = yard.open_host(), yard.daemon("board-1")
    host.wait_for_devices(["board-1"], WAIT_S)
    old, new = signed(1), signed(2)
    assert end("board-1", old).succeeded
    assert end("board-1", new).succeeded
    stop(daemon)
    yard.host_command("fleet", "revoke", "board-1", "--why", "its card is gone")
    shutil.rmtree(yard.folder / "board-1")

    _enrol_with(yard, desk, public.read_text())
    name = yard.settings("board-1")["EDGENAS_ID"]
    replayed = host.offer(name, "main", old)  # before the daemon has ever heard of the new one
    yard.daemon("board-1")
    refused = host.wait_deployment(replayed, WAIT_S)
    assert refused is not None
    assert refused.report is not None
    assert (refused.outcome, refused.report.code) == ("REJECTED", "old_counter")
    assert end(name, new).succeeded


def _enrol_with(
    yard: Yard, make: Callable[[FleetJournal], EnrolmentDesk], *verify_keys: str
) -> None:
    """Enrol through a server in this process, whose certificates are short-lived."""
    journal = FleetJournal(yard.database)
    try:
        journal.bind(FLEET)
        desk = make(journal)
        certificate, key = yard.site.folder.enrolment_server(now_utc())
        with EnrolmentServer("127.0.0.1", 0, certificate, key, desk.answer) as server:
            terms = Terms(FLEET, "generic", Mode.TOKEN, 1, 600, verify_keys=verify_keys)
            _, secret = desk.invite(terms)
            pin = certificate_sha256(certificate)
            token = Token("127.0.0.1", server.port, pin, secret).text()
            done = yard.enroll(token, "board-1")
            assert done.returncode == 0, done.stderr
    finally:
        journal.close()


@pytest.mark.long
def test_the_host_command_renews_and_ends_cleanly(yard: Yard) -> None:
    words = ["fleet", "serve", "--fleet", FLEET, "--tls", str(yard.site.folder.path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "edgenas.cli.main", *words],
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )
    assert process.stdout is not None
    assert "host of fleet lab" in process.stdout.readline()
    Yard.end(process)
    assert process.returncode == 0
