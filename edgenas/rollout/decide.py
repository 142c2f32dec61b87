"""What happens next in a rollout: one pure function of its state and the time.

Every decision is an event; the caller keeps it, applies it and asks again until nothing is left to
decide. A closed gate comes before everything else. Leaves what operators ask to `verbs`, and
telling devices to `driver`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice

from edgenas.rollout.counts import Counts
from edgenas.rollout.events import (
    Ended,
    Event,
    Held,
    Moved,
    Offered,
    Paused,
    SoakBegan,
    WaveOpened,
    WavePassed,
    Withdrawn,
)
from edgenas.rollout.gates import Closed, closed_by_failure, closed_by_lack
from edgenas.rollout.gates import success_met as success_is_met
from edgenas.rollout.plan import JOINERS, Wave
from edgenas.rollout.state import RolloutState
from edgenas.rollout.trips import BEFORE_SWITCH, Trip, Way
from edgenas.rollout.windows import is_open

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Now:
    """The time, twice.

    Attributes:
        ms: The rollout's clock, milliseconds: never goes back, whatever is done to the date.
        date: The date with a time zone, for maintenance windows.
    """

    ms: int
    date: datetime


def decide(state: RolloutState, now: Now) -> list[Event]:
    """The next decisions, none if there is nothing to do before something happens.

    Args:
        state: The rollout.
        now: The time.
    """
    if state.status in ("RUNNING", "PAUSED"):
        closed = _newly_closed(state, now.ms)
        if closed:
            return [Paused(reasons=closed)]
        given_up = list(_given_up(state, now))
        return given_up or (_step(state, now) if state.status == "RUNNING" else _hold(state, True))
    if state.status in ("ABORTED", "ROLLING_BACK", "ROLLED_BACK"):
        return _unwind(state, now)
    return []


def counts_of(state: RolloutState, wave: str) -> Counts:
    """One wave in numbers."""
    return state.index.by_wave.get(wave, Counts())


def closed_gates(state: RolloutState, now_ms: int) -> list[tuple[str, Closed]]:
    """Every gate that is closed now, with its wave."""
    found: list[tuple[str, Closed]] = []
    for wave in state.plan.waves:
        known = state.waves[wave.name]
        if known.phase == "PENDING":
            continue
        counts = counts_of(state, wave.name)
        closed = closed_by_failure(counts, wave.gate, known.accepted)
        if known.phase != "PASSED" and not _still_joining(state, wave, now_ms):
            lack = closed_by_lack(counts, wave.gate, known.accepted)
            closed += [] if lack is None else [lack]
        found += [(wave.name, each) for each in closed]
    return found


def in_flight(state: RolloutState, now: Now, way: Way = "forward") -> int:
    """How many devices work on a release now, or were asked to a moment ago."""
    settled_ms = _settled_ms(state, now)
    trips = (c.forward if way == "forward" else c.back for c in state.index.open.values())
    return sum(_in_flight(trip, settled_ms) for trip in trips if trip is not None and trip.open)


def _settled_ms(state: RolloutState, now: Now) -> int:
    """Since when an offer is new: nobody knows yet whether its device is there."""
    return now.ms - round(1000 * state.plan.pace.settle_s)


def _in_flight(trip: Trip, settled_ms: int) -> bool:
    """Devices that are off line, or wait with everything ready, make room for others."""
    if trip.state in ("OFFERED", "STAGED"):
        return not trip.held and trip.since_ms > settled_ms
    return True


def next_due_ms(state: RolloutState, now: Now) -> int | None:
    """When time alone brings the next decision about at the latest, None if it never does."""
    pace = state.plan.pace
    dues = [at + MINUTE_MS for at in state.offers_ms]
    for wave in state.plan.waves:
        since_ms = state.waves[wave.name].soak_since_ms
        if state.waves[wave.name].phase == "SOAKING" and since_ms is not None:
            dues.append(since_ms + round(1000 * wave.gate.soak_s))
    for course in state.index.timed():
        trip = course.newest[1]
        for wait_s in (pace.retry_after_s, pace.settle_s, pace.patience_s):
            dues.append(trip.since_ms + round(1000 * wait_s))
    if state.plan.joins_until_ms is not None:
        dues.append(state.plan.joins_until_ms)
    if pace.windows:
        dues.append(now.ms - now.ms % MINUTE_MS + MINUTE_MS)
    return min((due for due in dues if due > now.ms), default=None)


def _newly_closed(state: RolloutState, now_ms: int) -> dict[str, str]:
    closed = {f"{gate.gate}@{wave}": gate.text for wave, gate in closed_gates(state, now_ms)}
    return {key: text for key, text in closed.items() if key not in state.reasons}


def _step(state: RolloutState, now: Now) -> list[Event]:
    if not is_open(state.plan.pace.windows, now.date):
        return _advance(state, now) or _hold(state, True)
    return _advance(state, now) or _hold(state, False) or _offers(state, now)


def _advance(state: RolloutState, now: Now) -> list[Event]:
    """Soak, pass, open, complete: only ever one step."""
    current = state.current_wave
    if current is None:
        pending = [w for w in state.plan.waves if state.waves[w.name].phase == "PENDING"]
        return [WaveOpened(wave=pending[0].name)] if pending else _completed(state, now)
    wave = next(wave for wave in state.plan.waves if wave.name == current)
    known, counts = state.waves[current], counts_of(state, current)
    if _still_joining(state, wave, now.ms) or not success_is_met(counts, wave.gate, known.accepted):
        return []
    if known.soak_since_ms is None:
        return [SoakBegan(wave=current)]
    if now.ms - known.soak_since_ms < round(1000 * wave.gate.soak_s):
        return []
    return [WavePassed(wave=current, counts=counts.plain())]


def _still_joining(state: RolloutState, wave: Wave, now_ms: int) -> bool:
    """Whether a wave is the one for those who join and may still grow: it cannot fall short."""
    return wave.name == JOINERS and now_ms < (state.plan.joins_until_ms or 0)


def _completed(state: RolloutState, now: Now) -> list[Event]:
    """All waves have passed: it is over once nobody waits or works; the offline catch up.

    An offer that was made a moment ago is waited for: its device may be about to take it.
    """
    if any(next(state.index.waiting(wave.name), None) for wave in state.plan.waves):
        return []
    settled_ms = _settled_ms(state, now)
    under_way = (c.forward for c in state.index.open.values() if c.superseded_by is None)
    if any(t.accepted or (t.open and t.since_ms > settled_ms) for t in under_way):
        return []
    courses = state.courses.values()
    taken_over = bool(courses) and all(c.superseded_by is not None for c in courses)
    counts = state.index.total.plain()
    return [Ended(status="ABORTED" if taken_over else "COMPLETED", counts=counts)]


def _hold(state: RolloutState, on: bool) -> list[Event]:
    """Ask every device before its switch to stop in STAGED, or to go on."""
    return [
        Held(device=course.device_id, on=on)
        for course in state.index.open.values()
        if course.forward.state in BEFORE_SWITCH
        and course.forward.held != on
        and not course.forward.withdrawn
    ]


def _offers(state: RolloutState, now: Now) -> list[Event]:
    due = (
        Offered(device=course.device_id, way="forward")
        for wave in state.plan.waves
        if state.waves[wave.name].phase != "PENDING"
        for course in state.index.waiting(wave.name)
        if _is_due(course.forward, state, now)
    )
    return _paced(due, state, now, "forward")


def _is_due(trip: Trip, state: RolloutState, now: Now) -> bool:
    if trip.state == "QUEUED":
        return not trip.withdrawn
    pace = state.plan.pace
    waited = now.ms - trip.since_ms >= round(1000 * pace.retry_after_s)
    return trip.may_retry(pace.attempts) and waited


def _paced(due: Iterator[Offered], state: RolloutState, now: Now, way: Way) -> list[Event]:
    pace = state.plan.pace
    room = pace.max_in_flight - in_flight(state, now, way)
    if pace.max_per_minute is not None:
        recent = sum(at > now.ms - MINUTE_MS for at in state.offers_ms)
        room = min(room, pace.max_per_minute - recent)
    return list(islice(due, max(0, room)))


def _given_up(state: RolloutState, now: Now) -> Iterator[Event]:
    """Devices that vanished with everything ready: the host's two timers stop in STAGED."""
    patience_ms = round(1000 * state.plan.pace.patience_s)
    for course in state.index.open.values():
        way, trip = course.newest
        waits_for_nothing = trip.state == "STAGED" and (trip.withdrawn or not trip.held)
        if waits_for_nothing and now.ms - trip.since_ms >= patience_ms:
            yield Moved(device=course.device_id, way=way, attempt=trip.attempt, state="EXPIRED")


