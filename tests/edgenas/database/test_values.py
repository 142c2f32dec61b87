"""Values that one kind of database takes and another does not are refused alike by both."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from edgenas.database.connection import Database
from edgenas.database.errors import UnfitValueError
from edgenas.database.schema import DEVICES
from edgenas.fleet.errors import FleetJournalError
from tests.databases import place


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(place(tmp_path / "x.sqlite"), "thing", FleetJournalError)) as opened:
        yield opened


@pytest.mark.parametrize("row", [("a\0b", 1), ("b", 2**63), ("c", -(2**63) - 1), ("d", 10**400)])
def test_what_no_database_takes_undoes_nothing(database: Database, row: tuple[str, int]) -> None:
    good = [{"device_id": name, "wall_ms": at_ms} for name, at_ms in (("x", 2**63 - 1), ("é", 0))]
    with database.transaction():
        database.change(insert(DEVICES), good[0])
        with pytest.raises(UnfitValueError, match="expected"):
            database.change(insert(DEVICES), [{"device_id": row[0], "wall_ms": row[1]}])
        database.change(insert(DEVICES), good[1])
    found = {name for (name,) in database.rows(select(DEVICES.c.device_id))}
    assert found == {"x", "é"}
