"""Where the tests keep a database: a SQLite file, or the PostgreSQL server that a variable names.

`make test-postgres` sets EDGENAS_TEST_POSTGRES; each place is then a schema of its own. Leaves what
is kept there to the tests.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, create_engine, make_url
from sqlalchemy.pool import NullPool

from edgenas.database.address import Address, Where

POSTGRES = os.environ.get("EDGENAS_TEST_POSTGRES")


def place(path: Path) -> Where:
    """The database that takes the place of `path`: the same one for the same path."""
    if POSTGRES is None:
        return path
    name = "t" + hashlib.sha256(str(path).encode()).hexdigest()[:16]
    with _connected(Address.parse(POSTGRES).url) as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {name}")
    joint = "&" if "?" in POSTGRES else "?"
    return f"{POSTGRES}{joint}options=-csearch_path%3D{name}"


@contextmanager
def raw(where: Where) -> Iterator[Connection]:
    """The bare database, to look at or to damage; every statement is durable at once."""
    address = Address.parse(where)
    with _connected(f"sqlite:///{address.file}" if address.file else address.url) as connection:
        yield connection


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = create_engine(make_url(url), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        yield connection
