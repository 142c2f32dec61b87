"""Memory of a process as the kernel counts it, and the reset of its high-water mark.

Reads ``/proc/<pid>/status`` and ``smaps_rollup``. What a model's memory is (peak minus a
baseline) is decided in the worker, which limit applies in ``supervise``.
"""

from __future__ import annotations

from pathlib import Path

KIB = 1024
PROC = Path("/proc")


def status_bytes(process: str) -> dict[str, int]:
    """The ``Vm*`` and ``Rss*`` lines of ``/proc/<process>/status`` in bytes; empty if it is gone.

    Args:
        process: A process id, or ``self``.
    """
    return _kib_lines(PROC / process / "status")


def rollup_bytes(process: str) -> dict[str, int]:
    """The lines of ``/proc/<process>/smaps_rollup`` in bytes; empty where there is none."""
    return _kib_lines(PROC / process / "smaps_rollup")


def reset_peak() -> bool:
    """Sets this process's ``VmHWM`` back to its ``VmRSS``; False where the kernel does not allow
    it.

    Writing 5 to ``clear_refs`` needs Linux 4.0 and no privilege (proc(5)).
    """
    try:
        (PROC / "self" / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def snapshot() -> dict[str, int | None]:
    """Where this process's memory lies now, in bytes; None for what this kernel does not show."""
    status = status_bytes("self")
    rollup = rollup_bytes("self")
    return {
        "pss_bytes": rollup.get("Pss"),
        "private_dirty_bytes": rollup.get("Private_Dirty"),
        "rss_anon_bytes": status.get("RssAnon"),
        "rss_file_bytes": status.get("RssFile"),
        "swap_bytes": status.get("VmSwap"),
    }


def oom_kills() -> int | None:
    """Processes that the kernel killed for want of memory since boot; None if it does not count."""
    try:
        text = (PROC / "vmstat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    lines = (line.split() for line in text.splitlines())
    return next((int(words[1]) for words in lines if words[0] == "oom_kill"), None)


def _kib_lines(path: Path) -> dict[str, int]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdigit():
            found[name] = int(words[0]) * KIB
    return found
