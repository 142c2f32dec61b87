"""Rollouts to real daemons over the embedded broker, carried out by the command, which is killed.

Two groups get different models under one version. Leaves many devices and odd fates to the
simulated fleet.
"""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from edgenas.broker import BrokerThread
from edgenas.fleet.host import FleetHost
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.keys import ensure_keys, load_signing_key
from edgenas.fleet.local import LocalDeviceSpec, LocalFleet
from edgenas.fleet.shelf import BlobShelf
from edgenas.rollout.course import Course
from edgenas.rollout.events import Moved, Offered
from edgenas.rollout.journal_store import JournalStore
from edgenas.rollout.plan import Gate, Plan
from edgenas.rollout.plan_file import Recipe
from edgenas.rollout.planning import Assigned, Draft, Parcel, make_plan
from edgenas.rollout.state import RolloutState
from edgenas.rollout.store import load
from edgenas.rollout.waves import WaveRule
from firmware_bridge.bench.stub import STUB_INPUT, STUB_MODEL
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.release import Limits, Role, Trial
from firmware_bridge.wire.values import new_id

FLEET = "lab"
WAIT_S = 100.0  # a safety net: children import a runtime on a machine that may be busy
ROOT = Path(__file__).resolve().parents[3]
GROUPS = {"dev-a": "left", "dev-b": "right"}
# What is under test is the machinery: a stub's latency of a microsecond is all noise.
EASY = Gate(perf_pct=None, soak_s=0.0)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not any(importlib.util.find_spec(name) for name in ("ai_edge_litert", "tflite_runtime")),
        reason="no TFLite runtime is installed",
    ),
]


class Site:
    """A run folder, a broker, two daemons, and the command."""

    def __init__(self, folder: Path, url: str, cleanup: ExitStack) -> None:
        self.folder, self.url, self.run = folder, url, folder / "run"
        self.keys = ensure_keys(self.run / "keys")
        specs = [
            LocalDeviceSpec(
                device_id=device_id,
                broker_url=url,
                fleet=FLEET,
                state_dir=folder / device_id,
                log_path=folder / f"{device_id}.log",
                verify_keys=self.keys.verify,
                lock_path=folder / "lock",
            )
            for device_id in GROUPS
        ]
        self.daemons = cleanup.enter_context(LocalFleet(specs))
        self.journal = FleetJournal(self.run / "fleet.sqlite")
        cleanup.callback(self.journal.close)
        self.store = JournalStore(self.journal.rollouts)

    @contextlib.contextmanager
    def host(self) -> Iterator[FleetHost]:
        link, shelf = MqttLink(self.url, f"host-{FLEET}"), BlobShelf(self.run / "shelf")
        with FleetHost(link, FLEET, shelf, self.journal) as host:
            self.daemons.wait_online(host, WAIT_S)
            yield host

    def plan(self, models: dict[str, bytes]) -> Plan:
        """A canary, then the other one."""
        with self.host() as host:
            draft = Draft(
                rollout_id=new_id(),
                fleet=FLEET,
                slot="main",
                counter=host.next_release_counter(),
                parcels=[parcel(host, name, model) for name, model in models.items()],
                assigned=[
                    Assigned(device_id=d, group=g, incumbent=host.incumbent(d, "main"))
                    for d, g in GROUPS.items()
                ],
                now=datetime.now(UTC),
            )
        waves = (WaveRule(canaries=("dev-b",), gate=EASY), WaveRule(percent=100, gate=EASY))
        plan = make_plan(draft, Recipe(waves=waves), load_signing_key(self.keys.signing))
        self.store.add(plan)
        return plan

    def start(self, verb: str, *words: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "edgenas.cli.main", "rollout", verb, str(self.run)]
        reach = ("--broker", self.url, "--fleet", FLEET) if verb == "start" else ()
        return subprocess.Popen(
            [*command, *words, *reach],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, verb: str, *words: str) -> str:
        """Run a verb to its end."""
        with self.start(verb, *words) as child:
            try:
                out, err = child.communicate(timeout=WAIT_S)
            finally:
                child.kill()
        assert child.returncode == 0, f"{verb}: {out}\n{err}"
        return out

    def killed_when(self, rollout_id: str, so: Callable[[RolloutState], bool]) -> None:
        """Carry the rollout out until something has happened, then die."""
        with self.start("start", rollout_id) as child:
            deadline_s = time.monotonic() + WAIT_S
            try:
                while not so(load(self.store, rollout_id)):
                    assert child.poll() is None, child.communicate()
                    assert time.monotonic() < deadline_s, "it did not come about"
                    time.sleep(0.02)
            finally:
                child.send_signal(signal.SIGKILL)
                child.communicate()

    def running(self) -> dict[str, str | None]:
        """Digest of the model that each device runs."""
        found = {}
        for device_id in GROUPS:
            path = self.folder / device_id / "slots" / "main" / "current" / "model.tflite"
            found[device_id] = sha256(path.read_bytes()).hexdigest() if path.exists() else None
        return found


