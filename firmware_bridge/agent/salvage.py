"""Opens the journal; one that a dying memory card has damaged is set aside, and a new one begun.

A device that refused to start would need a visit. What runs is in the links, which bundle that is
and how new, in the bundles' manifests: from them the new journal gets its slots, so applications
keep their model and no older release is taken. Lost are jobs, unsent answers, strikes, and the
identity of the installation: the host sees a new one.
"""

from __future__ import annotations

import logging
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

from firmware_bridge.faults import FAULTS
from firmware_bridge.slots import CURRENT, PREVIOUS, Slots
from firmware_bridge.store.database import JournalDamagedError
from firmware_bridge.store.durable import move_file
from firmware_bridge.store.journal import JOURNAL_NAME, Journal

DAMAGED_NAME = "journal.damaged"
_UNFINISHED_NAME = ".journal.new"
_COMPANIONS = ("", "-wal", "-shm")  # SQLite's files beside the database

_log = logging.getLogger(__name__)


def open_journal(state_dir: Path, slots: Slots) -> tuple[Journal, str | None]:
    """The journal of a state directory, and what to tell people if it had to be begun anew.

    A new one is complete from its first moment: one that knew of no slots would have every
    bundle cleared away as unused. So a power cut on the way leaves none, which is mended likewise.

    Args:
        state_dir: Held by this process.
        slots: Of the same directory.

    Raises:
        StoreError: It cannot be opened for another reason than damage.
    """
    path = state_dir / JOURNAL_NAME
    told = None
    if not path.exists() and slots.names():
        told = f"expected a journal at {path}, got none"
    try:
        if told is None:
            return Journal(path), None
    except JournalDamagedError as error:
        told = (
            f"expected a whole journal at {path}, got: {error.found}; "
            f"it was set aside as {DAMAGED_NAME}"
        )
    told += ", a new one begun from what is installed: unsent results are lost"
    told += "; look at the memory card"
    _log.error("%s", told)
    _set_aside(path)
    _begin_anew(path, slots)
    return Journal(path), told


def _set_aside(path: Path) -> None:
    """The newest damaged one is kept, for whoever wants to look."""
    for companion in _COMPANIONS:
        source = path.with_name(path.name + companion)
        if source.exists():
            FAULTS.before(f"set aside {source.name}")
            source.replace(path.with_name(DAMAGED_NAME + companion))


def _begin_anew(path: Path, slots: Slots) -> None:
    unfinished = path.with_name(_UNFINISHED_NAME)
    for companion in _COMPANIONS:
        unfinished.with_name(unfinished.name + companion).unlink(missing_ok=True)
    with closing(Journal(unfinished)) as journal, journal.transaction():
        for name in slots.names():
            journal.slots.update(name, **_as_linked(slots, name))
    move_file(unfinished, path)


def _as_linked(slots: Slots, name: str) -> dict[str, Any]:
    """Fields of the row of a slot, as far as links and manifests tell them."""
    committed, previous = slots.pointed(name), slots.pointed(name, PREVIOUS)
    row: dict[str, Any] = {"committed": committed, "previous": previous}
    for link in (PREVIOUS, CURRENT):
        bundle = slots.pointed(name, link)
        manifest = slots.manifest(bundle) if bundle else None
        if bundle and manifest and manifest.counter >= row.get("counter", 0):
            raw = slots.manifest_bytes(bundle)
            row |= {"counter": manifest.counter, "manifest_sha256": sha256(raw).hexdigest()}
    return row
