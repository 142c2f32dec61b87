"""Keeps the audit entries: added inside the transaction of the change they tell of, never changed.

The database itself refuses to change or delete one. Leaves the chain's rules to `audit`.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

from sqlalchemy import bindparam, insert, select

from edgenas.database.address import Where
from edgenas.database.connection import Database
from edgenas.database.schema import AUDIT
from edgenas.fleet.audit import BEFORE_THE_FIRST, AuditEntry
from edgenas.fleet.errors import FleetJournalError

_PAGE = 1000
_COLUMNS = (
    *(AUDIT.c.position, AUDIT.c.wall_ms, AUDIT.c.who, AUDIT.c.action, AUDIT.c.subject),
    *(AUDIT.c.detail, AUDIT.c.previous, AUDIT.c.digest),
)
_LAST = select(AUDIT.c.position, AUDIT.c.digest).order_by(AUDIT.c.position.desc()).limit(1)
_AFTER = (
    select(*_COLUMNS)
    .where(AUDIT.c.position > bindparam("after"))
    .order_by(AUDIT.c.position)
    .limit(_PAGE)
)
_ADD = insert(AUDIT)


@contextmanager
def reading(where: Where) -> Iterator["AuditLog"]:
    """The log of an existing journal, only to read it.

    Raises:
        FleetJournalError: There is none, or it cannot be used.
    """
    with closing(Database(where, "fleet journal", FleetJournalError, write=False)) as database:
        yield AuditLog(database)


class AuditLog:
    """The chain of one fleet."""

    def __init__(self, database: Database, who: str = "") -> None:
        """Prepare.

        Args:
            database: The fleet's database.
            who: Whose actions this process writes down; may be empty to read only.
        """
        self._database = database
        self._who = who

    def add(
        self,
        action: str,
        subject: str,
        wall_ms: int,
        detail: Mapping[str, object] | None = None,
        *,
        by_itself: bool = False,
    ) -> AuditEntry:
        """Write down an action; call it inside the transaction of the change.

        Args:
            action: What was done: two words with a dot between.
            subject: What it was done to.
            wall_ms: When.
            detail: What else there is to know, plain JSON.
            by_itself: The host did it, nobody told it to.
        """
        who = f"host for {self._who}" if by_itself else self._who
        text = json.dumps(dict(detail or {}), sort_keys=True, separators=(",", ":"))
        with self._database.transaction():
            last = self._database.rows(_LAST)
            position, previous = (last[0][0], last[0][1]) if last else (0, BEFORE_THE_FIRST)
            entry = AuditEntry(position + 1, wall_ms, who, action, subject, text, previous)
            row = {name: getattr(entry, name) for name in AuditEntry.__dataclass_fields__}
            row["digest"] = entry.computed()
            self._database.change(_ADD, row)
        return AuditEntry(**row)

    def entries(self, after: int = 0) -> Iterator[AuditEntry]:
        """The entries by position, read a page at a time; those after a position if given."""
        while rows := self._database.rows(_AFTER, {"after": after}):
            for row in rows:
                yield AuditEntry(*row)
            after = rows[-1][0]
