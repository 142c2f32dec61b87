"""Runs a command of edgenas with a wall clock that is wrong, or as on a board that was restarted.

    python -m benchmarks.shifted OFFSET_FILE (host|device) ARGUMENTS...

The wall clock is off by the seconds that the file says at every moment; monotonic time goes on as
it does. EDGENAS_BENCH_BOOT, if it is set, is what the daemon takes for the id of this boot. All
else is the real program.
"""

from __future__ import annotations

import os
import sys
import time
from importlib import import_module
from pathlib import Path

BOOT = "EDGENAS_BENCH_BOOT"
_PROGRAMS = {"host": "edgenas.cli.main", "device": "firmware_bridge.cli"}


def main() -> int:
    """Shift the clock, then be the command."""
    offset, program = Path(sys.argv[1]), sys.argv[2]
    sys.argv = [program, *sys.argv[3:]]
    _shift(offset)
    if program == "device" and os.environ.get(BOOT):
        clock = import_module("firmware_bridge.agent.clock")
        boot_id = os.environ[BOOT]
        clock.read_boot_id = lambda *_: boot_id  # type: ignore[attr-defined]
    status: int = import_module(_PROGRAMS[program]).main()
    return status


def _shift(offset: Path) -> None:
    real, real_ns = time.time, time.time_ns

    def seconds() -> float:
        return float(offset.read_text(encoding="ascii") or 0)

    time.time = lambda: real() + seconds()
    time.time_ns = lambda: real_ns() + round(seconds() * 1e9)


if __name__ == "__main__":
    sys.exit(main())
