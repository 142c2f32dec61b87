"""What kind of database this is, and making it one of the newest revision.

A new one gets its tables at once, an older one of ours is migrated, one of the hand-written form
before revisions is converted, and anything else is refused unchanged. All of it happens in one
transaction. Leaves the steps between revisions to `migrations`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Connection, inspect

from edgenas.database.migrate import convert, upgrade
from edgenas.database.schema import METADATA, REVISION

VERSION_TABLE = "edgenas_version"
_FLEET_VERSIONS = (1, 2)
_STUDY_ID = 0x656E7331  # "ens1": the application id of a study from before revisions
_STUDY_VERSION = 1

Transaction = Callable[[], AbstractContextManager[None]]


class FormError(Exception):
    """This is no database of ours, or a newer one; the text says what to do."""


class Kind(Enum):
    """What was found."""

    EMPTY = "empty"
    OURS = "ours"
    OLD_FLEET = "old fleet"
    OLD_STUDY = "old study"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Found:
    """What a database says of itself.

    Attributes:
        tables: Names of its tables.
        revision: The revision it was written by, None if it names none.
        application: SQLite's application id, 0 elsewhere.
        version: SQLite's user version, 0 elsewhere.
    """

    tables: frozenset[str]
    revision: str | None = None
    application: int = 0
    version: int = 0


def kind_of(found: Found) -> Kind:
    """Tell what this is.

    Raises:
        FormError: It is of the old form, but of a version that nothing here can read.
    """
    if found.revision is not None:
        return Kind.OURS
    if found.application == _STUDY_ID:
        _check_version(found.version, (_STUDY_VERSION,))
        return Kind.OLD_STUDY
    if {"identity", "sightings", "jobs"} <= found.tables:
        _check_version(found.version, _FLEET_VERSIONS)
        return Kind.OLD_FLEET
    return Kind.FOREIGN if found.tables else Kind.EMPTY


def _check_version(version: int, known: tuple[int, ...]) -> None:
    if version not in known:
        raise FormError(
            f"one of version {version} where only {' and '.join(map(str, known))} can be renewed; "
            "use the edgenas version that wrote it, or another file"
        )


def look(connection: Connection) -> Found:
    """Read what a database says of itself; changes nothing."""
    is_file = connection.dialect.name == "sqlite"
    tables = frozenset(inspect(connection).get_table_names())
    revision = None
    if VERSION_TABLE in tables:
        query = f"SELECT version_num FROM {VERSION_TABLE}"
        revision = connection.exec_driver_sql(query).scalar()
    if not is_file:
        return Found(tables, revision)
    numbers = [
        int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
        for name in ("application_id", "user_version")
    ]
    return Found(tables, revision, *numbers)


def prepare(connection: Connection, transaction: Transaction) -> None:
    """Make the database one of the newest revision, whatever it is; harmless if it is one.

    Raises:
        FormError: It is not ours, or newer.
    """
    if _is_current(look(connection)):
        return
    if connection.dialect.name == "sqlite":
        _use_write_ahead_log(connection)
    with transaction():
        found = look(connection)  # another process may have been quicker
        if not _is_current(found):
            _renew(connection, kind_of(found))


def require(connection: Connection, transaction: Transaction) -> None:
    """See that there is a database of ours; one of an older form is renewed even for reading.

    Raises:
        FormError: There is none, or it is not ours, or newer.
    """
    found = look(connection)
    if not _is_current(found):
        if kind_of(found) is Kind.EMPTY:
            raise FormError("an empty database; name the one to read")
        prepare(connection, transaction)


def _use_write_ahead_log(connection: Connection) -> None:
    # Said again where it is so already, it would wait for everybody else to be done.
    if connection.exec_driver_sql("PRAGMA journal_mode").scalar() != "wal":
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def _is_current(found: Found) -> bool:
    """Whether there is nothing to do.

    Raises:
        FormError: It is not ours, or of a newer revision; nothing may be changed.
    """
    kind = kind_of(found)
    if kind is Kind.FOREIGN:
        raise FormError(f"another database with tables {_some(found.tables)}; name another one")
    if kind is Kind.OURS and str(found.revision) > REVISION:
        raise FormError(
            f"one of revision {found.revision} where this edgenas knows up to {REVISION}; "
            "use the edgenas version that wrote it"
        )
    return found.revision == REVISION


def _some(tables: frozenset[str]) -> str:
    return ", ".join(sorted(tables)[:3])


def _renew(connection: Connection, kind: Kind) -> None:
    if kind is Kind.EMPTY:
        METADATA.create_all(connection)
        connection.exec_driver_sql(
            f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
        )
        connection.exec_driver_sql(f"INSERT INTO {VERSION_TABLE} VALUES ('{REVISION}')")
    elif kind is Kind.OURS:
        upgrade(connection, VERSION_TABLE, "head")
    else:
        convert(connection, VERSION_TABLE, fleet=kind is Kind.OLD_FLEET)
