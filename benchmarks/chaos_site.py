"""One schedule of faults, from a fresh fleet to the comparison of everything that is left.

A real broker, real daemons and the real command carry rollouts out while the schedule strikes;
whatever has died is started again, and an operator does what a person would: takes the figures of
the first closed gate, rolls back at the second. Leaves what goes wrong to `chaos_schedule`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

from benchmarks.chaos_parts import Board, Meddler, Program
from benchmarks.chaos_schedule import AT_MOMENTS, Fault, Schedule
from benchmarks.own_broker import OwnBroker
from benchmarks.real_daemons import running, spec_of, stub_parcel
from benchmarks.rollout_runs import GATE, PACE, RunFolder
from edgenas.fleet.audit import check_chain
from edgenas.fleet.audit_log import reading
from edgenas.fleet.clock import SystemClock
from edgenas.fleet.host import FleetHost
from edgenas.fleet.rollout_log import opened
from edgenas.rollout.asking import ask
from edgenas.rollout.conductor import Conductor
from edgenas.rollout.course import Course
from edgenas.rollout.decide import closed_gates
from edgenas.rollout.events import Event
from edgenas.rollout.host_desk import HostDesk
from edgenas.rollout.journal_store import JournalStore
from edgenas.rollout.plan import Plan
from edgenas.rollout.planning import Parcel
from edgenas.rollout.state import RolloutState
from edgenas.rollout.store import catch_up, load
from edgenas.rollout.summary import is_over
from edgenas.rollout.verbs import resume, rollback
from edgenas.rollout.waves import WaveRule

GROUPS = ("left", "right")
WAVES = (WaveRule(canaries=(), gate=GATE), WaveRule(percent=100, gate=GATE))
OPERATOR = "operator@chaos"
LIMIT_S = 900.0  # longer than every timer of the host but the week of an offer
LOOK_S = 0.1
BROKER_AWAY_S = 1.0
UNCHANGED = frozenset(
    {"REJECTED", "FAILED_NO_STATE_CHANGE", "ROLLED_BACK", "CANCELLED", "SUPERSEDED", "REMOVED"}
)


class StuckError(RuntimeError):
    """A rollout did not come to an end, or devices not to rest."""


@dataclass
class Row:
    """What became of one schedule.

    Attributes:
        seed: Its seed.
        statuses: How its rollouts ended.
        struck: What has struck, each with what the device was doing as far as the host knew.
        ordered: What daemons were told to suffer at moments of their own, if they live so long.
        meddled: Messages that were repeated, late or spoilt.
        pauses: Which gates have closed, in words.
        restarts: How often something that had ended was started again.
        problems: What is not as it should be; empty if all is well.
        seconds: How long it took.
    """

    seed: int
    statuses: list[str] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    ordered: list[str] = field(default_factory=list)
    meddled: dict[str, int] = field(default_factory=dict)
    pauses: list[str] = field(default_factory=list)
    restarts: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


class ChaosSite:
    """Everything of one schedule; lives as long as `cleanup`."""

    def __init__(
        self, path: Path, schedule: Schedule, devices: int, cleanup: ExitStack, log: str = ""
    ) -> None:
        """Start the broker and the daemons.

        Args:
            path: An empty folder.
            schedule: What shall happen.
            devices: How many daemons.
            cleanup: Ends them.
            log: A file in which the first daemon names its moments; none if empty.
        """
        self.row = Row(schedule.seed)
        self._path, self._schedule = path, schedule
        self._fleet = f"chaos{schedule.seed}"
        self._broker = OwnBroker(path, persistent=True)
        self._broker.start()
        cleanup.callback(self._broker.kill)
        self._broker_back_s: float | None = None
        self._folder = RunFolder(path / "run", self._broker.url, self._fleet)
        self._boards = [self._board(number) for number in range(devices)]
        for board in self._boards:
            cleanup.callback(board.kill)
            board.boot(f"log:{log}" if log and board is self._boards[0] else "")
        self._host: Program | None = None
        cleanup.callback(self._kill_host)
        self._meddler = Meddler(
            self._broker.url, self._fleet, schedule.mischief, seed=schedule.seed
        )
        cleanup.callback(self._meddler.close)
        self._plans: list[Plan] = []

    def run(self) -> Row:
        """Carry the schedule out, and compare what is left."""
        began_s = time.monotonic()
        try:
            self._meddler.open()
            self._roll_out(self._schedule.first)
            if self._schedule.ending == "rollback":
                self._operate(lambda state: rollback(state, OPERATOR, "the schedule says so"))
                self._drive(self._schedule.then)
            else:
                self._roll_out(self._schedule.then)
            self._compare()
        except StuckError as error:
            self.row.problems.append(str(error))
        self.row.meddled = dict(self._meddler.counts)
        self.row.seconds = time.monotonic() - began_s
        return self.row

    def _board(self, number: int) -> Board:
        name = f"real-{number:03d}"
        keys = self._folder.keys
        return Board(spec_of(self._path, self._broker.url, self._fleet, name, keys))

    # -- carrying out -----------------------------------------------------------------------

    def _roll_out(self, faults: Sequence[Fault]) -> None:
        groups = {
            name: [board.device_id for board in self._boards[number :: len(GROUPS)]]
            for number, name in enumerate(GROUPS)
            if self._boards[number :: len(GROUPS)]
        }
        self._plans.append(self._folder.plan(groups, self._parcel(), WAVES, PACE))
        self._drive(faults)

    def _parcel(self) -> Callable[[FleetHost, str], Parcel]:
        """Models of several chunks, other bytes for every group and rollout."""
        size = 200_000 + 1_000 * len(self._plans)
        return lambda host, name: stub_parcel(host, name, size + GROUPS.index(name))

    def _drive(self, faults: Sequence[Fault]) -> None:
        """Let the newest rollout go on to its end while faults strike."""
        plan = self._plans[-1]
        self._order([fault for fault in faults if fault.kind in AT_MOMENTS])
        due = sorted((f for f in faults if f.kind not in AT_MOMENTS), key=lambda f: f.at)
        words = ["host", *self._folder.command("start", plan.rollout_id)[3:]]
        self._host = host = Program(self._path, f"host-{len(self._plans)}", words)
        deadline_s, pauses = time.monotonic() + LIMIT_S, 0
        with opened(self._folder.database) as log:
            store = JournalStore(log)
            state = load(store, plan.rollout_id)
            began = state.position
            while not (is_over(state) and not host.running):
                self._check_deadline(deadline_s, f"rollout {state.status}", host)
                catch_up(store, state)
                while due and state.position - began >= due[0].at:
                    self._strike(due.pop(0), state)
                self._revive(state)
                if state.status == "PAUSED" and state.reasons:
                    pauses += 1
                    self.row.pauses += [f"{gate}: {why}" for gate, why in state.reasons.items()]
                    self._operate(partial(_as_a_person, pauses))
                time.sleep(LOOK_S)
        self._return_broker(now_s=math.inf)  # the last fault may have taken it away just now
        self.row.statuses.append(state.status)

    def _order(self, faults: Sequence[Fault]) -> None:
        """Daemons that shall fail at a moment of their own are started with that in mind."""
        for fault in faults:
            board = self._board_of(fault)
            board.kill()
            self.row.ordered.append(f"{fault.kind}: {fault.at}")
            board.power_goes = fault.kind == "power_cut_at_moment"
            full = f"enospc:{fault.at}+{fault.moments}"
            board.boot(full if fault.kind == "disk_full" else f"kill:{fault.at}")

    def _strike(self, fault: Fault, state: RolloutState) -> None:
        doing = "" if fault.device is None else self._doing(self._board_of(fault), state)
        self.row.struck.append(f"{fault.kind}{doing}")
        if fault.kind in ("broker_killed", "broker_forgets"):
            self._broker.kill()
            self._broker_back_s = time.monotonic() + BROKER_AWAY_S
            if fault.kind == "broker_forgets":
                (self._path / "mosquitto.db").unlink(missing_ok=True)
        elif fault.kind == "host_killed":
            self._kill_host()
        elif fault.kind == "host_clock" and self._host is not None:
            self._host.shift(fault.seconds)
        elif fault.kind == "device_clock":
            self._board_of(fault).shift(fault.seconds)
        elif fault.kind == "daemon_killed":
            self._board_of(fault).kill()
        elif fault.kind == "power_cut":
            self._board_of(fault).cut_power()

    def _revive(self, state: RolloutState) -> None:
        """What has ended is started again, as a service manager would."""
        self._return_broker(now_s=time.monotonic())
        for board in self._boards:
            if not board.running:
                self.row.struck.append(f"daemon ended{self._doing(board, state)}")
                board.come_back()
                self.row.restarts += 1
        if self._host is not None and not self._host.running and not is_over(state):
            self.row.restarts += self._host.status is not None
            self._host.start()

    def _kill_host(self) -> None:
        if self._host is not None:
            self._host.kill()

    def _operate(self, verb: Callable[[RolloutState], Sequence[Event]]) -> None:
        with opened(self._folder.database, OPERATOR) as log:
            now_ms = SystemClock().wall_ms()
            ask(JournalStore(log), self._plans[-1].rollout_id, verb, now_ms)

    def _board_of(self, fault: Fault) -> Board:
        assert fault.device is not None
        return self._boards[fault.device]

    def _doing(self, board: Board, state: RolloutState) -> str:
        way, trip = state.courses[board.device_id].newest
        return f" in {trip.state}" + (" on the way back" if way == "back" else "")

    def _check_deadline(self, deadline_s: float, what: str, host: Program | None = None) -> None:
        if time.monotonic() > deadline_s:
            told = [part.told() for part in (*self._boards, *([host] if host else []))]
            raise StuckError(f"{what} after {LIMIT_S:g} s\n" + "\n---\n".join(told))

    def _return_broker(self, now_s: float) -> None:
        """Start the broker again if it has been away for long enough."""
        if self._broker_back_s is not None and now_s >= self._broker_back_s:
            self._broker.start()
            self._broker_back_s = None

    # -- comparing --------------------------------------------------------------------------

    def _compare(self) -> None:
        """Let everything come to rest with nobody striking, then look at all of it."""
        for board in self._boards:
            board.kill()
            board.shift(0.0)
            board.come_back()
        with self._folder.host() as host:
            self._settle(host)
            store = JournalStore(host.rollouts)
            for board in self._boards:
                self._compare_device(board, host, load(store, self._plans[-1].rollout_id))
            for plan in self._plans:
                if not is_over(load(store, plan.rollout_id)):
                    self.row.problems.append(f"rollout {plan.version} has not ended")
        with reading(self._folder.database) as audit:
            chain = check_chain(audit.entries())
        if not chain.sound:
            self.row.problems.append(f"audit log: {chain.problem}")

    def _settle(self, host: FleetHost) -> None:
        """Late words of devices are heard until all of them rest."""
        host.wait_for_devices([board.device_id for board in self._boards], LIMIT_S)
        conductor = Conductor(JournalStore(host.rollouts), HostDesk(host), SystemClock())
        deadline_s = time.monotonic() + LIMIT_S
        newest = self._plans[-1].rollout_id
        while conductor.step(newest) or not self._at_rest(host):
            self._check_deadline(deadline_s, "devices not at rest")
            host.wait_deployment_news(1.0)

    def _at_rest(self, host: FleetHost) -> bool:
        states = [view.state for view in host.devices() if view.online]
        idle = [s for s in states if s is not None and s.status == "idle" and not s.error]
        working = [d for d in self._open(host) if host.deployment_phase(d) != "OFFERED"]
        return len(idle) == len(self._boards) and not working

    def _open(self, host: FleetHost) -> list[str]:
        wished = (host.wished(board.device_id, "main") for board in self._boards)
        return [name for name in wished if name is not None and host.deployment_phase(name)]

    def _compare_device(self, board: Board, host: FleetHost, state: RolloutState) -> None:
        name, problems = board.device_id, self.row.problems
        runs, believed = running(self._path, name), host.active_bundle(name, "main")
        if runs != believed:
            problems.append(f"{name} runs {runs}, the database says {believed}")
        signed = {plan.group(_group(plan, name)).bundle for plan in self._plans} | {None}
        if runs not in signed:
            problems.append(f"{name} runs {runs}, which was not signed for it")
        elif runs is not None and not self._is_whole(host, name, runs):
            problems.append(f"{name} runs bundle {runs} with other bytes")
        expected = _expected(state, state.courses[name])
        if expected is not None and runs not in expected:
            problems.append(f"{name} runs {runs}, by the rollout it should be {expected}")
        if self._open(host):
            problems.append(f"deployments that are still open: {self._open(host)}")

    def _is_whole(self, host: FleetHost, name: str, bundle: str) -> bool:
        """Whether the bytes that an application opens are those that the host has on its shelf."""
        content = (self._path / name / "slots" / "main" / "current" / "model.tflite").read_bytes()
        return host.shelf.size_of(sha256(content).hexdigest()) == len(content)


def _as_a_person(pauses: int, state: RolloutState) -> Sequence[Event]:
    """What an operator does about a pause; nothing if it is over meanwhile."""
    if state.status != "PAUSED":
        return []
    if pauses > 1:
        return rollback(state, OPERATOR, "it has paused again")
    gates = {gate.gate for _, gate in closed_gates(state, state.newest_ms)}
    return resume(state, OPERATOR, state.newest_ms, gates, "seen")


def _group(plan: Plan, device_id: str) -> str:
    return next(member.group for member in plan.members if member.device_id == device_id)


def _expected(state: RolloutState, course: Course) -> tuple[str | None, ...] | None:
    """What a device should run by the records of a rollout, None if they leave that open."""
    if course.back is not None and course.is_back:
        return (course.member.incumbent,)
    if course.back is not None:
        return None
    if course.forward.state == "SUCCEEDED":
        return (state.plan.group(course.member.group).bundle,)
    return (course.member.incumbent,) if course.forward.state in UNCHANGED else None
