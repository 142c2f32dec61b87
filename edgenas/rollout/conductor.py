"""Drives every rollout of a host, for as long as somebody wants it to.

An older rollout is driven on as well: it may have wishes to take back from devices that a newer one
has taken over, and late words of its devices to note. One whose bytes are not here offers nothing;
that waits for a host that has them. Leaves each single rollout to its driver.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Protocol

from edgenas.fleet.clock import Clock
from edgenas.fleet.errors import ReleaseError
from edgenas.rollout.decide import next_due_ms
from edgenas.rollout.driver import Desk, RolloutDriver
from edgenas.rollout.errors import UnreadableError
from edgenas.rollout.events import Event
from edgenas.rollout.plan import Plan
from edgenas.rollout.state import OPEN_STATUS, RolloutState
from edgenas.rollout.store import RolloutStore, tell_left_out

_log = logging.getLogger(__name__)
LOOK_EVERY_S = 1.0  # for what other processes ask
Watch = Callable[[RolloutState, list[Event]], bool]
Lacks = Callable[[Plan], Collection[str]]


class News(Protocol):
    """Where the words of devices come in; a `FleetHost` is one."""

    def wait_deployment_news(self, timeout_s: float) -> Collection[str]:
        """Wait until something is heard of any deployment."""


class Conductor:
    """All rollouts that have begun.

    Args:
        store: Where they are remembered.
        desk: The host's end of the fleet.
        clock: Both clocks of the host.
        lacks: Digests of the blobs that a plan ships and that are not here.
    """

    def __init__(
        self, store: RolloutStore, desk: Desk, clock: Clock, lacks: Lacks = lambda plan: ()
    ) -> None:
        self._store = store
        self._lacks = lacks
        self._lacking: set[str] = set()
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
            ReleaseError: It cannot be offered, for instance because its bytes are not here.
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

        Another one that cannot be understood or carried out is told once and left out.
        """
        happened: list[Event] = []
        for known in self._store.ids():
            if known in self._left_out:
                continue
            try:
                events = self._step(known, news, watched=known == rollout_id)
            except (UnreadableError, ReleaseError) as error:
                if known == rollout_id:
                    raise
                self._leave_out(known)
                tell_left_out(known, error)
            else:
                happened += events if known == rollout_id else []
        return happened

    def _step(self, rollout_id: str, news: Collection[str] | None, *, watched: bool) -> list[Event]:
        driver = self._drivers.get(rollout_id)
        if driver is None:
            driver = RolloutDriver(self._store, rollout_id, self._desk, self._clock)
            if driver.state.status == "DRAFT":
                return []
            self._drivers[rollout_id], news = driver, None
        # Whoever watches a rollout is told at once what it lacks, by the offer that fails.
        return driver.step(news, offers=watched or self._is_here(driver.state))

    def _is_here(self, state: RolloutState) -> bool:
        lacking, name = self._lacks(state.plan), state.plan.rollout_id
        if lacking and name not in self._lacking and state.status in OPEN_STATUS:
            _log.error(
                "rollout %s: expected %d more blobs on the shelf; it offers nothing until "
                "`edgenas rollout start` runs with the run folder that planned it",
                name[:8],
                len(lacking),
            )
            self._lacking.add(name)
        return not lacking

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
