"""The host's one thread: takes in what the link enqueues, and lets the passing of time take effect.

Leaves the meaning of events to its handler and deadlines to whoever computes them. The handler may
do small work such as reading chunks of a blob; the caller's heavy work never runs here.
"""

import logging
import queue
import threading
from collections.abc import Callable

from edgenas.fleet.clock import Clock
from firmware_bridge.wire.link import LinkEvent

_log = logging.getLogger(__name__)


class _Stop:
    """Ends the thread when it is taken out of the queue."""


class Inbox:
    """A queue with a thread behind it; `put` never blocks."""

    def __init__(
        self,
        handle: Callable[[LinkEvent], None],
        tick: Callable[[], float | None],
        failed: Callable[[Exception], None],
        clock: Clock,
    ) -> None:
        """Prepare; nothing runs before `start`.

        Args:
            handle: Called for every event, on the inbox's thread.
            tick: Called after every event and at the second it asked for; returns the monotonic
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
        while True:
            event = self._next(due_s)
            if isinstance(event, _Stop):
                return
            if event is not None:
                self._handle(event)
            due_s = self._tick()

    def _next(self, due_s: float | None) -> LinkEvent | _Stop | None:
        timeout_s = None if due_s is None else max(0.0, due_s - self._clock.monotonic_s())
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None
