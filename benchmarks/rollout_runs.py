"""One rollout to a whole fleet, carried out by the real command in a process of its own.

Plans as the command does (signed releases, signed ways back, waves), starts `edgenas rollout
start`, watches what it and the broker cost, and afterwards compares three truths: what the devices
run, what the database says, and what was signed. Leaves fleets and brokers to the caller.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.record import ROOT
from edgenas.fleet.audit import check_chain
from edgenas.fleet.host import FleetHost
from edgenas.fleet.journal import FleetJournal
from edgenas.fleet.keys import KeyFiles, ensure_keys, load_signing_key
from edgenas.fleet.shelf import BlobShelf
from edgenas.rollout.course import Course
from edgenas.rollout.journal_store import JournalStore
from edgenas.rollout.plan import Gate, Pace, Plan
from edgenas.rollout.plan_file import Recipe
from edgenas.rollout.planning import Assigned, Draft, Parcel, make_plan
from edgenas.rollout.state import RolloutState, deployment_id
from edgenas.rollout.store import load
from edgenas.rollout.waves import WaveRule
from edgenas.site.access import SiteAccess
from firmware_bridge.wire.link import Link
from firmware_bridge.wire.mqtt import MqttLink
from firmware_bridge.wire.values import new_id

ONLINE_S = 1800.0
# Trials of simulated devices are made up and those of a stub are all noise: what is measured is the
# machinery. A wave waits for every one of its devices.
GATE = Gate(perf_pct=None, success_pct=100, soak_s=0.0)
WAVES = (
    WaveRule(canaries=(), gate=GATE),
    WaveRule(percent=5, gate=GATE),
    WaveRule(percent=25, gate=GATE),
    WaveRule(percent=100, gate=GATE),
)
PACE = Pace(max_in_flight=16, max_per_minute=None)


@dataclass(frozen=True)
class Cost:
    """What a process took, up to its end or to the last look.

    Attributes:
        cpu_s: Processor time, user and system, seconds.
        peak_bytes: Most resident memory (VmHWM).
    """

    cpu_s: float
    peak_bytes: int


@dataclass(frozen=True)
class Truths:
    """What a rollout left behind, counted; all but `devices` and `seconds` should be 0.

    Attributes:
        devices: How many took part.
        lost: Devices whose outcome the database does not have.
        doubled: Outcomes beyond the first of one deployment.
        wrong: Devices that run something else than what was signed for them.
        disagreeing: Devices of which the database believes something else than what they run.
        broken: Entries of the audit log that do not hold.
    """

    devices: int
    lost: int
    doubled: int
    wrong: int
    disagreeing: int
    broken: int


@contextlib.contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """A folder on the disk of the checkout, not in memory; gone at the end."""
    above = ROOT / "benchmarks" / "scratch"
    above.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=above) as folder:
        yield Path(folder)


class RunFolder:
    """Keys, shelf and database of a host, laid out as the commands expect them."""

    def __init__(self, folder: Path, url: str, fleet: str, tls: Path | None = None) -> None:
        """Make the keys.

        Args:
            folder: The run folder.
            url: Where the broker is.
            fleet: Name of the fleet.
            tls: The host's certificates, for a broker with TLS.
        """
        self.folder, self.url, self.fleet, self.tls = folder, url, fleet, tls
        self.keys: KeyFiles = ensure_keys(folder / "keys")
        self.database = folder / "fleet.sqlite"

    @contextlib.contextmanager
    def host(self) -> Iterator[FleetHost]:
        """A host in this process, for as long as no other one runs."""
        with contextlib.closing(FleetJournal(self.database)) as journal:
            shelf = BlobShelf(self.folder / "shelf")
            with FleetHost(self.link(), self.fleet, shelf, journal) as host:
                yield host

    def link(self) -> Link:
        """The host's link."""
        context = None if self.tls is None else SiteAccess(self.tls).host()
        return MqttLink(self.url, f"host-{self.fleet}", tls=context)

    def plan(
        self,
        groups: Mapping[str, Sequence[str]],
        parcel: Callable[[FleetHost, str], Parcel],
        waves: Sequence[WaveRule] = WAVES,
        pace: Pace = PACE,
    ) -> Plan:
        """Wait for all devices, sign, lay waves, and keep the plan as a draft.

        Args:
            groups: Name of a group to its devices.
            parcel: What a group gets.
            waves: In which order.
            pace: How fast.

        Raises:
            DevicesMissingError: Some did not come online.
        """
        with self.host() as host:
            everybody = [device for devices in groups.values() for device in devices]
            host.wait_for_devices(everybody, ONLINE_S)
            draft = Draft(
                rollout_id=new_id(),
                fleet=self.fleet,
                slot="main",
                counter=host.next_release_counter(),
                parcels=[parcel(host, name) for name in groups],
                assigned=[
                    Assigned(device_id=device, group=name, incumbent=host.incumbent(device, "main"))
                    for name, devices in groups.items()
                    for device in devices
                ],
                now=datetime.now(UTC),
            )
            key = load_signing_key(self.keys.signing)
            plan = make_plan(draft, Recipe(waves=tuple(waves), pace=pace), key)
            JournalStore(host.rollouts).add(plan)
        return plan

    def command(self, verb: str, *words: str) -> list[str]:
        """The command line of a verb on this folder."""
        command = [sys.executable, "-m", "edgenas", "rollout", verb, str(self.folder), *words]
        reach = ["--broker", self.url, "--fleet", self.fleet] if verb == "start" else []
        tls = ["--tls", str(self.tls)] if reach and self.tls is not None else []
        return [*command, *reach, *tls]

    def state(self, rollout_id: str) -> RolloutState:
        """How a rollout stands by the database."""
        with contextlib.closing(FleetJournal(self.database)) as journal:
            return load(JournalStore(journal.rollouts), rollout_id)


