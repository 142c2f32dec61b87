"""How many bytes of candidates a device may still pull: so many in any 24 hours.

A search that runs away must not wear out a board's flash or use up its data plan. Releases do not
count. What was sent is noted in the journal in pieces, so that a host that dies forgets little.
Leaves refusing, and ending the job, to the desks.
"""

from edgenas.fleet.clock import Clock
from edgenas.fleet.device_log import DeviceLog
from firmware_bridge.wire.values import MIB

DAY_MS = 86_400_000
BUDGET_BYTES = 500_000_000
NOTED_BYTES = MIB


class Allowance:
    """Bytes of candidates that each device was sent lately; used from the inbox's thread."""

    def __init__(self, log: DeviceLog, clock: Clock, budget_bytes: int = BUDGET_BYTES) -> None:
        """Take over what was noted.

        Args:
            log: Where pieces are noted.
            clock: Tells the date.
            budget_bytes: Most bytes a device and 24 hours.
        """
        self._log = log
        self._clock = clock
        self.budget_bytes = budget_bytes
        self._unnoted: dict[str, int] = {}

    def used_up(self, device_id: str) -> bool:
        """Whether a device has had as many bytes as it may."""
        since_ms = self._clock.wall_ms() - DAY_MS
        noted = self._log.served_bytes(device_id, since_ms)
        return noted + self._unnoted.get(device_id, 0) >= self.budget_bytes

    def spend(self, device_id: str, sent_bytes: int) -> None:
        """Note that a device was sent so many bytes."""
        waiting = self._unnoted.get(device_id, 0) + sent_bytes
        if waiting >= NOTED_BYTES:
            self._log.add_served(device_id, waiting, self._clock.wall_ms())
            waiting = 0
        self._unnoted[device_id] = waiting
