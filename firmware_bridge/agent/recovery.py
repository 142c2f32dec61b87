"""Puts every slot in order after a start, before anything else happens; idempotent, no network.

A new boot means that power was lost: `restore` undoes what was not committed, and is all that the
one-shot `edgenas-device recover` does. The same boot means that only the daemon died: `resume` goes
on, and the third such death rolls the bundle back. Leaves going on to the desk.
"""

from firmware_bridge.agent.acceptance import unverified
from firmware_bridge.agent.activating import (
    POWER_LOSS,
    STRIKES,
    STRIKES_UNTIL_BROKEN,
    finish_roll_back,
    subject_of,
)
from firmware_bridge.agent.book import IDLE, DeploymentBook
from firmware_bridge.agent.preparing import wish_of
from firmware_bridge.slots import Slots
from firmware_bridge.store.slot_log import SlotRow

PAST_NO_RETURN = ("ACTIVATING", "PROBATION", "ROLLING_BACK")
UNKNOWN_BOOT = "unknown"


def recover(book: DeploymentBook, slots: Slots, boot_id: str, runtime: str) -> None:
    """What a daemon does at its start: restore, resume, and drop bundles that nobody needs.

    Args:
        book: Journal and reports; reports wait in the outbox until there is a connection.
        slots: Bundles and links.
        boot_id: This boot.
        runtime: Runtime that a broken bundle is remembered under.
    """
    restore(book, slots, boot_id)
    for row in book.journal.slots.all():
        if row.phase in PAST_NO_RETURN:
            _resume_late(book, slots, row, runtime)
        elif row.phase not in (IDLE, "STAGED"):
            _reopen(book, row)
    slots.collect(needed_bundles(book))


def restore(book: DeploymentBook, slots: Slots, boot_id: str) -> list[str]:
    """Make links and stamps say what the journal says, and undo what power was lost over.

    May be cut off and repeated at any moment; within the boot of a deployment it changes nothing
    that the deployment has done.

    Returns:
        One line for each slot: its name and what was found.
    """
    return [_restore(book, slots, row, boot_id) for row in book.journal.slots.all()]


def needed_bundles(book: DeploymentBook) -> set[str]:
    """Bundles that some slot runs, can fall back to, or is being moved to."""
    rows = book.journal.slots.all()
    named = (name for row in rows for name in (row.committed, row.previous, row.target))
    return {name for name in named if name is not None}


def needed_digests(book: DeploymentBook, slots: Slots) -> frozenset[str]:
    """Blobs that the needed bundles are made of, and those of deployments under way."""
    manifests = [slots.manifest(bundle) for bundle in needed_bundles(book)]
    for row in book.journal.slots.all():
        wish = wish_of(row.wish) if row.phase != IDLE else None
        if wish is not None and wish.release is not None:
            manifests.append(unverified(wish.release))
    return frozenset(file.sha256 for found in manifests if found for file in found.files)


def _restore(book: DeploymentBook, slots: Slots, row: SlotRow, boot_id: str) -> str:
    if row.phase in PAST_NO_RETURN:
        if row.boot_id == boot_id and boot_id != UNKNOWN_BOOT:
            if row.phase == "PROBATION":
                slots.relink(row.name, row.target, row.previous)
            return f"{row.name}: {row.phase} of this boot, left to the daemon"
        before = f" after {row.failure}" if row.failure not in (None, POWER_LOSS) else ""
        text = f"the board restarted during {row.phase}{before}"
        book.journal.slots.update(row.name, failure=POWER_LOSS, failure_text=text)
        finish_roll_back(book, slots, row.name)
        return f"{row.name}: {text}; back on {row.committed or 'an empty slot'}"
    changed = slots.relink(row.name, row.committed, row.previous)
    runs = row.committed or "an empty slot"
    return f"{row.name}: {runs}{', links rebuilt' if changed else ''}"


def _reopen(book: DeploymentBook, row: SlotRow) -> None:
    """Nothing has changed yet: the checks start again, and blobs go on where they were."""
    book.journal.slots.update(row.name, phase="OFFERED", attempt=row.attempt + 1, rev=0)


def _resume_late(book: DeploymentBook, slots: Slots, row: SlotRow, runtime: str) -> None:
    if row.phase == "ROLLING_BACK" or _third_strike(book, row, runtime):
        finish_roll_back(book, slots, row.name)


def _third_strike(book: DeploymentBook, row: SlotRow, runtime: str) -> bool:
    """Count the daemon's death against the bundle, and take the next attempt; in one step."""
    subject, strikes = subject_of(row.target), book.journal.strikes
    with book.journal.transaction():
        count = strikes.strike(subject)
        if count < STRIKES_UNTIL_BROKEN:
            book.journal.slots.update(row.name, attempt=row.attempt + 1, rev=0)
            return False
        if row.target is not None:
            strikes.mark_broken(subject, f"bundle was rolled back here: {STRIKES}", runtime)
        book.journal.slots.update(
            row.name,
            phase="ROLLING_BACK",
            failure=STRIKES,
            failure_text=f"{count} faults in probation, the last: the agent restarted",
        )
    return True
