"""How warm this board is while the daemon has nothing to do, which is what "cool" means here.

A board just switched on is colder than it will ever idle, and one that has just worked is warmer,
so a reading counts only after a while of idling, and the newest one counts. Leaves comparing with
it to `bench.preflight`, and reading sensors to `bench.sensors`.
"""

import time
from collections.abc import Callable

SETTLED_S = 120.0
EVERY_S = 60.0


class IdleTemperature:
    """Looks at the temperature now and then while the daemon idles.

    Attributes:
        temp_c: The newest reading of the idle board, degrees Celsius; None before any, and where
            there is no sensor.
    """

    def __init__(
        self, read: Callable[[], float | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start with nothing known.

        Args:
            read: The temperature now, degrees Celsius, None without a sensor.
            clock: Monotonic seconds.
        """
        self.temp_c: float | None = None
        self._read = read
        self._clock = clock
        self._next_s = clock() + SETTLED_S

    def tick(self, *, busy: bool) -> None:
        """Take note of the time; `busy` says that a child measures or a transfer runs."""
        now_s = self._clock()
        if busy:
            self._next_s = now_s + SETTLED_S
        elif now_s >= self._next_s:
            self._next_s = now_s + EVERY_S
            self.temp_c = self._read()
