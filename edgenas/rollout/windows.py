"""Maintenance windows: when devices may be changed. Pure; the date comes in as a value.

Leaves to `decide` what happens outside: nothing new is offered, and what is on its way is held
before it switches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from edgenas.rollout.errors import PlanError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MIN = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time of the day, on some days of the week; one that ends before it begins spans midnight.

    Attributes:
        begins_min: First minute, counted from midnight.
        ends_min: First minute after it.
        days: Days on which it begins, of `DAYS`.
        zone: Name of a time zone, such as `Europe/Berlin`.
    """

    begins_min: int
    ends_min: int
    days: tuple[str, ...] = DAYS
    zone: str = "UTC"

    def __post_init__(self) -> None:
        for name in ("begins_min", "ends_min"):
            if not 0 <= getattr(self, name) < _DAY_MIN:
                raise PlanError(f"{name}: expected 0 to 1439, got {getattr(self, name)}")
        if self.begins_min == self.ends_min:
            raise PlanError("window: expected an end other than its beginning; leave it out")
        if not self.days or set(self.days) - set(DAYS):
            raise PlanError(f"window: expected days of {', '.join(DAYS)}, got {self.days}")
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError) as error:
            raise PlanError(
                f"window: expected a time zone such as Europe/Berlin, got {self.zone!r}"
            ) from error

    def contains(self, moment: datetime) -> bool:
        """Whether a moment (with a time zone) lies inside."""
        local = moment.astimezone(ZoneInfo(self.zone))
        minute = local.hour * 60 + local.minute
        if self.begins_min < self.ends_min:
            return self.begins_min <= minute < self.ends_min and self._on(local)
        if minute >= self.begins_min:
            return self._on(local)
        return minute < self.ends_min and self._on(local - timedelta(days=1))

    def _on(self, local: datetime) -> bool:
        return DAYS[local.weekday()] in self.days


def is_open(windows: Sequence[Window], moment: datetime) -> bool:
    """Whether devices may be changed now; without any window, always."""
    return not windows or any(window.contains(moment) for window in windows)


def parse_window(text: str, days: Sequence[str] = DAYS, zone: str = "UTC") -> Window:
    """Read `22:00-04:30`.

    Raises:
        PlanError: It is no such thing.
    """
    begins, dash, ends = text.partition("-")
    if not dash:
        raise PlanError(f"window: expected a time like 22:00-04:30, got {text!r}")
    return Window(begins_min=_minute(begins), ends_min=_minute(ends), days=tuple(days), zone=zone)


def _minute(text: str) -> int:
    hour, colon, minute = text.strip().partition(":")
    if not (colon and hour.isdecimal() and minute.isdecimal() and int(minute) < 60):
        raise PlanError(f"window: expected a time like 22:00, got {text!r}")
    return int(hour) * 60 + int(minute)
