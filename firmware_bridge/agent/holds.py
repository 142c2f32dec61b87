"""Update locks that an application or a person has put on this board: named, and time-boxed.

A lock is a file `inhibit.d/<name>.json` with `holder`, `reason` and `max_s` (at most a day), which
counts from the file's modification time. Leaves what a lock forbids to the desks.
"""

import json
import logging
from pathlib import Path

from firmware_bridge.wire.messages import Hold

LONGEST_S = 86_400
FILE_CAP_BYTES = 4096
MAX_HOLDS = 16
_TEXT_CAP = 200

_log = logging.getLogger(__name__)


def read_holds(directory: Path, now_wall_s: float) -> tuple[Hold, ...]:
    """Locks in force now, by file name.

    Args:
        directory: `inhibit.d`; may be absent.
        now_wall_s: Seconds since the epoch.

    Returns:
        Locks whose time is not over; a file that is no lock, or is past its time, is ignored.
    """
    try:
        paths = sorted(directory.glob("*.json"))[:MAX_HOLDS]
    except OSError:
        return ()
    found = (_read(path, now_wall_s) for path in paths)
    return tuple(hold for hold in found if hold is not None)


def _read(path: Path, now_wall_s: float) -> Hold | None:
    try:
        with path.open("rb") as stream:
            fields = json.loads(stream.read(FILE_CAP_BYTES))
        max_s = min(float(fields["max_s"]), LONGEST_S)
        left_s = path.stat().st_mtime + max_s - now_wall_s
        holder, reason = str(fields["holder"])[:_TEXT_CAP], str(fields["reason"])[:_TEXT_CAP]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        _log.warning("ignored lock %s: %r; expected holder, reason and max_s", path, error)
        return None
    return Hold(holder, reason, int(left_s)) if left_s > 0 else None
