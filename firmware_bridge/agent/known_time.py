"""Whether the wall clock can be believed enough to let a release expire.

Boards without a battery-backed clock start in the past, and a network may never tell them the time.
The time is believed if the kernel calls it synchronised and it does not lie before what this device
has known already: the last synchronised hour, kept in the journal, and the date of this software.
Never sets a clock. Leaves what to do with a doubtful time to the callers.
"""

import time
from collections.abc import Callable
from pathlib import Path

EVERY_S = 3600.0


def trusted(now_wall_s: float, synced: bool, known_wall_s: float, built_wall_s: float) -> bool:
    """Whether `now_wall_s` can be the present time.

    Args:
        now_wall_s: Seconds since the epoch, as the clock says.
        synced: The kernel calls the clock synchronised.
        known_wall_s: Latest synchronised time that was noted, 0 before any.
        built_wall_s: Date of this software.
    """
    return synced and now_wall_s >= max(known_wall_s, built_wall_s)


class KnownTime:
    """Notes the synchronised time once an hour, and judges the clock by it."""

    def __init__(
        self,
        load: Callable[[], float],
        save: Callable[[float], None],
        synced: Callable[[], bool],
        wall_s: Callable[[], float] = time.time,
        built_wall_s: float | None = None,
    ) -> None:
        """Take over what is known.

        Args:
            load: The latest time that was noted, seconds since the epoch, 0 before any.
            save: Makes a time durable.
            synced: Whether the kernel calls the clock synchronised.
            wall_s: The clock.
            built_wall_s: Date of this software; None takes the date of its files.
        """
        self._known_s = load()
        self._save = save
        self._synced = synced
        self._wall_s = wall_s
        self._built_s = _file_date_s() if built_wall_s is None else built_wall_s

    def trusted(self) -> bool:
        """Whether the clock can be believed now."""
        return trusted(self._wall_s(), self._synced(), self._known_s, self._built_s)

    def tick(self) -> None:
        """Note the time if it can be believed and an hour has passed.

        Raises:
            StoreError: The journal takes no change.
        """
        now_s = self._wall_s()
        if now_s >= self._known_s + EVERY_S and self.trusted():
            self._save(now_s)
            self._known_s = now_s


def _file_date_s() -> float:
    """A package's files carry the date of its build, or of its installation."""
    return Path(__file__).stat().st_mtime
