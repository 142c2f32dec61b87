"""A fleet in one value: devices with scripted fates, and a desk with the host's real timers.

Time is a number; nothing sleeps. What a desk remembers survives the crash of a driver, as the
journal would. Leaves the wire and real daemons to the other tests.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edgenas.fleet.deployments import Progress, gives_up, step
from edgenas.fleet.timers import HostTimers
from edgenas.rollout.driver import Order, Word
from edgenas.rollout.evidence import Bounds
from edgenas.rollout.plan import Gate, Group, Member, Pace, Plan, Wave
from edgenas.rollout.verbs import Candidate
from firmware_bridge.wire.messages import DeployOutcome, DeployReport, Measurement, Verdict

PATH = ("ACCEPTED", "DOWNLOADING", "VERIFYING", "STAGED", "ACTIVATING", "PROBATION", "SUCCEEDED")
STEP_MS = 10_000
START_MS = 1_700_000_000_000
NEVER = math.inf
PEAK_MAX = 1000
BOUNDS = Bounds(peak_max_bytes=PEAK_MAX)
FATES = (
    *("ok", "reject", "breach", "fail", "flaky", "slow", "noisy", "rolled_back", "stuck"),
    *("gone", "away", "deaf", "already"),
)


class Crash(Exception):
    """The driver's process has died."""


class SimClock:
    """Both clocks of a host."""

    def __init__(self) -> None:
        self.ms = 0
        self.wall_offset_ms = START_MS

    def monotonic_s(self) -> float:
        return self.ms / 1000

    def wall_ms(self) -> int:
        return self.ms + self.wall_offset_ms


@dataclass(frozen=True)
class Fate:
    """What becomes of a device's attempt; `at` is the step of `PATH` where it goes off line."""

    kind: str = "ok"
    at: int = 0
    away_ms: int = 0


@dataclass
class Job:
    """A deployment as the desk remembers it."""

    order: Order
    progress: Progress
    word: Word = field(default_factory=lambda: Word("OFFERED"))
    ended: bool = False


@dataclass
class SimDevice:
    """A board: what it runs, what it works on, and when it goes on with that."""

    device_id: str
    active: str | None
    fates: Sequence[Fate] = (Fate(),)
    work: Order | None = None
    at: int = -1
    due_ms: float = NEVER
    fate: Fate = Fate()
    seen: set[str] = field(default_factory=set)
    switched_from: str | None = None


