"""The two clocks of the host, as one injected value.

Leaves devices' clocks out: the host never orders anything by them.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Durations come from `monotonic_s`; `wall_ms` dates rows of the journal."""

    def monotonic_s(self) -> float:
        """Seconds that never go backwards within this process."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970, as far as this machine knows."""


class SystemClock:
    """The machine's own clocks."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000
