"""Processes below a measuring child: how many there are, what they hold, and who slipped away.

A model or a runtime has no reason to start processes, so whatever it starts counts against it.
Finds them by parentage while they are attached, and by a mark in their environment once they have
left their group and their parent has died. What is too many is decided in ``process``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress

from firmware_bridge.bench import memory

MARK_VARIABLE = "EDGENAS_MEASURING_CHILD"
MAX_SWEEPS = 20
_MAX_SEEN = 4096
_READ_BYTES = 256 * 1024
_PARENT_FIELD, _GROUP_FIELD = 1, 2


def descendants(process: int) -> list[int]:
    """Ids of all processes below one, in no order, at most 4,096; empty if it is gone."""
    found: list[int] = []
    waiting = [process]
    while waiting and len(found) < _MAX_SEEN:
        children = _children(waiting.pop())
        found += children
        waiting += children
    return found


def resident_bytes(process: int) -> int:
    """Memory of a process, shared pages counted once among those that share them if possible."""
    rollup = memory.rollup_bytes(str(process))
    return rollup.get("Pss") or memory.status_bytes(str(process)).get("VmRSS", 0)


def end_marked(mark: str, group: int) -> int:
    """Kills every process of this user that carries the mark.

    Looks again until none is left, as one that forks may be a step ahead.

    Args:
        mark: Value of ``EDGENAS_MEASURING_CHILD`` in their environment.
        group: Process group in which they were started, and which is dying already.

    Returns:
        How many of them had left that group.
    """
    wanted = f"{MARK_VARIABLE}={mark}".encode()
    strays: set[int] = set()
    for _ in range(MAX_SWEEPS):
        alive = [process for process in _processes() if _carries(process, wanted)]
        strays.update(process for process in alive if _stat(process, _GROUP_FIELD) != group)
        for process in alive:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        if not alive:
            break
    return len(strays)


def _children(process: int) -> list[int]:
    """Direct children, by the kernel's own list or, where it keeps none, by everybody's parent."""
    found: list[int] = []
    listed = False
    with suppress(OSError):
        for thread in os.listdir(memory.PROC / str(process) / "task"):
            path = memory.PROC / str(process) / "task" / thread / "children"
            with suppress(OSError):
                found += map(int, path.read_text(encoding="ascii").split())
                listed = True
        if not listed:
            found = [each for each in _processes() if _stat(each, _PARENT_FIELD) == process]
    return found


def _processes() -> Iterator[int]:
    with suppress(OSError):
        for name in os.listdir(memory.PROC):
            if name.isdigit():
                yield int(name)


def _stat(process: int, field: int) -> int | None:
    """A number out of ``/proc/<pid>/stat``, counted from behind the name (any text)."""
    fields = _read(f"{memory.PROC}/{process}/stat").rpartition(b")")[2].split()
    return int(fields[field]) if len(fields) > field else None


def _carries(process: int, wanted: bytes) -> bool:
    environment = b"\0" + _read(f"{memory.PROC}/{process}/environ")
    return b"\0" + wanted + b"\0" in environment


def _read(path: str) -> bytes:
    """A file of ``/proc``, by the shortest way: a sweep reads hundreds between two children."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, _READ_BYTES)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