class SimDesk:
    """The host's desk and all devices behind it."""

    def __init__(self, clock: SimClock, timers: HostTimers | None = None) -> None:
        self.clock = clock
        self.timers = timers or HostTimers()
        self.devices: dict[str, SimDevice] = {}
        self.jobs: dict[str, Job] = {}
        self.wishes: dict[str, tuple[str | None, bool]] = {}
        self.on_offer: Callable[[Order], None] = lambda order: None
        self.crash_in: int | None = None
        self.joining: list[Candidate] = []

    def _may_crash(self) -> None:
        if self.crash_in is not None:
            self.crash_in -= 1
            if self.crash_in <= 0:
                self.crash_in = None
                raise Crash

    # -- what the driver asks ---------------------------------------------------------------

    def offer(self, order: Order) -> str | None:
        self._may_crash()
        if order.deployment_id in self.jobs:
            return None
        device = self.devices[order.device_id]
        if order.ways_back and device.active not in (order.incumbent, order.bundle):
            return "other_incumbent"
        self.on_offer(order)
        self._close_offered(order.device_id, "SUPERSEDED")
        self.jobs[order.deployment_id] = Job(order, Progress(self.clock.monotonic_s()))
        self.wishes[order.device_id] = (order.deployment_id, order.held)
        self._may_crash()
        return None

    def hold(self, deployment_id: str, reason: str | None) -> None:
        self._may_crash()
        job = self.jobs.get(deployment_id)
        if job is not None and self.wishes[job.order.device_id][0] == deployment_id:
            self.wishes[job.order.device_id] = (deployment_id, reason is not None)

    def withdraw(self, device_id: str, slot: str, deployment_id: str) -> None:
        self._may_crash()
        if self.wishes.get(device_id, (None, False))[0] == deployment_id:
            self._close_offered(device_id, "CANCELLED")
            self.wishes[device_id] = (None, False)

    def look(self, deployment_id: str) -> Word | None:
        job = self.jobs.get(deployment_id)
        return None if job is None else job.word

    def candidates(self, slot: str) -> Sequence[Candidate]:
        return self.joining

    # -- the host's rules -------------------------------------------------------------------

    def _close_offered(self, device_id: str, outcome: str) -> None:
        for job in self.jobs.values():
            if job.order.device_id == device_id and not job.ended and not job.progress.accepted:
                job.word, job.ended = Word(outcome), True

    def _end(self, job: Job, word: Word) -> None:
        job.word, job.ended = word, True
        device_id = job.order.device_id
        in_force = self.wishes[device_id][0] == job.order.deployment_id
        if in_force and word.state != "SUCCEEDED":
            self.wishes[device_id] = (None, False)

    def _give_up(self) -> None:
        for job in self.jobs.values():
            due_s, outcome = gives_up(job.progress, self.timers)
            if not job.ended and due_s is not None and self.clock.monotonic_s() >= due_s:
                self._end(job, Word(outcome))

    def _hear(self, job: Job, state: str) -> None:
        if not job.ended:
            job.progress = step(job.progress, state, self.clock.monotonic_s())
            job.word = Word(job.progress.phase)

    # -- the devices ------------------------------------------------------------------------

    def due_ms(self) -> float:
        """When a device or a timer has something to do next."""
        dues = [device.due_ms for device in self.devices.values()]
        for job in self.jobs.values():
            due_s = None if job.ended else gives_up(job.progress, self.timers)[0]
            dues.append(NEVER if due_s is None else due_s * 1000)
        dues += [self.clock.ms + STEP_MS for d in self.devices.values() if self._has_new_wish(d)]
        return min(dues, default=NEVER)

    def tick(self) -> None:
        """Let everything happen that is due."""
        for device in self.devices.values():
            self._take_wish(device)
            while device.due_ms <= self.clock.ms:
                self._go_on(device)
                self._take_wish(device)
        self._give_up()

    def _has_new_wish(self, device: SimDevice) -> bool:
        if _gone(device):
            return False
        wished, held = self.wishes.get(device.device_id, (None, False))
        if device.due_ms == NEVER and device.at >= 0 and PATH[device.at] == "STAGED":
            return not held or wished != (device.work and device.work.deployment_id)
        return device.work is None and wished is not None and wished not in device.seen

    def _take_wish(self, device: SimDevice) -> None:
        if _gone(device):
            return
        wished, held = self.wishes.get(device.device_id, (None, False))
        if device.work is not None:
            self._reconsider(device, wished, held)
        if device.work is None and wished is not None and wished not in device.seen:
            order = self.jobs[wished].order
            device.seen.add(wished)
            device.work, device.at = order, -1
            back = not order.ways_back
            device.fate = Fate() if back else self._next_fate(device)
            deaf = device.fate.kind == "deaf"
            delay = device.fate.away_ms if deaf else 0
            device.due_ms = self.clock.ms + STEP_MS + delay
            if deaf and not delay:
                device.due_ms = NEVER

    def _next_fate(self, device: SimDevice) -> Fate:
        first, *rest = device.fates
        device.fates = rest or (first,)
        return first

    def _reconsider(self, device: SimDevice, wished: str | None, held: bool) -> None:
        assert device.work is not None
        if wished == device.work.deployment_id:
            if device.at >= 0 and PATH[device.at] == "STAGED" and not held:
                device.due_ms = min(device.due_ms, self.clock.ms + STEP_MS)
        elif device.at < PATH.index("ACTIVATING"):
            outcome: DeployOutcome = "CANCELLED" if wished is None else "SUPERSEDED"
            self._report(device, outcome, None)
        elif wished is not None and PATH[device.at] == "PROBATION":
            order = self.jobs[wished].order
            if not order.ways_back:  # a way back
                device.active = device.switched_from
                self._report(device, "ROLLED_BACK", "back_release")

    def _go_on(self, device: SimDevice) -> None:
        assert device.work is not None
        job = self.jobs[device.work.deployment_id]
        back = not device.work.ways_back
        if device.at < 0 and device.active == device.work.bundle:
            self._report(device, "SUCCEEDED", "already_installed")
            return
        if back and device.active != device.work.incumbent:
            self._report(device, "REJECTED", "other_incumbent")
            return
        device.at += 1
        state, fate = PATH[device.at], device.fate
        if self._ends(device, state, fate.kind):
            return
        if state == "STAGED" and self.wishes[device.device_id] == (device.work.deployment_id, True):
            self._hear(job, state)
            device.due_ms = NEVER
            return
        if state == "ACTIVATING":
            device.switched_from, device.active = device.active, device.work.bundle
        self._hear(job, state)
        device.due_ms = self.clock.ms + STEP_MS
        if fate.kind in ("gone", "away") and device.at == fate.at:
            device.due_ms = self.clock.ms + fate.away_ms if fate.kind == "away" else NEVER

    def _ends(self, device: SimDevice, state: str, kind: str) -> bool:
        ends: dict[tuple[str, str], tuple[DeployOutcome, str, bool]] = {
            ("reject", "ACCEPTED"): ("REJECTED", "requires", False),
            ("breach", "ACCEPTED"): ("REJECTED", "bad_signature", False),
            ("flaky", "VERIFYING"): ("FAILED_NO_STATE_CHANGE", "stalled", True),
            ("fail", "STAGED"): ("FAILED_NO_STATE_CHANGE", "perf_limit", False),
            ("rolled_back", "SUCCEEDED"): ("ROLLED_BACK", "slow", False),
            ("stuck", "SUCCEEDED"): ("ROLLBACK_FAILED", "activation_failed", False),
        }
        if (kind, state) in ends:
            outcome, code, retryable = ends[kind, state]
            if outcome == "ROLLED_BACK":
                device.active = device.switched_from
            self._report(device, outcome, code, retryable)
            return True
        if state == "SUCCEEDED":
            self._report(device, "SUCCEEDED", None)
            return True
        return False

    def _report(
        self, device: SimDevice, outcome: DeployOutcome, code: str | None, retryable: bool = False
    ) -> None:
        assert device.work is not None
        tried = device.at >= PATH.index("STAGED") and bool(device.work.ways_back)
        report = DeployReport(
            attempt=1,
            rev=1,
            outcome=outcome,
            code=code,
            retryable=retryable,
            active=device.active,
            previous=None,
            counter=0,
            trial=trial(device.fate.kind) if tried else None,
        )
        self._end(self.jobs[device.work.deployment_id], Word(outcome, report))
        device.work, device.at, device.due_ms = None, -1, NEVER


