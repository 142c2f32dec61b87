"""Checks whether the wall clock can be right: synchronised, and not before what is known.

Certificates and expiry dates need the right time, and most boards have no battery-backed clock.
Never sets it.
"""

from __future__ import annotations

import ctypes
import sqlite3
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

from firmware_bridge.doctor.finding import Finding, flaw, ok

SYNCHRONISE = "enable a time service: `timedatectl set-ntp true`, or install chrony"
_TIME_ERROR = 5
_TIMEX_BYTES = 512


def check_clock(now_s: float, known_s: float, synchronised: bool | None) -> Finding:
    """Judges the clock.

    Args:
        now_s: What it says, seconds since the epoch.
        known_s: A time that has certainly passed: the software's date, or the last one noted.
        synchronised: What the kernel says; None if it does not.
    """
    if now_s < known_s:
        cause = f"the clock is wrong: it says {say(now_s)}, but {say(known_s)} has passed"
        return flaw("clock", "clock-behind", cause, SYNCHRONISE)
    if synchronised is None:
        cause = f"the kernel does not say whether {say(now_s)} is right"
        return flaw("clock", "clock-unknown", cause, "check the time by hand")
    if not synchronised:
        cause = f"the clock is not synchronised; it says {say(now_s)}"
        return flaw("clock", "clock-unsynchronised", cause, SYNCHRONISE)
    return ok("clock", f"the clock is synchronised: {say(now_s)}")


def known_time_s(noted_s: float, package: Path = Path(__file__)) -> float:
    """The latest time, seconds since the epoch, that has certainly passed.

    Args:
        noted_s: The latest synchronised time that the daemon noted, 0 for none.
        package: A file of this software, whose date is that of its build or installation.
    """
    return max(noted_s, _modified_s(package))


def noted_time_s(journal: Path) -> float:
    """The latest synchronised time in the daemon's journal, 0 if it has none that can be read."""
    try:
        with closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True)) as opened:
            rows = opened.execute("SELECT value FROM facts WHERE name = 'last_time_s'").fetchall()
        return float(rows[0][0]) if rows else 0.0
    except (sqlite3.Error, ValueError):
        return 0.0


def clock_synchronised() -> bool | None:
    """Whether the kernel calls its clock synchronised; None if it cannot be asked."""
    try:
        state = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state < _TIME_ERROR


def say(moment_s: float) -> str:
    """A moment in words, in universal time."""
    return datetime.fromtimestamp(moment_s, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _modified_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
