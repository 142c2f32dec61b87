"""Drives every rollout of a host, for as long as somebody wants it to.

An older rollout is driven on as well: it may have wishes to take back from devices that a newer one
has taken over, and late words of its devices to note. Leaves each single rollout to its driver.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from edgenas.fleet.clock import Clock
from edgenas.rollout.decide import next_due_ms
from edgenas.rollout.driver import Desk, RolloutDriver
from edgenas.rollout.errors import UnreadableError
from edgenas.rollout.events import Event
from edgenas.rollout.state import RolloutState
from edgenas.rollout.store import RolloutStore, tell_unreadable

LOOK_EVERY_S = 1.0  # for what other processes ask
Watch = Callable[[RolloutState, list[Event]], bool]


class News(Protocol):
    """Where the words of devices come in; a `FleetHost` is one."""

    def wait_deployment_news(self, timeout_s: float) -> Collection[str]:
        """Wait until something is heard of any deployment."""


class Conductor:
    """All rollouts that have begun."""

    def __init__(self, store: RolloutStore, desk: Desk, clock: Clock) -> None:
        self._store = store
        self._desk = desk
        self._clock = clock
        self._drivers: dict[str, RolloutDriver] = {}
        self._left_out: set[str] = set()

    def run(self, rollout_id: str, news: News, watch: Watch) -> RolloutState:
        """Drive until the one who watches has seen enough.

        Args:
            rollout_id: The rollout that is watched.
            news: Where the words of devices come in.
            watch: Called after every step with the rollout and what has happened to it; ends it
                all by returning True.

        Raises:
            FleetStoppedError: The host cannot go on.
            UnreadableError: What is remembered of the rollout that is watched makes no sense.
        """
        heard: Collection[str] | None = None
        while True:
            happened = self.step(rollout_id, heard)
            driver = self._drivers[rollout_id]
            if watch(driver.state, happened):
                return driver.state
            heard = news.wait_deployment_news(self._wait_s())

    def step(self, rollout_id: str, news: Collection[str] | None = None) -> list[Event]:
        """One step of every rollout; returns what has happened to this one.

        Another one that cannot be understood is told once and left out.
        """
        happened: list[Event] = []
        for known in self._store.ids():
            if known in self._left_out:
                continue
            try:
                events = self._step(known, news)
            except UnreadableError as error:
                if known == rollout_id:
                    raise
                self._leave_out(known)
                tell_unreadable(known, error)
            else:
                happened += events if known == rollout_id else []
        return happened

    def _step(self, rollout_id: str, news: Collection[str] | None) -> list[Event]:
        if rollout_id in self._drivers:
            return self._drivers[rollout_id].step(news)
        driver = RolloutDriver(self._store, rollout_id, self._desk, self._clock)
        if driver.state.status == "DRAFT":
            return []
        self._drivers[rollout_id] = driver
        return driver.step()

    def _leave_out(self, rollout_id: str) -> None:
        self._left_out.add(rollout_id)
        self._drivers.pop(rollout_id, None)

    def _wait_s(self) -> float:
        waits = [LOOK_EVERY_S]
        for driver in self._drivers.values():
            now = driver.now()
            due_ms = next_due_ms(driver.state, now)
            if due_ms is not None:
                waits.append((due_ms - now.ms) / 1000)
        return max(0.0, min(waits))
