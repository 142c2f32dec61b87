"""Carries a rollout out: hears how deployments go, decides, writes down, then tells the devices.

What is to be told is always derived from the state that was written down, and telling it again
changes nothing. So a driver that is killed at any moment is followed by another that goes on, and
nothing is offered twice. Leaves decisions to `decide`, wishes and timers to the desk behind `Desk`,
and waiting to the caller.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, cast, get_args

from edgenas.fleet.clock import Clock
from edgenas.rollout.course import Course
from edgenas.rollout.decide import Now, decide
from edgenas.rollout.errors import RolloutError
from edgenas.rollout.events import Event, Joined, Moved, Offered
from edgenas.rollout.evidence import Evidence, judge_trial
from edgenas.rollout.others import Others
from edgenas.rollout.state import RolloutState, deployment_id
from edgenas.rollout.store import RolloutStore, catch_up, load
from edgenas.rollout.trips import BEFORE_SWITCH, ENDED, Trip, TripState, Way
from edgenas.rollout.verbs import Candidate, join, lose_joined
from firmware_bridge.wire.messages import DeployReport

_log = logging.getLogger(__name__)
_MAX_ROUNDS = 100_000  # of one step; each changes the state, so that it ends long before
# The host set these; the device may still say otherwise.
_MAY_BE_AMENDED = frozenset({"TIMED_OUT", "EXPIRED", "CANCELLED", "SUPERSEDED"})
HOLD_REASON = "the rollout is paused or outside its maintenance window"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One deployment to offer.

    Attributes:
        deployment_id: Its id; offering it again changes nothing.
        device_id: The device.
        slot: The slot.
        release: The signed envelope.
        ways_back: Signed ways back to keep beside it.
        incumbent: Bundle that the device is expected to run.
        bundle: Bundle that it shall run.
        held: Stop in STAGED.
    """

    deployment_id: str
    device_id: str
    slot: str
    release: Mapping[str, object]
    ways_back: Sequence[Mapping[str, object]] = ()
    incumbent: str | None
    bundle: str | None
    held: bool


@dataclass(frozen=True, slots=True)
class Word:
    """How far a deployment is by the desk's records."""

    state: str
    report: DeployReport | None = None


class Desk(Protocol):
    """What the driver needs of the host's end of the fleet; every call may be repeated."""

    def offer(self, order: Order) -> str | None:
        """Offer a deployment, unless its id is known; returns why it cannot be, in one word."""

    def hold(self, deployment_id: str, reason: str | None) -> None:
        """Ask the device to stop in STAGED, or with None to go on, if it is still wished for."""

    def withdraw(self, device_id: str, slot: str, deployment_id: str) -> None:
        """Wish nothing more for the slot, if this deployment is what is wished for."""

    def look(self, deployment_id: str) -> Word | None:
        """How far a deployment is; None if it was never offered."""

    def candidates(self, slot: str) -> Sequence[Candidate]:
        """The devices that are there and have said what they run."""


class RolloutClock:
    """The rollout's clock: begins at the date, and never goes back or jumps while this runs."""

    def __init__(self, clock: Clock, not_before_ms: int = 0) -> None:
        self._clock = clock
        start_ms = max(clock.wall_ms(), not_before_ms)
        self._offset_ms = start_ms - round(clock.monotonic_s() * 1000)

    def now(self) -> Now:
        """The time now."""
        date = datetime.fromtimestamp(self._clock.wall_ms() / 1000, UTC)
        return Now(self._offset_ms + round(self._clock.monotonic_s() * 1000), date)


