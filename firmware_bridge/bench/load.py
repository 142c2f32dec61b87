"""How busy a board is with other people's work, from ``/proc/stat`` and ``/proc/vmstat``.

Counts only, and counts pages that come back from swap as well. When a board is too busy is
decided in ``preflight``.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_IDLE_FIELDS = (3, 4)  # idle, iowait: proc(5)
_COUNTED_FIELDS = 8  # user .. steal; guest time is in user already


@dataclass(frozen=True)
class CpuTimes:
    """Seconds since boot over the watched CPUs; ``own_s`` is this process with its children."""

    busy_s: float
    total_s: float
    own_s: float


def read_cpu_times(proc_root: Path, cpus: Sequence[int] = ()) -> CpuTimes | None:
    """Reads the counters of some CPUs, or of all; None if they cannot be read.

    Args:
        proc_root: Root of procfs.
        cpus: CPU numbers; empty means all.
    """
    try:
        lines = (proc_root / "stat").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    wanted = {f"cpu{number}" for number in cpus} or {"cpu"}
    rows = [line.split() for line in lines if line.partition(" ")[0] in wanted]
    if len(rows) != len(wanted):
        return None
    ticks = [[int(value) for value in row[1 : 1 + _COUNTED_FIELDS]] for row in rows]
    total = sum(map(sum, ticks))
    idle = sum(row[field] for row in ticks for field in _IDLE_FIELDS)
    hertz = os.sysconf("SC_CLK_TCK")
    return CpuTimes((total - idle) / hertz, total / hertz, _own_cpu_s())


def others_busy_pct(before: CpuTimes | None, after: CpuTimes | None) -> float | None:
    """Share of the CPUs' time between two readings that other processes used, percent.

    None if a reading is missing or no time passed. The kernel counts in ticks of about 10 ms, so
    short spans are coarse.
    """
    if before is None or after is None or after.total_s <= before.total_s:
        return None
    busy = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
    return round(min(max(100 * busy / (after.total_s - before.total_s), 0.0), 100.0), 1)


def pages_swapped_in(proc_root: Path) -> int | None:
    """Pages read back from swap since boot; None if the kernel does not count them."""
    try:
        text = (proc_root / "vmstat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    rows = (line.split() for line in text.splitlines())
    return next((int(row[1]) for row in rows if row[0] == "pswpin"), None)


def _own_cpu_s() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    usages = [resource.getrusage(kind) for kind in kinds]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
