"""Feeds the service manager's watchdog, but only while every part of the daemon is alive.

The main loop feeds it, so a main loop that hangs feeds nobody. Leaves the datagrams to `systemd`
and the promises of the other threads to their heartbeats.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from firmware_bridge.agent.systemd import Notifier, Supervision

PINGS_A_PERIOD = 3
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Signs:
    """What the parts of the daemon have promised, in monotonic seconds.

    Attributes:
        network_due_s: When the network thread has to have been heard of.
        worker_due_s: The same for the worker; infinite while it has nothing to do.
        journal_s: When the journal last answered, be it that the disk is full.
    """

    network_due_s: float
    worker_due_s: float
    journal_s: float


def what_is_stuck(signs: Signs, now_s: float, patience_s: float) -> str | None:
    """The part that has given no sign in time, or None while all is well."""
    if now_s > signs.network_due_s:
        return "the network thread"
    if now_s > signs.worker_due_s:
        return "the worker"
    if now_s > signs.journal_s + patience_s:
        return "the journal"
    return None


class Watchdog:
    """Tells the service manager how the daemon is."""

    def __init__(
        self,
        supervision: Supervision,
        threads_due_s: Callable[[], tuple[float, float]],
        prove_journal: Callable[[], bool],
        patience_s: float,
    ) -> None:
        """Watch, and speak to the manager that `supervision` names.

        Args:
            supervision: Who listens, and how often it wants to hear.
            threads_due_s: What the network thread and the worker have promised.
            prove_journal: Tries to change the journal; False if something keeps it from doing so.
            patience_s: Seconds for which the journal may be kept.
        """
        self.notifier = Notifier(supervision.address)
        period_s = supervision.watchdog_s
        self._every_s = None if period_s is None else period_s / PINGS_A_PERIOD
        self._threads_due_s = threads_due_s
        self._prove_journal = prove_journal
        self._patience_s = patience_s
        self._journal_s = 0.0
        self._next_s = 0.0
        self._stuck: str | None = None

    def begin(self, now_s: float) -> None:
        """The main loop serves from now on."""
        self._journal_s = now_s
        self.notifier.ready()

    def tick(self, now_s: float) -> None:
        """Feed the watchdog if it is time and nothing is stuck."""
        if self._every_s is None or now_s < self._next_s:
            return
        self._next_s = now_s + self._every_s
        if self._prove_journal():
            self._journal_s = now_s
        signs = Signs(*self._threads_due_s(), self._journal_s)
        stuck = what_is_stuck(signs, now_s, self._patience_s)
        if stuck is None:
            self.notifier.alive()
        elif stuck != self._stuck:
            _log.error("%s gives no sign of life; the watchdog is not fed any more", stuck)
            self.notifier.status(f"{stuck} is stuck")
        self._stuck = stuck