def carry_out(folder: RunFolder, plan: Plan, limit_s: float) -> tuple[float, Cost]:
    """Start the command and wait until it has ended; returns its seconds and its cost.

    Raises:
        RuntimeError: It ended otherwise than by completing the rollout, or not in time.
    """
    began_s, before = time.monotonic(), _children_cpu_s()
    with (
        (folder.folder / "start.log").open("ab") as log,
        subprocess.Popen(
            folder.command("start", plan.rollout_id[:8]),
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        ) as child,
        watched(child.pid) as watch,
    ):
        try:
            code = child.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            child.kill()
    seconds = time.monotonic() - began_s
    if code != 0:
        tail = (folder.folder / "start.log").read_text(encoding="utf-8")[-2000:]
        raise RuntimeError(f"expected the rollout to complete, it ended with {code}:\n{tail}")
    return seconds, Cost(_children_cpu_s() - before, watch.peak_bytes)


class Watch:
    """Reads the memory of a process now and then."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self.peak_bytes = 0

    def look(self) -> None:
        """Note the most that it has ever had."""
        with contextlib.suppress(OSError, StopIteration):
            lines = self._status.read_text(encoding="ascii").splitlines()
            words = next(line for line in lines if line.startswith("VmHWM")).split()
            self.peak_bytes = max(self.peak_bytes, int(words[1]) * 1024)


@contextlib.contextmanager
def watched(pid: int, every_s: float = 0.25) -> Iterator[Watch]:
    """Watch a process for the length of a block; its very last moments may be missed."""
    watch, over = Watch(pid), threading.Event()

    def keep_looking() -> None:
        while not over.wait(every_s):
            watch.look()

    thread = threading.Thread(target=keep_looking, name=f"watch-{pid}")
    thread.start()
    try:
        yield watch
    finally:
        watch.look()
        over.set()
        thread.join()


def cost_so_far(pid: int) -> Cost:
    """What a running process has taken until now."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    watch = Watch(pid)
    watch.look()
    ticks = int(fields[11]) + int(fields[12])
    return Cost(ticks / os.sysconf("SC_CLK_TCK"), watch.peak_bytes)


def truths(folder: RunFolder, plan: Plan, runs: Mapping[str, str | None]) -> Truths:
    """Compare what devices run with the plan and with the database.

    Args:
        folder: The host's.
        plan: What was carried out, to its end.
        runs: Device to the bundle that it runs by its own word past the broker.
    """
    wanted = {member.device_id: plan.group(member.group).bundle for member in plan.members}
    with contextlib.closing(FleetJournal(folder.database)) as journal:
        state = load(JournalStore(journal.rollouts), plan.rollout_id)
        chain = check_chain(journal.audit.entries())
        ended = [
            len(journal.deployments.outcomes(deployment))
            for course in state.courses.values()
            for deployment in _deployments_of(plan, course)
        ]
    believed = {course.device_id: course.forward.runs for course in state.courses.values()}
    succeeded = {c.device_id for c in state.courses.values() if c.forward.state == "SUCCEEDED"}
    return Truths(
        devices=len(wanted),
        lost=len(wanted.keys() - succeeded),
        doubled=sum(max(0, count - 1) for count in ended),
        wrong=sum(runs.get(device) != bundle for device, bundle in wanted.items()),
        disagreeing=sum(runs.get(device) != believed[device] for device in wanted),
        broken=0 if chain.sound else 1,
    )


def random_parcel(profile: str, size_bytes: int, seed: int) -> Callable[[FleetHost, str], Parcel]:
    """A release of one file of random bytes, for devices that only move it."""

    def parcel(host: FleetHost, name: str) -> Parcel:
        content = random.Random(f"{seed}/{name}").randbytes(size_bytes)
        return Parcel(name=name, profile=profile, files={"model": host.shelf.add_bytes(content)})

    return parcel


def _deployments_of(plan: Plan, course: Course) -> list[str]:
    attempts = range(1, course.forward.attempt + 1)
    return [deployment_id(plan.rollout_id, course.device_id, "forward", n) for n in attempts]


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
