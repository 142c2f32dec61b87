"""What each slot runs, ran before and is moving to: the truth that the links derive from.

Leaves the files and links to `firmware_bridge.slots`, and every decision to the agent.
"""

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from firmware_bridge.store.database import Database
from firmware_bridge.wire.errors import StoreError


@dataclass(frozen=True)
class SlotRow:
    """One slot.

    Attributes:
        name: Slot name, for instance `main`.
        committed: Bundle that is the answer after any power cut, or None for an empty slot.
        previous: Bundle committed before that one.
        phase: IDLE, or the deployment state that was reached.
        target: Bundle being installed; None with a phase past OFFERED empties the slot.
        mode: `forward`, or `back` if the deployment in progress is a way back.
        deployment: Deployment in progress, or the last one.
        attempt: Grows when the device starts the same deployment again.
        rev: Highest revision sent within `attempt`.
        failure: Why the bundle is being rolled back, while it is: the code of the report.
        failure_text: The sentence to it.
        trial: Measurement of the trial as encoded text, for the report.
        time_unverified: The clock could not be trusted when the release was accepted.
        slow_probes: Unthrottled probes in a row that were over the signed limit.
        heartbeat: The application had opted in to heartbeats when the bundle was activated.
        boot_id: Boot in which ACTIVATING began.
        wish_rev: Newest wish taken note of.
        wish: That wish as JSON text, to go on after a restart.
        counter: Highest release counter ever trusted.
        manifest_sha256: Digest of the manifest that carried `counter`.
    """

    name: str
    committed: str | None = None
    previous: str | None = None
    phase: str = "IDLE"
    target: str | None = None
    mode: str = "forward"
    deployment: str | None = None
    attempt: int = 0
    rev: int = 0
    failure: str | None = None
    failure_text: str | None = None
    trial: str | None = None
    time_unverified: bool = False
    slow_probes: int = 0
    heartbeat: bool = False
    boot_id: str | None = None
    wish_rev: int = 0
    wish: str | None = None
    counter: int = 0
    manifest_sha256: str | None = None


class SlotLog:
    """The slots table, one row a slot."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> SlotRow:
        """The slot called `name`; a slot never heard of is empty and idle."""
        rows = self._database.rows("SELECT row FROM slots WHERE name=?", name)
        return _parse(rows[0][0]) if rows else SlotRow(name)

    def all(self) -> list[SlotRow]:
        """Every slot that was ever written, by name."""
        rows = self._database.rows("SELECT row FROM slots ORDER BY name")
        return [_parse(row[0]) for row in rows]

    def update(self, name: str, **changes: Any) -> SlotRow:
        """Change some fields of a slot in one durable step and return the row as it is now."""
        with self._database.transaction():
            row = replace(self.get(name), **changes)
            text = json.dumps(asdict(row), sort_keys=True)
            self._database.rows("INSERT OR REPLACE INTO slots VALUES (?, ?)", name, text)
        return row

    def next_rev(self, name: str) -> SlotRow:
        """Reserve the next message about the deployment of a slot; the row carries its rev."""
        with self._database.transaction():
            return self.update(name, rev=self.get(name).rev + 1)


def _parse(text: object) -> SlotRow:
    """A row as any version of the agent has written it: unknown fields are left out."""
    known = {field.name for field in fields(SlotRow)}
    try:
        found = json.loads(str(text))
        return SlotRow(**{name: value for name, value in found.items() if name in known})
    except (ValueError, TypeError, AttributeError) as error:
        raise StoreError(
            f"expected a slot row in the journal, got {text!r}; "
            "the journal was edited or is of another agent version"
        ) from error
