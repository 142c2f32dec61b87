"""Puts every slot in order after a start, before anything else happens; idempotent, no network.

A new boot means that power was lost: what was not committed is undone. The same boot means that
only the daemon died: it goes on, and the third such death rolls the bundle back. Leaves going on to
the desk.
"""

from firmware_bridge.agent.activating import STRIKES_UNTIL_BROKEN, finish_roll_back, subject_of
from firmware_bridge.agent.book import IDLE, DeploymentBook, Ending
from firmware_bridge.slots import CURRENT, Slots
from firmware_bridge.store.slot_log import SlotRow
from firmware_bridge.wire.messages import ErrorNote

PAST_NO_RETURN = ("ACTIVATING", "PROBATION", "ROLLING_BACK")


def recover(book: DeploymentBook, slots: Slots, boot_id: str, runtime: str) -> None:
    """Rebuild links and settle deployments that were cut off.

    Args:
        book: Journal and reports; reports wait in the outbox until there is a connection.
        slots: Bundles and links.
        boot_id: This boot.
        runtime: Runtime that a broken bundle is remembered under.
    """
    for row in book.journal.slots.all():
        if row.phase not in PAST_NO_RETURN:
            _resume_early(book, slots, row)
        elif row.boot_id != boot_id:
            note = ErrorNote("power_loss", f"the board restarted during {row.phase}")
            ending = Ending("ROLLED_BACK", "power_loss", (note,), retryable=True)
            finish_roll_back(book, slots, row.name, ending)
        else:
            _resume_late(book, slots, row, runtime)
    slots.collect(needed_bundles(book))


def needed_bundles(book: DeploymentBook) -> set[str]:
    """Bundles that some slot runs, can fall back to, or is being moved to."""
    rows = book.journal.slots.all()
    named = (name for row in rows for name in (row.committed, row.previous, row.target))
    return {name for name in named if name is not None}


def _resume_early(book: DeploymentBook, slots: Slots, row: SlotRow) -> None:
    slots.relink(row.name, row.committed, row.previous)
    if row.phase not in (IDLE, "STAGED"):
        book.journal.slots.update(row.name, phase="OFFERED", attempt=row.attempt + 1, rev=0)


def _resume_late(book: DeploymentBook, slots: Slots, row: SlotRow, runtime: str) -> None:
    if row.phase == "ROLLING_BACK":
        code = row.failure or "interrupted"
        note = ErrorNote(code, "the agent restarted while rolling back")
        finish_roll_back(book, slots, row.name, Ending("ROLLED_BACK", code, (note,)))
        return
    subject = subject_of(row.target)
    if book.journal.strikes.strike(subject) >= STRIKES_UNTIL_BROKEN:
        note = ErrorNote("strikes", f"the agent died {STRIKES_UNTIL_BROKEN} times in probation")
        book.journal.strikes.mark_broken(subject, "rolled back here: strikes", runtime)
        finish_roll_back(book, slots, row.name, Ending("ROLLED_BACK", "strikes", (note,)))
        return
    book.journal.slots.update(row.name, attempt=row.attempt + 1, rev=0)
    if row.phase == "PROBATION" and slots.pointed(row.name) != row.target:
        slots.point(row.name, CURRENT, row.target)
