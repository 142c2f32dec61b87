"""Rollouts as they were planned, and everything that has happened to each of them, in order.

An event has a position, 1, 2, 3, ... of its rollout: whoever adds the next one first has decided,
anybody else is told that it was too late. What people should be able to account for goes into the
audit log in the same transaction. Leaves the meaning of plans and events to `edgenas.rollout`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict, dataclass

from sqlalchemy import BindParameter, bindparam, func, insert, select

from edgenas.database.address import Address, Where
from edgenas.database.connection import Database, add_once
from edgenas.database.schema import ROLLOUT_EVENTS, ROLLOUTS
from edgenas.fleet.audit_log import AuditLog
from edgenas.fleet.errors import FleetJournalError


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """One rollout; `plan` is JSON that never changes."""

    rollout_id: str
    slot: str
    plan: str


@dataclass(frozen=True, slots=True)
class EventRow:
    """One thing that happened to a rollout; `body` is JSON.

    Attributes:
        position: 1, 2, 3, ... without a gap in each rollout.
        at_ms: When, by the rollout's own clock.
        kind: What kind of thing.
        body: What else there is to know of it.
    """

    position: int
    at_ms: int
    kind: str
    body: str


@dataclass(frozen=True, slots=True)
class Account:
    """What the audit log has to say of a change.

    Attributes:
        action: What was done: two words with a dot between.
        detail: Plain JSON.
        by_itself: The host decided it, nobody told it to.
    """

    action: str
    detail: Mapping[str, object]
    by_itself: bool


_EVENT = (
    *(ROLLOUT_EVENTS.c.position, ROLLOUT_EVENTS.c.at_ms, ROLLOUT_EVENTS.c.kind),
    ROLLOUT_EVENTS.c.body,
)
_NAMED: BindParameter[str] = bindparam("rollout_id")
_ADD = add_once(ROLLOUTS)
_ADD_EVENT = insert(ROLLOUT_EVENTS)
_IDS = select(ROLLOUTS.c.rollout_id).order_by(ROLLOUTS.c.position)
_PLAN = select(ROLLOUTS.c.plan).where(ROLLOUTS.c.rollout_id == _NAMED)
_NEWEST = select(func.coalesce(func.max(ROLLOUT_EVENTS.c.position), 0)).where(
    ROLLOUT_EVENTS.c.rollout_id == _NAMED
)
_EVENTS = (
    select(*_EVENT)
    .where(ROLLOUT_EVENTS.c.rollout_id == _NAMED, ROLLOUT_EVENTS.c.position > bindparam("after"))
    .order_by(ROLLOUT_EVENTS.c.position)
)


@contextmanager
def opened(where: Where, who: str = "") -> Iterator["RolloutLog"]:
    """The rollouts of a journal that exists, beside the process that carries them out.

    Args:
        where: The journal.
        who: Whose words are written down; empty to read only.

    Raises:
        FleetJournalError: There is none, or it cannot be used.
    """
    file = Address.parse(where).file
    if file is not None and not file.is_file():
        raise FleetJournalError(
            f"expected the journal of a fleet at {file}, got no such file; name the run folder or "
            "the --database of a rollout that was made by `edgenas rollout plan`"
        )
    database = Database(where, "fleet journal", FleetJournalError, write=bool(who))
    with closing(database):
        yield RolloutLog(database, AuditLog(database, who))


class RolloutLog:
    """Rows are only added."""

    def __init__(self, database: Database, audit: AuditLog) -> None:
        self._database = database
        self._audit = audit

    def transaction(self) -> AbstractContextManager[None]:
        """Look at several rollouts and add to them, all or none; nobody else adds meanwhile."""
        return self._database.transaction()

    def add(self, rollout: RolloutRow, account: Account, wall_ms: int) -> bool:
        """Remember a plan; False if a rollout of that id is there already."""
        with self._database.transaction():
            if self._database.change(_ADD, {**asdict(rollout), "wall_ms": wall_ms}) == 0:
                return False
            self._note(rollout.rollout_id, account, wall_ms)
        return True

    def ids(self) -> list[str]:
        """Every rollout, oldest first."""
        return [str(row[0]) for row in self._database.rows(_IDS)]

    def plan(self, rollout_id: str) -> str | None:
        """The plan of a rollout, or None."""
        rows = self._database.rows(_PLAN, {"rollout_id": rollout_id})
        return str(rows[0][0]) if rows else None

    def events(self, rollout_id: str, after: int = 0) -> list[EventRow]:
        """What has happened to a rollout beyond a position, oldest first."""
        rows = self._database.rows(_EVENTS, {"rollout_id": rollout_id, "after": after})
        return [EventRow(*row) for row in rows]

    def append(
        self,
        rollout_id: str,
        events: Sequence[EventRow],
        accounts: Sequence[Account],
        wall_ms: int,
    ) -> bool:
        """Add events and what the audit log has to say of them: all, or none.

        Args:
            rollout_id: The rollout.
            events: One or more, their positions following one another.
            accounts: What of it people should be able to account for.
            wall_ms: The date.

        Returns:
            False if the first is not the one after the newest: another process was quicker.
        """
        with self._database.transaction():
            newest = int(self._database.rows(_NEWEST, {"rollout_id": rollout_id})[0][0])
            if events[0].position != newest + 1:
                return False
            told = {"rollout_id": rollout_id, "wall_ms": wall_ms}
            self._database.change(_ADD_EVENT, [{**asdict(event), **told} for event in events])
            for account in accounts:
                self._note(rollout_id, account, wall_ms)
        return True

    def _note(self, rollout_id: str, account: Account, wall_ms: int) -> None:
        action, detail = account.action, account.detail
        self._audit.add(action, rollout_id, wall_ms, detail, by_itself=account.by_itself)
