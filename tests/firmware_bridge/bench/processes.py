"""Finds processes by their command line, and waits for something to come about."""

import time
from collections.abc import Callable
from pathlib import Path

SAFETY_S = 20.0


def running_with(word: str) -> list[int]:
    """Ids of the processes that have this word among their arguments; the dead have none."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue  # it ended while we looked
        if word.encode() in words:
            found.append(int(path.parent.name))
    return found


def wait_for(condition: Callable[[], object]) -> None:
    """Waits until the condition holds; the deadline is a safety net."""
    until = time.monotonic() + SAFETY_S
    while not condition():
        assert time.monotonic() < until, "what was waited for did not come about"
        time.sleep(0.01)