def _gone(device: SimDevice) -> bool:
    """Whether a device is off line for good."""
    lost = device.fate.kind in ("gone", "deaf") and device.due_ms == NEVER
    return lost and device.work is not None and device.at == device.fate.at


def trial(kind: str) -> Measurement:
    """What a device of that fate measures; memory tells the good from the bad."""
    verdict: Verdict = "noisy" if kind == "noisy" else "ok"
    peak = PEAK_MAX * 2 if kind in ("slow", "fail") else PEAK_MAX
    return Measurement(
        attempt=1, rev=1, verdict=verdict, fingerprint_sha256="f" * 64,
        memory={"peak_delta_bytes": peak},
    )  # fmt: skip


def plan_of(
    groups: Mapping[str, Sequence[str]],
    waves: Sequence[tuple[str, Sequence[str], Gate]],
    *,
    rollout_id: str = "1" * 32,
    version: int = 2,
    incumbents: Mapping[str, str | None] | None = None,
    pace: Pace | None = None,
    joins_until_ms: int | None = None,
) -> Plan:
    """A plan with an envelope of nothing: group name to its devices, and the waves."""
    incumbents = incumbents or {}
    return Plan(
        rollout_id=rollout_id,
        slot="main",
        version=version,
        groups=tuple(
            Group(
                name=name,
                profile=name,
                bundle=f"{name}-{version}",
                release={"group": name, "signatures": [{"keyid": "key"}]},
                bounds=BOUNDS,
                joins=joins_until_ms is not None,
            )
            for name in groups
        ),
        members=tuple(
            Member(
                device_id=device,
                group=name,
                incumbent=incumbents.get(device, "old"),
                ways_back="back",
            )
            for name, devices in groups.items()
            for device in devices
        ),
        waves=tuple(Wave(name=n, devices=tuple(d), gate=g) for n, d, g in waves),
        ways_back={"back": ({"way": "back"},)},
        empty_way_back=dict.fromkeys(groups, "back"),
        pace=pace or Pace(),
        joins_until_ms=joins_until_ms,
    )
