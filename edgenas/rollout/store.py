"""Where rollouts are remembered: the protocol, and its twin in memory.

Plans and events are only ever added. An append names the last position that its author has seen and
fails if another process was quicker, so that several may work on one store without deciding
anything twice; what concerns several rollouts is looked at and written `together`. Leaves the
database to the implementation (`journal_store`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from edgenas.errors import EdgenasError
from edgenas.rollout.errors import RolloutStoreError, UnreadableError
from edgenas.rollout.events import Event, checked_plan_text, event_text, read_event, read_plan
from edgenas.rollout.plan import Plan
from edgenas.rollout.state import RolloutState, fresh

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """One event as it was kept; positions of one rollout count 1, 2, 3 ..."""

    position: int
    at_ms: int
    event: Event


class RolloutStore(Protocol):
    """The durable memory of rollouts."""

    def add(self, plan: Plan) -> None:
        """Keep a plan; durable on return.

        Raises:
            PlanError: It could not be read back; nothing is kept.
            RolloutStoreError: Its id is taken, or the store cannot be written.
        """

    def ids(self) -> list[str]:
        """Every rollout, oldest first."""

    def plan(self, rollout_id: str) -> Plan:
        """One plan.

        Raises:
            UnreadableError: It cannot be understood.
            RolloutStoreError: There is none of that id.
        """

    def events(self, rollout_id: str, after: int = 0) -> list[Record]:
        """What has happened to a rollout beyond a position, oldest first.

        Raises:
            UnreadableError: Something cannot be understood.
        """

    def append(self, rollout_id: str, after: int, events: Sequence[Event], at_ms: int) -> bool:
        """Keep events, all or none; durable on return.

        Args:
            rollout_id: Which rollout.
            after: The last position that the author has seen.
            events: What has happened, at least one thing.
            at_ms: When, by the rollout's clock.

        Returns:
            Whether they were kept; if not, something else has happened in between.
        """

    def together(self) -> AbstractContextManager[None]:
        """Look at several rollouts and append to them as one step, or to none on an exception.

        Nobody else appends meanwhile, so it must be short; what it appends is durable on leaving.
        """


class MemoryStore:
    """The twin in memory; it keeps the same JSON as a database would."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._plans: dict[str, str] = {}
        self._events: dict[str, list[tuple[int, str, str]]] = {}

    def add(self, plan: Plan) -> None:
        text = checked_plan_text(plan)
        with self._lock:
            if plan.rollout_id in self._plans:
                raise RolloutStoreError(f"expected a new rollout, got {plan.rollout_id} again")
            self._plans[plan.rollout_id] = text
            self._events[plan.rollout_id] = []

    def ids(self) -> list[str]:
        with self._lock:
            return list(self._plans)

    def plan(self, rollout_id: str) -> Plan:
        with self._lock:
            text = self._plans.get(rollout_id)
        if text is None:
            raise RolloutStoreError(f"expected a rollout that was planned here, got {rollout_id}")
        return read_plan(text)

    def events(self, rollout_id: str, after: int = 0) -> list[Record]:
        with self._lock:
            rows = self._events[rollout_id][after:]
        return [
            Record(position, at_ms, read_event(kind, text))
            for position, (at_ms, kind, text) in enumerate(rows, after + 1)
        ]

    def append(self, rollout_id: str, after: int, events: Sequence[Event], at_ms: int) -> bool:
        rows = [(at_ms, event.kind, event_text(event)) for event in events]
        with self._lock:
            kept = self._events[rollout_id]
            if len(kept) != after:
                return False
            kept.extend(rows)
        return True

    @contextmanager
    def together(self) -> Iterator[None]:
        with self._lock:
            before = {name: list(rows) for name, rows in self._events.items()}
            try:
                yield
            except BaseException:
                self._events = before
                raise


def load(store: RolloutStore, rollout_id: str) -> RolloutState:
    """A rollout as the store knows it.

    Raises:
        UnreadableError: What is remembered of it cannot be understood.
        RolloutStoreError: There is none of that id.
    """
    state = fresh(store.plan(rollout_id))
    catch_up(store, state)
    return state


def load_if_readable(store: RolloutStore, rollout_id: str) -> RolloutState | None:
    """A rollout beside others, which need not suffer if it cannot be understood: told, and None."""
    try:
        return load(store, rollout_id)
    except UnreadableError as error:
        tell_left_out(rollout_id, error)
        return None


def tell_left_out(rollout_id: str, error: EdgenasError) -> None:
    """Say that a rollout is left alone."""
    _log.error("rollout %s is left out, the others go on: %s", rollout_id[:8], error)


def catch_up(store: RolloutStore, state: RolloutState) -> bool:
    """Take in what has happened since; returns whether anything has."""
    records = store.events(state.plan.rollout_id, state.position)
    for record in records:
        state.apply(record.event, record.at_ms)
    return bool(records)
