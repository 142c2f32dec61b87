"""One connection to the host's database: transactions, statements, and errors in our own words.

A change is durable when the call that made it returns, or with the transaction around it. Several
processes may be connected to one database; several threads may share one connection, one
transaction at a time. Leaves the tables to `schema` and their age to `form`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from sqlalchemy import URL, Engine, Executable, create_engine, make_url, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.schema import Table

from edgenas.database.address import Address, Where
from edgenas.database.errors import UnfitValueError
from edgenas.database.form import FormError, prepare, require
from edgenas.errors import EdgenasError

LOCK_WAIT_S = 10
Values = Mapping[str, Any]
Line = tuple[Any, ...]
Fault = Callable[[str], EdgenasError]


def add_once(table: Table) -> Insert:
    """An insert that adds nothing where a row of the same key is, on either kind of database."""
    return postgresql.insert(table).on_conflict_do_nothing()


class Database:
    """Connected from the start until `close`.

    Attributes:
        address: Where it is.
        is_file: Whether this is SQLite.
    """

    def __init__(self, where: Where, what: str, fault: Fault, *, write: bool = True) -> None:
        """Connect; make the tables, or renew those of an older version.

        Args:
            where: A file or a URL.
            what: What the caller keeps in it, for messages: "fleet journal".
            fault: Makes the error that the caller's callers expect from its text.
            write: Whether it may be created and changed; without, it must exist.

        Raises:
            EdgenasError: What `fault` made: it cannot be reached, is of another kind or newer.
        """
        self.address = Address.parse(where)
        self.is_file = self.address.file is not None
        self._what = what
        self._fault = fault
        self._lock = threading.RLock()
        self._depth = 0
        if self.address.file is not None:
            self._check_file(write)
        try:
            self._engine = _engine(self.address)
            self._connection = self._engine.connect()
        except (SQLAlchemyError, ModuleNotFoundError, OSError) as error:
            raise self._unusable(error) from error
        try:
            self._open(write)
        except BaseException:
            self.close()
            raise

    def _check_file(self, write: bool) -> None:
        path = self.address.file
        assert path is not None
        if not write and not path.is_file():
            raise self._fault(f"expected a {self._what}, got no such file; name the one to read")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error

    def _open(self, write: bool) -> None:
        try:
            if write:
                prepare(self._connection, self.transaction)
            else:
                require(self._connection, self.transaction)
            for setting in _settings(self.is_file, write):
                self._connection.exec_driver_sql(setting)
        except FormError as error:
            raise self._fault(f"expected a {self._what}, got {error}") from error
        except (SQLAlchemyError, OSError) as error:
            raise self._unusable(error) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Group changes: all of them become durable on leaving, or none on an exception.

        Only one process at a time is inside of one, so what was read there still holds when it is
        changed. A transaction inside a transaction becomes part of it.

        Raises:
            EdgenasError: The database could not begin or commit.
        """
        with self._lock:
            outermost = self._depth == 0
            if outermost:
                self._say("BEGIN IMMEDIATE" if self.is_file else "BEGIN")
            self._depth += 1
            try:
                if outermost and not self.is_file:
                    self.rows(_WAIT)
                yield
                if outermost:
                    self._say("COMMIT")
            except BaseException:
                if outermost:
                    self._roll_back()
                raise
            finally:
                self._depth -= 1

    def rows(self, statement: Executable, values: Values | None = None) -> Sequence[Line]:
        """Run one statement and return all of its rows.

        Raises:
            EdgenasError: The database refused.
            UnfitValueError: A value is none for a database.
        """
        _check_fit(values)
        with self._lock:
            try:
                found = self._connection.execute(statement, values)
                return cast("Sequence[Line]", found.all())
            except SQLAlchemyError as error:
                raise self._refused(error) from error

    def change(self, statement: Executable, values: Values | Sequence[Values]) -> int:
        """Run a change, for one row or many; returns how many rows it made or changed.

        Raises:
            EdgenasError: The database refused, for instance because the disk is full.
            UnfitValueError: A value is none for a database; a transaction around it goes on.
        """
        _check_fit(values)
        with self._lock:
            try:
                return self._connection.execute(statement, values).rowcount
            except SQLAlchemyError as error:
                raise self._refused(error) from error

    def close(self) -> None:
        """Disconnect; the object is not usable afterwards. May be repeated."""
        with self._lock:
            self._connection.close()
            self._engine.dispose()

    def _say(self, word: str) -> None:
        try:
            self._connection.exec_driver_sql(word)
        except SQLAlchemyError as error:
            raise self._refused(error) from error

    def _roll_back(self) -> None:
        try:
            self._connection.exec_driver_sql("ROLLBACK")
        except SQLAlchemyError:
            # Nothing to go back from any more: the connection is gone, or the commit failed.
            return

    def _unusable(self, error: Exception) -> EdgenasError:
        return self._fault(
            f"expected a {self._what} at {self.address} that can be used, got {_reason(error)}; "
            "see that it can be reached, has free disk space and is not locked by another program, "
            "or name another one"
        )

    def _refused(self, error: Exception) -> EdgenasError:
        return self._fault(
            f"expected the {self._what} at {self.address} to take a change, got {_reason(error)}; "
            "free disk space or end the process that holds it, then start again: it goes on from "
            "what is recorded"
        )


# SQLite has one writer at a time; PostgreSQL is told to have one as well. So no two processes can
# each wait for what the other has locked, and both kinds of database behave alike.
_WAIT = text("SELECT pg_advisory_xact_lock(7022, hashtext(current_schema()))")


def _engine(address: Address) -> Engine:
    """An engine whose every statement is its own transaction until `BEGIN` is said."""
    if address.file is not None:
        url: URL = URL.create("sqlite", database=str(address.file))
        given: dict[str, Any] = {"timeout": LOCK_WAIT_S, "check_same_thread": False}
    else:
        url, given = make_url(address.url), {"connect_timeout": LOCK_WAIT_S}
    try:
        return create_engine(
            url,
            isolation_level="AUTOCOMMIT",
            poolclass=NullPool,
            connect_args=given,
            execution_options={"preserve_rowcount": True},  # of inserts too; see `change`
        )
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise ModuleNotFoundError(
            f'{error}: install the driver with pip install "edgenas[postgres]"'
        ) from error


def _settings(is_file: bool, write: bool) -> list[str]:
    if is_file:
        durable = ["PRAGMA synchronous=FULL"]
        return durable if write else ["PRAGMA query_only=ON"]
    durable = ["SET synchronous_commit = on", f"SET lock_timeout = '{LOCK_WAIT_S}s'"]
    return durable if write else ["SET default_transaction_read_only = on"]


def _check_fit(values: Values | Sequence[Values] | None) -> None:
    """Refuse what one kind of database takes and another does not, before either sees it.

    PostgreSQL takes no NUL in a text and gives the whole transaction up; SQLite takes it.
    """
    rows = (values,) if isinstance(values, Mapping) else values or ()
    for row in rows:
        for name, value in row.items():
            if isinstance(value, str) and "\0" in value:
                raise UnfitValueError(f"expected {name} without NUL, got {value[:40]!r}; change it")
            if isinstance(value, int) and value.bit_length() > 63:
                raise UnfitValueError(f"expected {name} of 63 bits, got {value.bit_length()}")


def _reason(error: Exception) -> str:
    """What the database itself said, without the statement and its values."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return str(error.orig).strip()
    return str(error)


__all__ = ["Database", "Line", "add_once"]
