"""A rollout as it is now: its plan and all that has happened to it, folded into one value.

`replay` of the same events gives the same state, on any host. Leaves which event comes next to
`decide` and `verbs`, and keeping them to `store`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

from edgenas.rollout.course import Course
from edgenas.rollout.events import (
    Aborted,
    Accepted,
    Ended,
    Event,
    Held,
    Joined,
    Moved,
    Offered,
    Paused,
    Resumed,
    RetryAsked,
    RollbackAsked,
    SoakBegan,
    Started,
    Superseded,
    WaveOpened,
    WavePassed,
    Withdrawn,
    devices_of,
)
from edgenas.rollout.index import CourseIndex
from edgenas.rollout.plan import JOINERS, Plan
from edgenas.rollout.trips import BEFORE_SWITCH, Trip, Way, moved, offered

Status = Literal[
    "DRAFT", "RUNNING", "PAUSED", "COMPLETED", "ABORTED", "ROLLING_BACK", "ROLLED_BACK"
]
WavePhase = Literal["PENDING", "RUNNING", "SOAKING", "PASSED"]
OPEN_STATUS = frozenset({"RUNNING", "PAUSED", "ROLLING_BACK"})


@dataclass(slots=True)
class WaveState:
    """Where one wave is.

    Attributes:
        phase: How far.
        soak_since_ms: When its success was first met.
        accepted: Counts per gate that an operator has taken.
        passed_ms: When it passed.
    """

    phase: WavePhase = "PENDING"
    soak_since_ms: int | None = None
    accepted: dict[str, int] = field(default_factory=dict)
    passed_ms: int | None = None


@dataclass(slots=True)
class RolloutState:
    """One rollout now; changed by `apply` alone."""

    plan: Plan
    status: Status = "DRAFT"
    reasons: dict[str, str] = field(default_factory=dict)
    waves: dict[str, WaveState] = field(default_factory=dict)
    courses: dict[str, Course] = field(default_factory=dict)
    index: CourseIndex = field(init=False)
    offers_ms: list[int] = field(default_factory=list)
    position: int = 0
    newest_ms: int = 0

    def __post_init__(self) -> None:
        self.index = CourseIndex(self.plan.pace.attempts)

    def apply(self, event: Event, at_ms: int) -> None:
        """Take one event in, which happened at `at_ms` of the rollout's clock."""
        _FOLD[type(event)](self, event, at_ms)
        for device in devices_of(event):
            self.index.note(self.courses[device])
        self.position += 1
        self.newest_ms = max(self.newest_ms, at_ms)

    def admit(self, course: Course) -> None:
        """Take a device in."""
        self.courses[course.device_id] = course
        self.index.note(course)

    def owns(self, device: str) -> bool:
        """Whether the device belongs to this rollout and not to a newer one; to a draft none."""
        course = self.courses.get(device)
        return self.status != "DRAFT" and course is not None and course.superseded_by is None

    @property
    def current_wave(self) -> str | None:
        """The wave that is open and has not passed, None if there is none."""
        phases = {name: wave.phase for name, wave in self.waves.items()}
        return next((n for n, phase in phases.items() if phase in ("RUNNING", "SOAKING")), None)


def fresh(plan: Plan) -> RolloutState:
    """A rollout to which nothing has happened yet."""
    state = RolloutState(plan)
    members = {member.device_id: member for member in plan.members}
    for wave in plan.waves:
        state.waves[wave.name] = WaveState()
        for device in wave.devices:
            state.admit(Course(members[device], wave.name))
    return state


def replay(plan: Plan, events: Iterable[tuple[Event, int]]) -> RolloutState:
    """The rollout after these events, each with its time."""
    state = fresh(plan)
    for event, at_ms in events:
        state.apply(event, at_ms)
    return state


@lru_cache(maxsize=1 << 16)
def deployment_id(rollout_id: str, device_id: str, way: Way, attempt: int) -> str:
    """The id of a deployment: always the same for the same attempt, so none is made twice."""
    text = f"{rollout_id}/{device_id}/{way}/{attempt}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _started(state: RolloutState, event: Started, at_ms: int) -> None:
    state.status = "RUNNING"


def _wave_opened(state: RolloutState, event: WaveOpened, at_ms: int) -> None:
    state.waves[event.wave].phase = "RUNNING"


def _soak_began(state: RolloutState, event: SoakBegan, at_ms: int) -> None:
    wave = state.waves[event.wave]
    wave.phase, wave.soak_since_ms = "SOAKING", at_ms


