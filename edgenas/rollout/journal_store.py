"""Rollouts in the fleet's one database, beside the wishes and deployments that come of them.

Several processes may work on it: the one that carries rollouts out, and operators' commands. What
operators asked and what was decided is written into the audit log in the same transaction; which
events that is, `accounts_of` says. Leaves tables to `edgenas.fleet.rollout_log`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from edgenas.fleet.clock import Clock, SystemClock
from edgenas.fleet.errors import FleetJournalError
from edgenas.fleet.rollout_log import Account, EventRow, RolloutLog, RolloutRow
from edgenas.rollout.errors import RolloutStoreError
from edgenas.rollout.events import (
    Aborted,
    Ended,
    Event,
    Joined,
    Paused,
    Resumed,
    RetryAsked,
    RollbackAsked,
    SoakBegan,
    Started,
    Superseded,
    WaveOpened,
    WavePassed,
    checked_plan_text,
    event_text,
    read_event,
    read_plan,
)
from edgenas.rollout.plan import Plan
from edgenas.rollout.store import Record

# Events that decide about the whole rollout; those about single devices are left out, because the
# wish that follows is in the audit log itself and what a device says is no action of ours.
_ACTIONS: dict[type[Any], str] = {
    Started: "rollout.started",
    WaveOpened: "rollout.wave_opened",
    SoakBegan: "rollout.soak_began",
    WavePassed: "rollout.wave_passed",
    Joined: "rollout.joined",
    Superseded: "rollout.superseded",
    Paused: "rollout.paused",
    Resumed: "rollout.resumed",
    RetryAsked: "rollout.retry_asked",
    Aborted: "rollout.aborted",
    RollbackAsked: "rollout.rollback_asked",
    Ended: "rollout.ended",
}
_NOT_BY_A_PERSON = (WaveOpened, SoakBegan, WavePassed, Joined, Ended)  # and see `_by_itself`


def accounts_of(events: Sequence[Event]) -> list[Account]:
    """What the audit log has to say of events: what was asked and what was decided, and on what."""
    return [
        Account(action, json.loads(event_text(event)), _by_itself(event))
        for event in events
        if (action := _ACTIONS.get(type(event))) is not None
    ]


def _by_itself(event: Event) -> bool:
    """Whether nobody asked for it; a gate's pause names no one."""
    match event:
        case Paused():
            return not event.by
        case Superseded():
            return event.joining
        case _:
            return isinstance(event, _NOT_BY_A_PERSON)


class JournalStore:
    """A fleet's rollouts; safe to use from several threads and processes."""

    def __init__(self, log: RolloutLog, clock: Clock | None = None) -> None:
        self._log = log
        self._clock = clock or SystemClock()

    def add(self, plan: Plan) -> None:
        row = RolloutRow(plan.rollout_id, plan.slot, checked_plan_text(plan))
        detail = {
            "slot": plan.slot,
            "version": plan.version,
            "note": plan.note,
            "bundles": {group.name: group.bundle for group in plan.groups},
            "waves": {wave.name: len(wave.devices) for wave in plan.waves},
        }
        with _in_our_words():
            account = Account("rollout.planned", detail, by_itself=False)
            if not self._log.add(row, account, self._clock.wall_ms()):
                raise RolloutStoreError(f"expected a new rollout, got {plan.rollout_id} again")

    def ids(self) -> list[str]:
        with _in_our_words():
            return self._log.ids()

    def plan(self, rollout_id: str) -> Plan:
        with _in_our_words():
            text = self._log.plan(rollout_id)
        if text is None:
            raise RolloutStoreError(f"expected a rollout that was planned here, got {rollout_id}")
        return read_plan(text)

    def events(self, rollout_id: str, after: int = 0) -> list[Record]:
        with _in_our_words():
            rows = self._log.events(rollout_id, after)
        return [Record(row.position, row.at_ms, read_event(row.kind, row.body)) for row in rows]

    def append(self, rollout_id: str, after: int, events: Sequence[Event], at_ms: int) -> bool:
        rows = [
            EventRow(position, at_ms, event.kind, event_text(event))
            for position, event in enumerate(events, after + 1)
        ]
        with _in_our_words():
            accounts, wall_ms = accounts_of(events), self._clock.wall_ms()
            return self._log.append(rollout_id, rows, accounts, wall_ms)

    @contextmanager
    def together(self) -> Iterator[None]:
        with _in_our_words(), self._log.transaction():
            yield


@contextmanager
def _in_our_words() -> Iterator[None]:
    """What is wrong with the database, as those who roll out expect it."""
    try:
        yield
    except FleetJournalError as error:
        raise RolloutStoreError(str(error)) from error
