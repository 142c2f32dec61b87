"""The one queue between the outside and the main loop, bounded in number and in bytes.

Whatever the network thread or the worker has to say goes in here and nothing else; leaves all
reading of messages to the main loop.
"""

import queue
import threading
from dataclasses import dataclass

from firmware_bridge.agent.worker import Finished
from firmware_bridge.wire.link import LinkEvent, Received

MAX_EVENTS = 4096
MAX_BYTES = 16 << 20


@dataclass(frozen=True)
class Stop:
    """The daemon shall shut down."""


InboxEvent = LinkEvent | Finished | Stop


class Inbox:
    """First in, first out; a flood from outside is dropped and counted, never kept."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._queue: queue.SimpleQueue[InboxEvent] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._bytes = 0
        self._max_bytes = max_bytes
        self.dropped = 0

    def put(self, event: InboxEvent) -> None:
        """Add an event from any thread or signal handler; never blocks on I/O."""
        if isinstance(event, Received) and not self._admit(len(event.payload)):
            return
        self._queue.put(event)

    def take(self, timeout_s: float) -> InboxEvent | None:
        """The next event, or None when `timeout_s` pass without one."""
        try:
            event = self._queue.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            return None
        if isinstance(event, Received):
            with self._lock:
                self._bytes -= len(event.payload)
        return event

    def _admit(self, size: int) -> bool:
        with self._lock:
            if self._bytes + size > self._max_bytes or self._queue.qsize() >= MAX_EVENTS:
                self.dropped += 1
                return False
            self._bytes += size
        return True