def _wave_passed(state: RolloutState, event: WavePassed, at_ms: int) -> None:
    wave = state.waves[event.wave]
    wave.phase, wave.passed_ms = "PASSED", at_ms


def _offered(state: RolloutState, event: Offered, at_ms: int) -> None:
    course = state.courses[event.device]
    if event.way == "back":
        course.back = offered(course.back or Trip(), at_ms, held=False)
    else:
        course.forward = offered(course.forward, at_ms, held=event.held)
    # Only the last minute matters for the pace.
    state.offers_ms = [at for at in state.offers_ms if at > at_ms - 60_000] + [at_ms]


def _moved(state: RolloutState, event: Moved, at_ms: int) -> None:
    course = state.courses[event.device]
    trip = course.forward if event.way == "forward" else course.back
    if trip is None or event.attempt != trip.attempt:
        return  # a word about a deployment that a newer one has replaced
    after = moved(
        trip,
        event.state,
        at_ms,
        code=event.code,
        retryable=event.retryable,
        runs=event.runs,
        evidence=event.evidence,
    )
    _keep(course, event.way, after)


def _held(state: RolloutState, event: Held, at_ms: int) -> None:
    course = state.courses[event.device]
    # Waiting while held is nobody's fault: patience begins when it may go on.
    since_ms = at_ms if not event.on else course.forward.since_ms
    course.forward = replace(course.forward, held=event.on, since_ms=since_ms)


def _withdrawn(state: RolloutState, event: Withdrawn, at_ms: int) -> None:
    course = state.courses[event.device]
    trip = replace(course.forward if event.way == "forward" else course.back or Trip())
    trip = replace(trip, withdrawn=True)
    if event.state is not None:
        trip = moved(trip, event.state, at_ms)
    _keep(course, event.way, trip)


def _keep(course: Course, way: Way, trip: Trip) -> None:
    if way == "forward":
        course.forward = trip
    else:
        course.back = trip


def _joined(state: RolloutState, event: Joined, at_ms: int) -> None:
    state.admit(Course(event.member, JOINERS))


def _superseded(state: RolloutState, event: Superseded, at_ms: int) -> None:
    for device in event.devices:
        course = state.courses[device]
        course.superseded_by = event.by
        if course.forward.state in {"QUEUED", "OFFERED"}:
            course.forward = moved(course.forward, "SUPERSEDED", at_ms)
        if course.forward.state in BEFORE_SWITCH | {"SUPERSEDED"}:
            course.forward = replace(course.forward, withdrawn=True)
        if course.back is not None and course.back.state in BEFORE_SWITCH:
            course.back = replace(moved(course.back, "SUPERSEDED", at_ms), withdrawn=True)


def _paused(state: RolloutState, event: Paused, at_ms: int) -> None:
    state.status = "PAUSED"
    state.reasons.update(event.reasons)


def _resumed(state: RolloutState, event: Resumed, at_ms: int) -> None:
    state.status, state.reasons = "RUNNING", {}
    for accepted in event.accepted:
        _accept(state, accepted)


def _accept(state: RolloutState, accepted: Accepted) -> None:
    counts = state.waves[accepted.wave].accepted
    counts[accepted.gate] = max(counts.get(accepted.gate, 0), accepted.count)


def _aborted(state: RolloutState, event: Aborted, at_ms: int) -> None:
    state.status, state.reasons = "ABORTED", {}


def _rollback_asked(state: RolloutState, event: RollbackAsked, at_ms: int) -> None:
    state.status, state.reasons = "ROLLING_BACK", {}


def _retry_asked(state: RolloutState, event: RetryAsked, at_ms: int) -> None:
    for device in event.devices:
        way, trip = state.courses[device].newest
        _keep(state.courses[device], way, replace(trip, again=trip.attempt))


def _ended(state: RolloutState, event: Ended, at_ms: int) -> None:
    state.status = event.status


_FOLD: dict[type[Any], Callable[[RolloutState, Any, int], None]] = {
    Started: _started,
    WaveOpened: _wave_opened,
    SoakBegan: _soak_began,
    WavePassed: _wave_passed,
    Offered: _offered,
    Moved: _moved,
    Held: _held,
    Withdrawn: _withdrawn,
    Joined: _joined,
    Superseded: _superseded,
    Paused: _paused,
    Resumed: _resumed,
    Aborted: _aborted,
    RollbackAsked: _rollback_asked,
    RetryAsked: _retry_asked,
    Ended: _ended,
}
