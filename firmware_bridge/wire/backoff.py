"""How long to wait before the next attempt: exponential back-off with full jitter.

Pure arithmetic over an injected generator. Waiting is left to the caller.
"""

from __future__ import annotations

import random

from firmware_bridge.wire.errors import InvalidValueError


class Backoff:
    """Draws delays from 0 up to a ceiling that doubles with each failure.

    Full jitter spreads a fleet that lost its broker at one moment.

    Args:
        rng: Source of randomness.
        base_s: First ceiling, seconds.
        cap_s: Highest ceiling, seconds.

    Raises:
        InvalidValueError: Not ``0 < base_s <= cap_s``.
    """

    def __init__(self, rng: random.Random, base_s: float = 1.0, cap_s: float = 120.0) -> None:
        if not 0 < base_s <= cap_s:
            raise InvalidValueError("back-off", "0 < base_s <= cap_s", (base_s, cap_s))
        self._rng = rng
        self._base_s = base_s
        self._cap_s = cap_s
        self._ceiling_s = base_s

    @property
    def ceiling_s(self) -> float:
        """Upper end of the next delay, seconds."""
        return self._ceiling_s

    def next_delay_s(self) -> float:
        """Return seconds to wait after a failure, and double the ceiling."""
        delay_s = self._rng.uniform(0.0, self._ceiling_s)
        self._ceiling_s = min(self._cap_s, 2.0 * self._ceiling_s)
        return delay_s

    def reset(self) -> None:
        """Start over after a success."""
        self._ceiling_s = self._base_s
