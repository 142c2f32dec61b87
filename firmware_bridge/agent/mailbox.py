"""Hands chunks and refusals of the one running transfer from the main loop to the worker.

Bounded: what nobody waits for, and what comes too fast, is dropped, since the pull asks again.
Leaves placing and checking the bytes to `pull` and the store.
"""

import queue
from dataclasses import dataclass

from firmware_bridge.wire.messages import BlobRefused

CAPACITY = 32


@dataclass(frozen=True)
class Chunk:
    """Bytes that claim to start at `offset` (B) of the blob."""

    offset: int
    data: bytes


class Mailbox:
    """Open for at most one digest at a time."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Chunk | BlobRefused] = queue.Queue(CAPACITY)
        self._digest: str | None = None

    def open(self, digest: str) -> None:
        """Begin to accept what concerns `digest`."""
        self.close()
        self._digest = digest

    def close(self) -> None:
        """Accept nothing and forget what was not taken."""
        self._digest = None
        while not self._queue.empty():
            self._queue.get_nowait()

    def deliver(self, digest: str, item: Chunk | BlobRefused) -> bool:
        """Put in what came for `digest`; False if it was not wanted."""
        if digest != self._digest:
            return False
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            return False
        return True

    def take(self, timeout_s: float) -> Chunk | BlobRefused | None:
        """What came next, or None after `timeout_s` seconds."""
        try:
            return self._queue.get(timeout=max(timeout_s, 0.001))
        except queue.Empty:
            return None
