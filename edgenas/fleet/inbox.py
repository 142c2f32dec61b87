"""The host's one thread: takes in what the link enqueues, and lets the passing of time take effect.

Leaves the meaning of events to its handler and deadlines to whoever computes them. The handler may
do small work such as reading chunks of a blob; the caller's heavy work never runs here.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

from edgenas.fleet.clock import Clock
from firmware_bridge.wire.link import LinkEvent

_log = logging.getLogger(__name__)

MAX_TOGETHER = 512  # become durable together, so that one flush of the disk serves them all
_WORK_PER_TICK = 10.0  # while messages wait: time for them, over that for looking at deadlines
_LONGEST_WAIT_S = 1.0  # of deadlines, for messages


def _rested_s(began_s: float, ended_s: float) -> float:
    """When to look at deadlines again if messages keep coming: thousands of jobs may have some."""
    return ended_s + min(_WORK_PER_TICK * (ended_s - began_s), _LONGEST_WAIT_S)


class _Stop:
    """Ends the thread when it is taken out of the queue."""


class Inbox:
    """A queue with a thread behind it; `put` never blocks."""

    def __init__(
        self,
        handle: Callable[[Sequence[LinkEvent]], None],
        tick: Callable[[], float | None],
        failed: Callable[[Exception], None],
        clock: Clock,
    ) -> None:
        """Prepare; nothing runs before `start`.

        Args:
            handle: Called with the events that are waiting, in order, at most `MAX_TOGETHER`; on
                the inbox's thread.
            tick: Called after that and at the second it asked for; returns the monotonic
                second at which it wants to be called again, None for not before the next event.
            failed: Called once if one of the two raises; the thread ends after that.
            clock: Measures the time until the next tick.
        """
        self._handle = handle
        self._tick = tick
        self._failed = failed
        self._clock = clock
        self._queue: queue.SimpleQueue[LinkEvent | _Stop | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="fleet-inbox", daemon=True)

    def put(self, event: LinkEvent) -> None:
        """Enqueue an event; this is the link's sink."""
        self._queue.put(event)

    def wake(self) -> None:
        """Make the thread look at the time again, because a deadline may have come closer."""
        self._queue.put(None)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after what it is doing now; harmless if it has ended or never started."""
        if self._thread.ident is None:
            return
        self._queue.put(_Stop())
        self._thread.join()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:
            _log.exception("the fleet's inbox has stopped")
            self._failed(error)

    def _work(self) -> None:
        due_s: float | None = None
        not_before_s = 0.0
        while True:
            waiting = self._next(due_s)
            events = [event for event in waiting if not isinstance(event, _Stop | None)]
            if events:
                self._handle(events)
            if len(events) < len(waiting) and isinstance(waiting[-1], _Stop):
                return
            began_s = time.monotonic()
            if self._queue.empty() or began_s >= not_before_s:
                due_s = self._tick()
                not_before_s = _rested_s(began_s, time.monotonic())

    def _next(self, due_s: float | None) -> list[LinkEvent | _Stop | None]:
        """Wait for an event; what else is there by then comes with it, up to an order to stop."""
        timeout_s = None if due_s is None else max(0.0, due_s - self._clock.monotonic_s())
        found: list[LinkEvent | _Stop | None] = []
        try:
            found.append(self._queue.get(timeout=timeout_s))
            while len(found) < MAX_TOGETHER and not isinstance(found[-1], _Stop):
                found.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return found
