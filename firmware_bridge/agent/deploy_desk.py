"""Takes wishes in and decides which step of which deployment the worker does next.

Everything here runs on the main loop and returns at once. Wishes of a slot are ordered by `rev`;
before ACTIVATING the newest always wins, after it the device finishes first. Leaves the steps to
`preparing` and `activating`.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from firmware_bridge.agent.activating import Activating
from firmware_bridge.agent.answers import Answers
from firmware_bridge.agent.book import IDLE, DeploymentBook, Ending
from firmware_bridge.agent.preparing import Preparing, wish_of
from firmware_bridge.agent.recovery import PAST_NO_RETURN, needed_bundles
from firmware_bridge.slots import Slots
from firmware_bridge.store.slot_log import SlotRow
from firmware_bridge.wire.messages import ErrorNote, Hold, Wish

MAX_SLOTS = 4
PROBE_EVERY_S = 60.0

_log = logging.getLogger(__name__)


PREPARE = "prepare"
ACTIVATE = "activate"
PROBE = "probe"


@dataclass(frozen=True)
class Step:
    """One thing for the worker: PREPARE, ACTIVATE or PROBE of a slot, and how to do it."""

    slot: str
    kind: str
    run: Callable[[], None]


@dataclass
class Watch:
    """Timers of one probation, in monotonic seconds."""

    until_s: float
    probe_s: float


class DeployDesk:
    """The state of all deployments of this device, in the journal."""

    def __init__(
        self,
        book: DeploymentBook,
        answers: Answers,
        slots: Slots,
        preparing: Preparing,
        activating: Activating,
        holds: Callable[[], tuple[Hold, ...]],
        probation_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._book = book
        self._answers = answers
        self._slots = slots
        self._preparing = preparing
        self._activating = activating
        self._holds = holds
        self._probation_s = probation_s
        self._clock = clock
        self._watches: dict[str, Watch] = {}

    def receive(
        self,
        slot: str,
        wish: Wish,
        payload: bytes,
        running: Step | None,
        stop: Callable[[], None],
    ) -> bool:
        """A wish has come, perhaps not for the first time.

        Args:
            slot: The slot of its topic.
            wish: What was decoded.
            payload: Its bytes, kept to go on after a restart.
            running: The step that the worker is on, if any.
            stop: Tells the worker to stop.

        Returns:
            False if the device has as many slots as it may have already.
        """
        rows = self._book.journal.slots.all()
        if len(rows) >= MAX_SLOTS and slot not in {row.name for row in rows}:
            return False
        row = self._book.journal.slots.get(slot)
        if wish.rev <= row.wish_rev:
            return True
        row = self._book.journal.slots.update(slot, wish_rev=wish.rev, wish=payload.decode())
        if wish.deployment == row.deployment and wish.release is not None:
            self._repeat_end(row)
        elif row.phase != IDLE:
            self._overtake(row, running, stop)
        return True

    def withdraw(self, slot: str) -> None:
        """End a deployment that a newer wish has overtaken before ACTIVATING."""
        row = self._book.journal.slots.get(slot)
        if row.phase == IDLE or row.phase in PAST_NO_RETURN:
            return
        wish = wish_of(row.wish)
        newer = wish is not None and wish.release is not None
        if newer and wish is not None and wish.deployment == row.deployment:
            return
        text = "a newer wish came" if newer else "the wish was withdrawn"
        code = "superseded" if newer else "cancelled"
        outcome = Ending("SUPERSEDED" if newer else "CANCELLED", code, (ErrorNote(code, text),))
        self._book.end(slot, outcome)

    def next_step(self) -> Step | None:
        """What the worker, being idle, should do now, or None."""
        for row in self._book.journal.slots.all():
            self.withdraw(row.name)
            step = self._step(self._book.journal.slots.get(row.name))
            if step is not None:
                return step
        return None

    def finished(self, slot: str) -> None:
        """The worker is done with a step: arm the probation timers, or tidy up."""
        row = self._book.journal.slots.get(slot)
        if row.phase == "PROBATION":
            self._arm(slot)
            return
        self._watches.pop(slot, None)
        self.withdraw(slot)
        self._slots.collect(needed_bundles(self._book))

    def busy_slots(self) -> list[SlotRow]:
        """Slots with a deployment under way."""
        return [row for row in self._book.journal.slots.all() if row.phase != IDLE]

    def _overtake(self, row: SlotRow, running: Step | None, stop: Callable[[], None]) -> None:
        """A newer wish meets a deployment under way."""
        ours = running if running is not None and running.slot == row.name else None
        if row.phase in PAST_NO_RETURN or (ours is not None and ours.kind != PREPARE):
            self._book.note(row.name, "CANCEL_REJECTED", detail="past the point of no return")
        elif ours is not None:
            stop()
        else:
            self.withdraw(row.name)

    def _step(self, row: SlotRow) -> Step | None:
        if row.phase == "PROBATION":
            return self._probe_step(row.name)
        if row.phase == "ACTIVATING":
            return self._activate_step(row.name)
        wish = wish_of(row.wish)
        if wish is None or wish.release is None or wish.deployment is None:
            return None
        if row.phase == "STAGED":
            return None if wish.hold or self._holds() else self._activate_step(row.name)
        if row.phase == IDLE:
            if wish.deployment == row.deployment:
                return None
            self._begin(row.name, wish.deployment)
        return Step(row.name, PREPARE, lambda: self._preparing.run(row.name))

    def _begin(self, slot: str, deployment: str) -> None:
        self._book.enter(
            slot, "OFFERED", deployment=deployment, attempt=1, rev=0, trial=None, failure=None
        )

    def _activate_step(self, slot: str) -> Step:
        once = self._probation_s == 0
        return Step(slot, ACTIVATE, lambda: self._activating.activate(slot, last=once))

    def _probe_step(self, slot: str) -> Step | None:
        now, watch = self._clock(), self._watches.get(slot)
        if watch is not None and now < min(watch.probe_s, watch.until_s):
            return None
        last = self._probation_s == 0 or (watch is not None and now >= watch.until_s)
        return Step(slot, PROBE, lambda: self._activating.probe(slot, last=last))

    def _arm(self, slot: str) -> None:
        now = self._clock()
        watch = self._watches.setdefault(slot, Watch(now + self._probation_s, now))
        watch.probe_s = now + PROBE_EVERY_S

    def _repeat_end(self, row: SlotRow) -> None:
        """The same deployment again: if it has ended, say so once more."""
        if row.phase == IDLE and row.deployment is not None:
            self._answers.repeat(row.deployment)
