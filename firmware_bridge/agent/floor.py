"""Raises the journal's release counters to where the fleet was when this board was enrolled.

Done at every start, because a journal may have been lost in between: counters only go up. Leaves
judging releases by them to `acceptance`.
"""

from __future__ import annotations

import logging
from pathlib import Path

from firmware_bridge.store.journal import Journal
from firmware_bridge.wire.counters import TEXT_CAP_BYTES, read_counters
from firmware_bridge.wire.errors import WireError

COUNTERS_PATH = Path("keys", "counters.json")  # in the state directory; `enroll` writes it

_log = logging.getLogger(__name__)


def raise_counters(journal: Journal, state_dir: Path) -> str | None:
    """Raise what is too low.

    Returns:
        What to tell people if the file is there and cannot be used, else None.

    Raises:
        StoreError: The journal cannot be written.
    """
    path = state_dir / COUNTERS_PATH
    try:
        with path.open("rb") as stream:
            floor = read_counters(stream.read(TEXT_CAP_BYTES + 1))
    except FileNotFoundError:
        return None
    except (OSError, WireError) as error:
        told = (
            f"expected release counters in {path}, got: {error}; an older release might be taken, "
            "enrol this board again"
        )
        _log.error("%s", told)
        return told
    for to in floor:  # mostly none is: a disk that takes no change keeps no daemon from starting
        if to.counter > journal.slots.get(to.slot).counter:
            journal.slots.update(to.slot, counter=to.counter, manifest_sha256=to.manifest_sha256)
    return None
