"""Which boot this is, what time it is, and whether that time can be believed.

Leaves every decision about time to the callers, who get monotonic seconds passed in.
"""

import ctypes
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from firmware_bridge.wire.codec import Stamp

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIME_ERROR = 5
_TIMEX_BYTES = 512


def read_boot_id(path: Path = BOOT_ID) -> str:
    """The kernel's random id of this boot; `unknown` where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return "unknown"


def clock_synced() -> bool:
    """Whether the kernel believes its wall clock to be synchronised (adjtimex, read only)."""
    adjtimex = _adjtimex()
    if adjtimex is None:
        return False
    return 0 <= int(adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))) < _TIME_ERROR


@cache
def _adjtimex() -> Callable[..., Any] | None:
    """Looked up once: every CDLL makes classes of its own, and this is asked for every second."""
    try:
        return ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return None


class Clock:
    """Stamps messages of one boot."""

    def __init__(self) -> None:
        self.boot_id = read_boot_id()

    def stamp(self) -> Stamp:
        """When this is: boot, monotonic and wall time."""
        return Stamp(
            boot_id=self.boot_id,
            mono_us=time.monotonic_ns() // 1000,
            wall_ms=time.time_ns() // 1_000_000,
            clock_synced=clock_synced(),
        )
