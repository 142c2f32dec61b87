"""Faults on order, to try out what the daemon survives; without EDGENAS_FAULT nothing of it runs.

EDGENAS_FAULT names one or more of these, separated by commas. A *moment* is the one before, or the
one after, a durable change: a statement that changes the journal, or a step of putting a file in
its place. Moments are counted from 1 over the life of the process.

    kill:<n>               SIGKILL this process at moment n
    enospc:<n>[+<m>]       from moment n on, for m moments or for ever, changes find the disk full
    readonly:<n>[+<m>]     the same with a disk that is mounted read-only
    log:<path>             append the name of every moment to a file
    stall:<thread>:<n>     the thread `link` or `worker` stops for ever at its n-th heartbeat

Leaves to the store where the moments are, and to the tests which faults are worth ordering.
"""

import errno
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from firmware_bridge.wire.errors import InvalidValueError

VARIABLE = "EDGENAS_FAULT"
FORMS = "kill:<n>, enospc:<n>[+<m>], readonly:<n>[+<m>], log:<path> or stall:<thread>:<n>"
_ERRNO = {"enospc": errno.ENOSPC, "readonly": errno.EROFS}


@dataclass(frozen=True)
class Fault:
    """One ordered fault.

    Attributes:
        kind: `kill`, `enospc`, `readonly`, `log` or `stall`.
        first: Moment, or heartbeat, at which it strikes.
        count: How many moments it lasts, None for ever.
        target: Path of the log, or name of the thread.
    """

    kind: str
    first: int = 1
    count: int | None = None
    target: str = ""

    def strikes(self, moment: int) -> bool:
        """Whether it is in force at `moment`."""
        return moment >= self.first and (self.count is None or moment < self.first + self.count)


def parse_faults(text: str) -> tuple[Fault, ...]:
    """Read what EDGENAS_FAULT holds.

    Raises:
        InvalidValueError: It is none of the forms above.
    """
    try:
        return tuple(_parse(part) for part in text.split(",") if part)
    except ValueError as error:
        raise InvalidValueError(VARIABLE, FORMS, text) from error


def _parse(part: str) -> Fault:
    kind, _, rest = part.partition(":")
    if kind == "log" and rest:
        return Fault(kind, target=rest)
    if kind == "kill":
        return Fault(kind, int(rest), 1)
    if kind == "stall":
        thread, _, number = rest.partition(":")
        return Fault(kind, int(number), target=thread)
    if kind in _ERRNO:
        first, plus, count = rest.partition("+")
        return Fault(kind, int(first), int(count) if plus else None)
    raise ValueError(part)


@dataclass
class Faults:
    """Counts moments and heartbeats, and strikes where it was told to; used from every thread."""

    ordered: tuple[Fault, ...] = ()
    _moments: int = 0
    _beats: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def before(self, change: str) -> None:
        """The moment before a durable change.

        Raises:
            OSError: A full or read-only disk was ordered for this moment.
        """
        if self.ordered:
            self._pass_moment(f"before {change}", changes=True)

    def after(self, change: str) -> None:
        """The moment after a durable change."""
        if self.ordered:
            self._pass_moment(f"after {change}", changes=False)

    def at_beat(self, thread: str) -> Callable[[], None] | None:
        """What a heartbeat of `thread` has to call, None where no stall was ordered."""
        for fault in self.ordered:
            if fault.kind == "stall" and fault.target == thread:
                return lambda: self._beat(fault)
        return None

    def _beat(self, fault: Fault) -> None:
        count = self._beats[fault.target] = self._beats.get(fault.target, 0) + 1
        if fault.strikes(count):
            threading.Event().wait()

    def _pass_moment(self, name: str, *, changes: bool) -> None:
        with self._lock:
            self._moments += 1
            moment = self._moments
            for fault in self.ordered:
                if fault.kind == "log":
                    _append(Path(fault.target), f"{moment} {name}\n")
                elif fault.kind == "kill" and fault.strikes(moment):
                    os.kill(os.getpid(), signal.SIGKILL)
                elif changes and fault.kind in _ERRNO and fault.strikes(moment):
                    number = _ERRNO[fault.kind]
                    raise OSError(number, f"{os.strerror(number)} (ordered by {VARIABLE})")


def _append(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as log:
        log.write(line)


def _ordered(environment: Mapping[str, str]) -> Faults:
    return Faults(parse_faults(environment.get(VARIABLE, "")))


FAULTS = _ordered(os.environ)
