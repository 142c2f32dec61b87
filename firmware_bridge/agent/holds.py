"""Update locks that an application or a person has put on this board: named, and time-boxed.

A lock is a file `inhibit.d/<name>.json` with `holder`, `reason` and `max_s` (at most a day). Its
time counts from the file's modification time when it is first seen, and from then on by a clock
that nobody can set: neither a jump of the wall clock nor a date in the future makes it last longer.
Leaves what a lock forbids to the desks.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from firmware_bridge.wire.messages import Hold

LONGEST_S = 86_400
FILE_CAP_BYTES = 4096
MAX_HOLDS = 16
TOLD_IN_STEPS_OF_S = 60
_TEXT_CAP = 200

_log = logging.getLogger(__name__)

Version = tuple[str, int, int]  # path, inode, modification time in ns


@dataclass(frozen=True)
class Found:
    """What lies in `inhibit.d`: locks in force, and a sentence for each file that is none."""

    holds: tuple[Hold, ...] = ()
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Lock:
    holder: str
    reason: str
    ends_s: float  # monotonic


class HoldReader:
    """Reads the directory, each version of a file once."""

    def __init__(
        self,
        directory: Path,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Remember where to look.

        Args:
            directory: `inhibit.d`; may be absent.
            clock: Monotonic seconds.
            wall: Seconds since the epoch.
        """
        self._directory = directory
        self._clock = clock
        self._wall = wall
        self._known: dict[Version, _Lock | str] = {}

    def holds(self) -> tuple[Hold, ...]:
        """Locks in force now, by file name."""
        return self.look().holds

    def look(self) -> Found:
        """Locks in force, and what was ignored: no lock, or past its time."""
        now_s = self._clock()
        present = {version: self._lock(version) for version in self._versions()}
        self._known = present
        holds, ignored = [], []
        for (path, _, _), lock in present.items():
            if isinstance(lock, str):
                ignored.append(lock)
            elif now_s >= lock.ends_s:
                ignored.append(f"ignored lock {path} of {lock.holder}: past its max_s; remove it")
            else:
                holds.append(Hold(lock.holder, lock.reason, _told_s(lock.ends_s - now_s)))
        return Found(tuple(holds), tuple(ignored))

    def _versions(self) -> list[Version]:
        try:
            paths = sorted(self._directory.glob("*.json"))[:MAX_HOLDS]
        except OSError:
            return []
        found: list[Version] = []
        for path in paths:
            try:
                seen = path.stat()
            except OSError:
                continue  # removed while we looked
            found.append((str(path), seen.st_ino, seen.st_mtime_ns))
        return found

    def _lock(self, version: Version) -> _Lock | str:
        known = self._known.get(version)
        if known is not None:
            return known
        lock = _read(version, self._clock(), self._wall())
        if isinstance(lock, str):
            _log.warning("%s", lock)
        return lock


def _read(version: Version, now_s: float, now_wall_s: float) -> _Lock | str:
    path, _, modified_ns = version
    try:
        with Path(path).open("rb") as stream:
            fields = json.loads(stream.read(FILE_CAP_BYTES))
        max_s = min(float(fields["max_s"]), LONGEST_S)
        age_s = max(now_wall_s - modified_ns / 1e9, 0.0)
        holder, reason = str(fields["holder"])[:_TEXT_CAP], str(fields["reason"])[:_TEXT_CAP]
        (holder + reason).encode()  # a lone surrogate could not be told to the host
    except (OSError, ValueError, OverflowError, KeyError, TypeError, RecursionError) as error:
        return f"ignored lock {path}: {error!r}; expected holder, reason and max_s"
    if max_s != max_s:
        return f"ignored lock {path}: max_s is not a number; expected holder, reason and max_s"
    return _Lock(holder, reason, now_s + max_s - age_s)


def _told_s(left_s: float) -> int:
    """Told in whole minutes, so that a lock does not change the retained state every second."""
    return -int(-left_s // TOLD_IN_STEPS_OF_S) * TOLD_IN_STEPS_OF_S
