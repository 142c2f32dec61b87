"""Which boot this is, what time it is, and whether that time can be believed.

Leaves every decision about time to the callers, who get monotonic seconds passed in.
"""

import ctypes
import time
from pathlib import Path

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
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        state = ctypes.CDLL(None).adjtimex(buffer)
    except (OSError, AttributeError):
        return False
    return 0 <= int(state) < _TIME_ERROR


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