def parcel(host: FleetHost, name: str, model: bytes) -> Parcel:
    contents: dict[Role, bytes] = {
        "model": model,
        "probe_input": STUB_INPUT,
        "probe_output": STUB_INPUT,
    }
    return Parcel(
        name=name,
        profile="generic",
        files={role: host.shelf.add_bytes(content) for role, content in contents.items()},
        limits=Limits(peak_max_bytes=1 << 30, ratio_max=1000.0),
        trial=Trial(1, (), 1000, 512 << 20),
    )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with BrokerThread() as broker, ExitStack() as cleanup:
        yield Site(tmp_path, broker.url, cleanup)


def test_two_releases_two_groups_one_rollout_and_back_again_through_kills(site: Site) -> None:
    first = {"left": STUB_MODEL, "right": STUB_MODEL + b"\0"}
    plan = site.plan(first)
    site.call("start")
    before = site.running()
    assert before == expected(first)

    second = {"left": STUB_MODEL + b"\0\0", "right": STUB_MODEL + b"\0\0\0"}
    plan = site.plan(second)
    site.killed_when(plan.rollout_id, lambda now: any(c.forward.attempt for c in courses(now)))
    site.killed_when(
        plan.rollout_id, lambda now: any(c.forward.state == "SUCCEEDED" for c in courses(now))
    )
    site.call("start", plan.rollout_id[:8])
    assert site.running() == expected(second)
    check_trail(site, plan)

    site.call("rollback", "--note", "a test")
    site.killed_when(
        plan.rollout_id,
        lambda now: any(c.back is not None and c.back.attempt for c in courses(now)),
    )
    site.call("start")
    assert site.running() == before
    body = json.loads(site.call("status", "--json"))
    assert body["status"] == "ROLLED_BACK"
    assert {device["way_back"]["state"] for device in body["devices"]} == {"SUCCEEDED"}
    assert "rollback asked by" in site.call("status", "--events")


def expected(models: dict[str, bytes]) -> dict[str, str | None]:
    return {device: sha256(models[group]).hexdigest() for device, group in GROUPS.items()}


def courses(state: RolloutState) -> list[Course]:
    return list(state.courses.values())


def check_trail(site: Site, plan: Plan) -> None:
    """Nothing was offered twice, canaries went first, and the trials are in the records."""
    events = [record.event for record in site.store.events(plan.rollout_id)]
    offered = [event.device for event in events if isinstance(event, Offered)]
    assert offered == ["dev-b", "dev-a"]
    tried = [e.evidence for e in events if isinstance(e, Moved) and e.state == "SUCCEEDED"]
    for evidence in tried:
        assert evidence is not None
        assert evidence.golden_lsb == 0
        assert evidence.ratio is not None  # against the model that ran before
        assert evidence.peak_bytes is not None
    assert site.journal.deployments.open_deployments() == []