def _unwind(state: RolloutState, now: Now) -> list[Event]:
    """After an abort or a rollback: take back what has not switched, then go back, then end."""
    given_up = list(_given_up(state, now))
    taken_back = list(_withdrawals(state))
    if given_up or taken_back:
        return [*given_up, *taken_back]
    if state.status == "ABORTED":
        return []
    index = state.index
    due = (
        Offered(device=course.device_id, way="back")
        for course in chain(index.homeward.values(), index.homeward_again.values())
        if course.back is None or _is_due(course.back, state, now)
    )
    offers = _paced(due, state, now, "back")
    if offers or state.status == "ROLLED_BACK" or _going_back(state):
        return offers
    back = [course for course in state.courses.values() if course.back is not None]
    counts = {"back": sum(c.is_back for c in back), "not_back": sum(not c.is_back for c in back)}
    return [Ended(status="ROLLED_BACK", counts=counts)]


def _withdrawals(state: RolloutState) -> Iterator[Event]:
    for group in state.index.queued.values():
        for device in group:
            yield Withdrawn(device=device, way="forward", state="CANCELLED")
    for course in state.index.open.values():
        trip = course.forward
        mine = course.superseded_by is None and not trip.withdrawn
        if mine and trip.state in BEFORE_SWITCH:
            yield Withdrawn(device=course.device_id, way="forward")


def _going_back(state: RolloutState) -> bool:
    """Whether a device is still on its way, in either direction."""
    if state.index.homeward or state.index.homeward_again:
        return True
    return any(
        course.superseded_by is None and course.newest[1].open
        for course in state.index.open.values()
    )
