"""Keeps the book of deployments: every step durable first, then told to the host.

Used from the worker and the main loop. Leaves what the next step is to `preparing`, `activating`
and the desk.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from firmware_bridge.agent.answers import Answers
from firmware_bridge.agent.post import Post
from firmware_bridge.store.journal import Journal
from firmware_bridge.store.outbox import Answer
from firmware_bridge.store.slot_log import SlotRow
from firmware_bridge.wire.codec import decode, encode
from firmware_bridge.wire.errors import OverCapError
from firmware_bridge.wire.messages import (
    DeployOutcome,
    DeployReport,
    ErrorNote,
    Event,
    EventState,
    Measurement,
)

IDLE = "IDLE"
_TIME_UNVERIFIED = ErrorNote(
    "time_unverified", "the clock is not synchronised; the expiry was not checked"
)
_CLOSED = {
    "phase": IDLE,
    "target": None,
    "mode": "forward",
    "failure": None,
    "failure_text": None,
    "slow_probes": 0,
    "heartbeat": False,
    "boot_id": None,
}
_GOOD = ("SUCCEEDED", "CANCELLED", "SUPERSEDED")

_log = logging.getLogger(__name__)

ERRORS_CAP = 8
TEXT_CAP = 1000


@dataclass(frozen=True)
class Ending:
    """How a deployment ended, before attempt, revision and slot contents are filled in."""

    outcome: DeployOutcome
    code: str | None = None
    errors: tuple[ErrorNote, ...] = ()
    retryable: bool = False


class DeploymentBook:
    """Rows of the slots table and the messages about them."""

    def __init__(
        self, journal: Journal, answers: Answers, post: Post, log_tail: Callable[[], str] = str
    ) -> None:
        """Wire the book up.

        Args:
            journal: Where it is kept.
            answers: The outbox, for reports.
            post: Publishes events.
            log_tail: The end of the log, for the report of a failure.
        """
        self.journal = journal
        self._answers = answers
        self._post = post
        self._log_tail = log_tail

    def enter(
        self,
        slot: str,
        phase: EventState,
        *,
        beside: Callable[[SlotRow], object] | None = None,
        **changes: Any,
    ) -> SlotRow:
        """Reach a state: durable together with `changes` and what `beside` writes, then an event.

        Args:
            slot: Which slot.
            phase: The state that is reached.
            beside: Writes more into the journal, in the same transaction.
            **changes: Fields of the row that change with it.
        """
        with self.journal.transaction():
            self.journal.slots.update(slot, phase=phase, **changes)
            row = self.journal.slots.next_rev(slot)
            if beside is not None:
                beside(row)
        _log.info("slot %s, deployment %s: %s", slot, row.deployment, phase)
        self._say(row, phase)
        return row

    def note(
        self,
        slot: str,
        state: EventState,
        *,
        bytes_done: int | None = None,
        detail: str | None = None,
    ) -> None:
        """Tell the host something that changes no state."""
        self._say(self.journal.slots.next_rev(slot), state, bytes_done, detail)

    def keep_trial(self, slot: str, trial: Measurement) -> None:
        """Remember what the trial measured until the report."""
        self.journal.slots.update(slot, trial=encode(trial).decode())

    def end(
        self,
        slot: str,
        ending: Ending,
        *,
        beside: Callable[[], object] | None = None,
        settle: Callable[[SlotRow], object] | None = None,
        **changes: Any,
    ) -> None:
        """Close the deployment of a slot: the row and the report in one transaction.

        Args:
            slot: Which slot.
            ending: What to report.
            beside: Writes more into the journal, in the same transaction.
            settle: What follows from the row and must be done before the host hears of it.
            **changes: Fields of the row that change with the end.
        """
        with self.journal.transaction():
            self.journal.slots.update(slot, **{**_CLOSED, **changes})
            row = self.journal.slots.next_rev(slot)
            if beside is not None:
                beside()
            _log_ending(row, ending)
            answer = self._keep(row, ending)
            self.journal.slots.update(slot, trial=None, time_unverified=False)
        if settle is not None:
            settle(row)
        if answer is not None:
            self._answers.send(answer)

    def _keep(self, row: SlotRow, ending: Ending) -> Answer | None:
        if row.deployment is None:
            return None
        report = DeployReport(
            attempt=row.attempt,
            rev=row.rev,
            outcome=ending.outcome,
            code=ending.code,
            retryable=ending.retryable,
            active=row.committed,
            previous=row.previous,
            counter=row.counter,
            trial=_trial(row),
            errors=_notes(row, ending),
            log_tail=None if ending.outcome in _GOOD else self._log_tail() or None,
        )
        short = replace(report, log_tail=None)
        for fitting in (report, short):
            try:
                return self._answers.keep(row.deployment, fitting)
            except OverCapError:
                continue
        return self._answers.keep(row.deployment, replace(short, trial=None))

    def _say(
        self,
        row: SlotRow,
        state: EventState,
        bytes_done: int | None = None,
        detail: str | None = None,
    ) -> None:
        if row.deployment is not None:
            self._post.event(
                row.deployment,
                Event(
                    attempt=row.attempt,
                    rev=row.rev,
                    state=state,
                    bytes_done=bytes_done,
                    detail=detail,
                ),
            )


def _log_ending(row: SlotRow, ending: Ending) -> None:
    level = logging.INFO if ending.outcome in _GOOD else logging.WARNING
    said = "; ".join(f"{note.code}: {note.text}" for note in ending.errors)
    _log.log(level, "slot %s, deployment %s: %s %s", row.name, row.deployment, ending.outcome, said)


def _notes(row: SlotRow, ending: Ending) -> tuple[ErrorNote, ...]:
    doubt = (_TIME_UNVERIFIED,) if row.time_unverified else ()
    notes = (*ending.errors[: ERRORS_CAP - len(doubt)], *doubt)
    return tuple(ErrorNote(note.code, note.text[:TEXT_CAP]) for note in notes)


def _trial(row: SlotRow) -> Measurement | None:
    message = decode(row.trial.encode()).message if row.trial else None
    return message if isinstance(message, Measurement) else None
