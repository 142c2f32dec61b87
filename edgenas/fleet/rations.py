"""How many rows of one kind a device may make the host write: so many in any 24 hours.

What a device says is kept for good, so that one that talks for ever would fill the disk of all.
Counted in memory: a host that starts again begins afresh, and no device can make it do so. What
follows from a ration that is used up is left to whoever has it.
"""

import logging

from edgenas.fleet.clock import Clock

DAY_S = 86_400.0

_log = logging.getLogger(__name__)


class Ration:
    """Rows of one kind, counted for each device; used under the host's lock."""

    def __init__(self, what: str, rows: int, clock: Clock) -> None:
        """Begin with nothing taken.

        Args:
            what: What the rows are, for the log.
            rows: Most rows a device and 24 hours.
            clock: Tells when the hours are over.
        """
        self._what = what
        self._rows = rows
        self._clock = clock
        self._taken: dict[str, tuple[float, int]] = {}  # since when, and how many

    def take(self, device_id: str) -> bool:
        """Whether a device may cause one more row, which then counts."""
        now_s = self._clock.monotonic_s()
        since_s, taken = self._taken.get(device_id, (now_s, 0))
        if now_s - since_s >= DAY_S:
            since_s, taken = now_s, 0
        self._taken[device_id] = since_s, taken + 1
        if taken == self._rows:
            _log.warning(
                "device %s: expected at most %d %s in 24 hours, got more; the rest is not kept",
                *(device_id, self._rows, self._what),
            )
        return taken < self._rows