class RolloutDriver:
    """Drives one rollout; `step` may be called at any time, from one thread."""

    def __init__(self, store: RolloutStore, rollout_id: str, desk: Desk, clock: Clock) -> None:
        """Take up what the store holds; nothing is told to devices before `step`.

        Raises:
            RolloutStoreError: There is no such rollout.
        """
        self._store = store
        self._desk = desk
        self.state: RolloutState = load(store, rollout_id)
        self._others = Others(store, self.state.plan)
        self._clock = RolloutClock(clock, self.state.newest_ms)
        self._hear_all = self._tell_all = self._offering = True
        self._device_of: dict[str, str] = {}  # deployment to device
        self._learn_ids(self.state.courses.values())

    def now(self) -> Now:
        """The rollout's time."""
        return self._clock.now()

    def step(self, news: Collection[str] | None = None, *, offers: bool = True) -> list[Event]:
        """Hear, decide and tell until nothing is left to do now.

        Args:
            news: Deployments of which the desk has heard something; None if that is not known.
            offers: Whether anything may be offered; everything else goes on without.

        Returns:
            What has happened, for those who watch.
        """
        before = self.state.position
        self._tell_all |= offers and not self._offering
        self._offering = offers
        if catch_up(self._store, self.state):
            self._tell_all = True  # another process has asked for something
            self._learn_ids(self.state.courses.values())
        self._hear(self._courses(news))
        self._let_join()
        self._decide()
        if self._tell_all:
            self._tell_all = False
            self._tell(list(self.state.courses.values()))
        records = self._store.events(self.state.plan.rollout_id, before)
        return [record.event for record in records]

    def _courses(self, news: Collection[str] | None) -> list[Course]:
        courses = list(self.state.courses.values())
        everybody, self._hear_all = news is None or self._hear_all, False
        if everybody or news is None:
            return courses
        named = {self._device_of[each] for each in news if each in self._device_of}
        return [self.state.courses[device] for device in sorted(named)]

    def _learn_ids(self, courses: Iterable[Course]) -> None:
        """Remember whose deployments these are, so that news need not be looked for in all."""
        for course in courses:
            self._device_of.update(dict.fromkeys(self._ids(course), course.device_id))

    def _ids(self, course: Course) -> list[str]:
        return [self._id(course, way, trip) for way, trip in _trips(course)]

    def _id(self, course: Course, way: Way, trip: Trip) -> str:
        return deployment_id(self.state.plan.rollout_id, course.device_id, way, trip.attempt)

    def _hear(self, courses: Iterable[Course]) -> None:
        moves = [
            move
            for course in courses
            for way, trip in _trips(course)
            if trip.open or trip.state in _MAY_BE_AMENDED
            if (move := self._move(course, way, trip)) is not None
        ]
        self._commit(moves)

    def _move(self, course: Course, way: Way, trip: Trip) -> Moved | None:
        word = self._desk.look(self._id(course, way, trip))
        if word is None:
            return None
        known = word.state if word.state in get_args(TripState) else "UNKNOWN"
        report = word.report
        code = None if report is None else report.code
        if (known, code) == (trip.state, trip.code) or (
            trip.state in ENDED and (known not in ENDED or report is None)
        ):
            return None
        return Moved(
            device=course.device_id,
            way=way,
            attempt=trip.attempt,
            state=cast(TripState, known),
            code=code,
            retryable=report is not None and report.retryable,
            runs=None if report is None else report.active,
            evidence=self._evidence(course, way, report),
        )

    def _evidence(self, course: Course, way: Way, report: DeployReport | None) -> Evidence | None:
        if report is None or way == "back":
            return None
        bounds = self.state.plan.group(course.member.group).bounds
        return judge_trial(report.trial, bounds, course.member.incumbent_peak_bytes)

    def _let_join(self) -> None:
        plan = self.state.plan
        if not plan.continuous or self.state.status != "RUNNING":
            return
        candidates, now_ms = self._desk.candidates(plan.slot), self.now().ms
        if not join(self.state, candidates, now_ms):
            return  # mostly nobody is new
        others = self._others.look()  # the long look, while everybody else goes on
        if not join(self.state, candidates, now_ms, others):
            return
        with self._store.together():
            others = self._others.look()
            joined = join(self.state, candidates, now_ms, others)
            if joined and self._commit(joined):
                self._take_from(others, joined)

    def _take_from(self, others: Iterable[RolloutState], joined: Sequence[Joined]) -> None:
        """Have older rollouts lose who has joined; used inside `together`."""
        for other in others:
            events = lose_joined(other, self.state.plan, joined)
            if events:
                name, at_ms = other.plan.rollout_id, max(self.now().ms, other.newest_ms)
                if not self._store.append(name, other.position, events, at_ms):
                    raise RolloutError(f"expected to be alone with rollout {name}; start again")

    def _decide(self) -> None:
        for _ in range(_MAX_ROUNDS):
            events = decide(self.state, self.now())
            if not self._offering:
                events = [event for event in events if not isinstance(event, Offered)]
            if not events:
                return
            if self._commit(events):
                named = {device for event in events if (device := _device_of(event))}
                self._tell([self.state.courses[device] for device in named])
        raise RolloutError("expected decisions to come to an end; this is a mistake in edgenas")

    def _commit(self, events: Sequence[Event]) -> bool:
        """Write events down and take them in; if another process was quicker, look again."""
        if not events:
            return True
        at_ms = self.now().ms
        state = self.state
        if not self._store.append(state.plan.rollout_id, state.position, events, at_ms):
            catch_up(self._store, state)
            self._learn_ids(state.courses.values())
            self._hear_all = self._tell_all = True  # what was to be written is found once more
            return False
        for event in events:
            state.apply(event, at_ms)
            _log.info("rollout %s: %s", state.plan.rollout_id[:8], event)
        self._learn_ids(state.courses[e.device] for e in events if isinstance(e, Offered))
        return True

    def _tell(self, courses: Iterable[Course]) -> None:
        refused = [
            Moved(
                device=course.device_id,
                way=way,
                attempt=trip.attempt,
                state="REMOVED",
                code=why,
            )
            for course in courses
            for way, trip in _trips(course)
            if (why := self._tell_one(course, way, trip)) is not None
        ]
        self._commit(refused)

    def _tell_one(self, course: Course, way: Way, trip: Trip) -> str | None:
        """Bring the desk in line with one trip; returns why an offer cannot be made."""
        deployment = self._id(course, way, trip)
        if trip.withdrawn or trip.state in ("EXPIRED", "SUPERSEDED"):
            self._desk.withdraw(course.device_id, self.state.plan.slot, deployment)
            return None
        if trip.state == "OFFERED" and self._offering:
            why = self._desk.offer(self._order(course, way, trip, deployment))
            if why is not None:
                return why
        if trip.state in BEFORE_SWITCH and way == "forward":
            self._desk.hold(deployment, HOLD_REASON if trip.held else None)
        return None

    def _order(self, course: Course, way: Way, trip: Trip, deployment: str) -> Order:
        plan, member = self.state.plan, course.member
        group, backs = plan.group(member.group), plan.ways_back[member.ways_back]
        forward = way == "forward"
        return Order(
            deployment_id=deployment,
            device_id=course.device_id,
            slot=plan.slot,
            release=group.release if forward else backs[0],
            ways_back=backs if forward else (),
            incumbent=member.incumbent if forward else group.bundle,
            bundle=group.bundle if forward else member.incumbent,
            held=trip.held,
        )


def _trips(course: Course) -> list[tuple[Way, Trip]]:
    """The trips that a deployment was made for."""
    both: list[tuple[Way, Trip]] = [("forward", course.forward)]
    if course.back is not None:
        both.append(("back", course.back))
    return [(way, trip) for way, trip in both if trip.attempt]


def _device_of(event: Event) -> str | None:
    return getattr(event, "device", None)
