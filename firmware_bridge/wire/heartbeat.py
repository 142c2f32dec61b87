"""A thread's standing promise to be heard of again, for whoever watches over it.

Leaves the judgement, and what follows from it, to the watcher.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

PATIENCE_S = 120.0


class Heartbeat:
    """Beaten by one thread and read by another; costs one clock reading a beat.

    Args:
        patience_s: Seconds that may pass between two beats.
        at_beat: Called at every beat; a fault that was ordered may stop the thread there.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        patience_s: float = PATIENCE_S,
        at_beat: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._patience_s = patience_s
        self._at_beat = at_beat
        self._clock = clock
        self.due_s = math.inf

    def beat(self, pause_s: float = 0.0) -> None:
        """Be alive now, and again after a pause of ``pause_s`` seconds at the latest."""
        self.due_s = self._clock() + pause_s + self._patience_s
        if self._at_beat is not None:
            self._at_beat()

    def rest(self) -> None:
        """Have nothing to do: no beat is expected until the next one."""
        self.due_s = math.inf
