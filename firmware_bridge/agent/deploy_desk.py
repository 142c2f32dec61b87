"""Takes wishes in and decides which step of which deployment the worker does next.

Everything here runs on the main loop and returns at once. Wishes of a slot are ordered by `rev`;
before ACTIVATING the newest always wins, after it the device finishes first, but for a signed way
back, which ends a probation at once. Leaves the steps to `preparing` and `activating`.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from firmware_bridge.agent.acceptance import claims_back
from firmware_bridge.agent.activating import Activating
from firmware_bridge.agent.answers import Answers
from firmware_bridge.agent.book import IDLE, DeploymentBook, Ending
from firmware_bridge.agent.life_signs import SILENCE_S, LifeSigns
from firmware_bridge.agent.preparing import Preparing, wish_of
from firmware_bridge.agent.recovery import PAST_NO_RETURN, needed_bundles
from firmware_bridge.agent.worker import Cancelled
from firmware_bridge.slots import CURRENT, Slots
from firmware_bridge.store.slot_log import SlotRow
from firmware_bridge.wire.codec import encode
from firmware_bridge.wire.messages import ErrorNote, Hold, Wish

MAX_SLOTS = 4
PROBE_EVERY_S = 60.0
TELL_EVERY_S = 60.0  # the host gives a deployment up that is silent for five minutes
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # after a step that failed, for instance a full disk

_log = logging.getLogger(__name__)


PREPARE = "prepare"
ACTIVATE = "activate"
PROBE = "probe"
STRIKE = "strike"
BACK = "back"
ROLL_BACK = "roll back"


@dataclass(frozen=True)
class Step:
    """One thing for the worker: PREPARE, ACTIVATE, PROBE, ... of a slot, and how to do it."""

    slot: str
    kind: str
    run: Callable[[], None]


@dataclass
class Watch:
    """Timers of one probation, in monotonic seconds: its end, its next probe, its last silence."""

    until_s: float
    probe_s: float
    silent_s: float


@dataclass
class Pause:
    """How long a slot rests after a step that failed; twice as long after each one in a row."""

    until_s: float = 0.0
    length_s: float = 0.0

    def lengthen(self, now_s: float) -> None:
        self.length_s = min(max(2 * self.length_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        self.until_s = now_s + self.length_s


@dataclass
class Memory:
    """What the desk may forget over a restart, by slot."""

    watches: dict[str, Watch] = field(default_factory=dict)
    pauses: dict[str, Pause] = field(default_factory=dict)
    no_way_back: dict[str, int] = field(default_factory=dict)  # rev of a wish that was none


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
        signs: LifeSigns,
        probation_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wire the desk up.

        Args:
            book: Journal and reports.
            answers: Outbox, to repeat an end.
            slots: Bundles and links.
            preparing: Steps before ACTIVATING.
            activating: Steps from there.
            holds: Update locks in force.
            signs: Signs of life of applications.
            probation_s: Seconds that a new bundle is watched; 0 is a single probe.
            clock: Monotonic seconds.
        """
        self._book = book
        self._answers = answers
        self._slots = slots
        self._preparing = preparing
        self._activating = activating
        self._holds = holds
        self._signs = signs
        self._probation_s = probation_s
        self._clock = clock
        self._memory = Memory()
        self._running: Step | None = None
        self._next_chore_s = 0.0

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
        same = wish.deployment == row.deployment and wish.release is not None
        text = _held_otherwise(row, wish) if same else payload.decode()
        row = self._book.journal.slots.update(slot, wish_rev=wish.rev, wish=text)
        if same:
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
            pause = self._memory.pauses.get(row.name)
            if pause is not None and self._clock() < pause.until_s:
                continue
            step = self._step(self._book.journal.slots.get(row.name))
            if step is not None:
                self._running = replace(step, run=partial(self._run, step))
                self._next_chore_s = self._clock() + TELL_EVERY_S
                return self._running
        return None

    def finished(self, slot: str) -> None:
        """The worker is done with a step: arm the probation timers, or tidy up."""
        done, self._running = self._running, None
        row = self._book.journal.slots.get(slot)
        if row.phase == "PROBATION":
            if done is not None and done.kind in (ACTIVATE, PROBE):
                self._arm(slot)
            return
        self._memory.watches.pop(slot, None)
        self.withdraw(slot)
        self._slots.collect(needed_bundles(self._book))

    def tick(self) -> None:
        """Once a minute: tell the host that a long step is still under way, or mend links.

        Raises:
            OSError: A link is wrong and cannot be mended now.
        """
        now_s = self._clock()
        if now_s < self._next_chore_s:
            return
        self._next_chore_s = now_s + TELL_EVERY_S
        if self._running is not None:
            if self._book.journal.slots.get(self._running.slot).phase == "VERIFYING":
                self._book.note(self._running.slot, "VERIFYING", detail="still at it")
            return
        for row in self._book.journal.slots.all():
            if row.phase == IDLE and self._slots.pointed(row.name, CURRENT) != row.committed:
                _log.warning("slot %s: its link was wrong; it is made anew", row.name)
                self._slots.relink(row.name, row.committed, row.previous)

    def busy_slots(self) -> list[SlotRow]:
        """Slots with a deployment under way."""
        return [row for row in self._book.journal.slots.all() if row.phase != IDLE]

    def _overtake(self, row: SlotRow, running: Step | None, stop: Callable[[], None]) -> None:
        """A newer wish meets a deployment under way."""
        ours = running if running is not None and running.slot == row.name else None
        if row.phase in ("ACTIVATING", "PROBATION") and self._may_go_back(row):
            if ours is not None and ours.kind == PROBE:
                stop()
        elif row.phase in PAST_NO_RETURN or (ours is not None and ours.kind != PREPARE):
            self._book.note(row.name, "CANCEL_REJECTED", detail="past the point of no return")
        elif ours is not None:
            stop()
        else:
            self.withdraw(row.name)

    def _step(self, row: SlotRow) -> Step | None:
        if row.phase == "PROBATION":
            return self._back_step(row) or self._strike_step(row) or self._probe_step(row.name)
        if row.phase == "ACTIVATING":
            return self._activate_step(row.name)
        if row.phase == "ROLLING_BACK":
            finish = self._activating.finish_roll_back
            return Step(row.name, ROLL_BACK, lambda: finish(row.name))
        wish = wish_of(row.wish)
        if wish is None or wish.release is None or wish.deployment is None:
            return None
        if row.phase == "STAGED":
            return None if wish.hold or self._holds() else self._activate_step(row.name)
        if row.phase == IDLE:
            if wish.deployment == row.deployment or self._ended_before(row.name, wish.deployment):
                return None
            self._begin(row.name, wish.deployment)
        return Step(row.name, PREPARE, lambda: self._preparing.run(row.name))

    def _begin(self, slot: str, deployment: str) -> None:
        self._book.enter(
            slot, "OFFERED", deployment=deployment, attempt=1, rev=0, trial=None, failure=None
        )

    def _ended_before(self, slot: str, deployment: str) -> bool:
        """A deployment that has had its end is never begun again: its report is repeated."""
        if not self._answers.repeat(deployment):
            return False
        self._book.journal.slots.update(slot, deployment=deployment)
        return True

    def _run(self, step: Step) -> None:
        """On the worker: do a step; one that fails makes its slot rest a while."""
        pauses = self._memory.pauses
        try:
            step.run()
        except Cancelled:
            raise
        except Exception:
            pauses.setdefault(step.slot, Pause()).lengthen(self._clock())
            raise
        pauses.pop(step.slot, None)

    def _may_go_back(self, row: SlotRow) -> bool:
        """Whether the newest wish calls itself a way back; what it is worth is judged later."""
        wish = wish_of(row.wish)
        if wish is None or wish.release is None or wish.deployment == row.deployment:
            return False
        return self._memory.no_way_back.get(row.name) != wish.rev and claims_back(wish.release)

    def _back_step(self, row: SlotRow) -> Step | None:
        if not self._may_go_back(row):
            return None

        def go_back() -> None:
            if not self._activating.go_back(row.name):
                self._memory.no_way_back[row.name] = row.wish_rev
                text = "past the point of no return, and this is no way back from it"
                self._book.note(row.name, "CANCEL_REJECTED", detail=text)

        return Step(row.name, BACK, go_back)

    def _strike_step(self, row: SlotRow) -> Step | None:
        """A step for an application that should be heard and is not; each silence counts once."""
        watch, now_s = self._memory.watches.get(row.name), self._clock()
        if watch is None:
            return None
        since_s = self._signs.silent_since_s(row.name, row.heartbeat, watch.silent_s)
        if since_s is None or now_s - since_s <= SILENCE_S:
            return None
        watch.silent_s = now_s
        text = f"expected a heartbeat of the application every {SILENCE_S:g} s, got none"
        return Step(row.name, STRIKE, lambda: self._activating.strike(row.name, text))

    def _activate_step(self, slot: str) -> Step:
        once, beats = self._probation_s == 0, self._signs.opted_in(slot, self._clock())
        work = self._activating.activate
        return Step(slot, ACTIVATE, lambda: work(slot, last=once, heartbeat=beats))

    def _probe_step(self, slot: str) -> Step | None:
        now, watch = self._clock(), self._memory.watches.get(slot)
        if watch is not None and now < min(watch.probe_s, watch.until_s):
            return None
        last = self._probation_s == 0 or (watch is not None and now >= watch.until_s)
        return Step(slot, PROBE, lambda: self._activating.probe(slot, last=last))

    def _arm(self, slot: str) -> None:
        now = self._clock()
        watch = self._memory.watches.setdefault(slot, Watch(now + self._probation_s, now, now))
        watch.probe_s = now + min(PROBE_EVERY_S, self._probation_s)

    def _repeat_end(self, row: SlotRow) -> None:
        """The same deployment again: if it has ended, say so once more."""
        if row.phase == IDLE and row.deployment is not None:
            self._answers.repeat(row.deployment)


def _held_otherwise(row: SlotRow, wish: Wish) -> str:
    """The wish known already with the hold of a newer one: nothing else of it may change."""
    known = wish_of(row.wish)
    if known is not None and known.deployment == wish.deployment and known.release is not None:
        wish = replace(wish, release=known.release)
    return encode(wish).decode()
