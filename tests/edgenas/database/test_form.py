"""What becomes of a database when it is opened: made, renewed, converted, or refused unchanged."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from edgenas.database.address import Where
from edgenas.database.connection import Database
from edgenas.database.form import VERSION_TABLE, FormError, Found, Kind, kind_of
from edgenas.database.migrate import upgrade
from edgenas.database.schema import REVISION
from edgenas.fleet.errors import FleetJournalError
from edgenas.fleet.journal import FleetJournal
from edgenas.search.budget import Budget
from edgenas.search.records import arch_text, budget_text, result_text
from edgenas.search.study import Study
from edgenas.search.trial import Failure
from tests.databases import POSTGRES, place, raw
from tests.edgenas.database.old_files import ID, write_fleet, write_study
from tests.edgenas.search.analytic import DIGITS
from tests.edgenas.search.study_cases import IDENTITY

MIGRATIONS = Path(__file__).parents[3] / "edgenas/database/migrations"


def opened(where: Where) -> Database:
    return Database(where, "thing", FleetJournalError)


def shape(where: Where) -> dict[str, object]:
    """Everything that a database is made of, as far as both kinds can tell it."""
    with raw(where) as connection:
        look = inspect(connection)
        tables = [name for name in look.get_table_names() if name != VERSION_TABLE]
        found: dict[str, object] = {
            name: (
                [(c["name"], str(c["type"]), c["nullable"]) for c in look.get_columns(name)],
                look.get_pk_constraint(name),
                sorted(look.get_unique_constraints(name), key=str),
                sorted(look.get_indexes(name), key=str),
            )
            for name in tables
        }
        found["views"] = look.get_view_names()
        query = (
            "SELECT name FROM sqlite_master WHERE type='trigger' ORDER BY name"
            if connection.dialect.name == "sqlite"
            else "SELECT DISTINCT trigger_name FROM information_schema.triggers"
            " WHERE trigger_schema=current_schema() ORDER BY 1"
        )
        found["triggers"] = [row[0] for row in connection.exec_driver_sql(query)]
    return found


def test_migrations_lead_to_the_very_schema_that_a_new_database_gets(tmp_path: Path) -> None:
    new, migrated = place(tmp_path / "new.sqlite"), place(tmp_path / "migrated.sqlite")
    opened(new).close()
    with raw(migrated) as connection:
        connection.exec_driver_sql("BEGIN")
        upgrade(connection, VERSION_TABLE, "head")
        connection.exec_driver_sql("COMMIT")
        revision = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()
    assert revision == REVISION
    assert shape(new) == shape(migrated)
    assert shape(new)["triggers"]


def test_the_schema_names_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


@pytest.mark.parametrize("version", [1, 2])
def test_a_journal_of_before_keeps_every_row(tmp_path: Path, version: int) -> None:
    path = tmp_path / "fleet.sqlite"
    write_fleet(path, version)
    with closing(FleetJournal(path)) as journal:
        journal.bind("lab")
        assert journal.identity() == "j1"
        assert journal.count_start(9) == 3
        assert [row.job_id for row in journal.jobs.open_jobs()] == []
        assert journal.jobs.claim() == {ID(2), ID(3)}  # the first was taken
        assert [row.job_id for row in journal.jobs.open_jobs()] == [ID(3)]
        assert [answer.job_id for answer in journal.jobs.untaken()] == [ID(2)]
        assert journal.jobs.answers(ID(1))[0].verdict == "ok"
        assert journal.jobs.answers(ID(1))[0].fingerprint == "f0"
        assert journal.devices.devices() == ["dev-1"]
        assert journal.devices.served_bytes("dev-1", 0) == (77 if version > 1 else 0)
        assert (journal.deployments.way_back("dev-1", "main", "b") is None) == (version == 1)
        assert journal.deployments.latest_rev("dev-1", "main") == 4
        assert journal.deployments.next_forward_counter("main", 0, 0) == 10
        assert [row.deployment_id for row in journal.deployments.open_deployments()] == ["d1"]
        assert [row.state for row in journal.deployments.steps("d1")] == ["ACCEPTED"]
    with raw(path) as rows:
        assert rows.exec_driver_sql("SELECT count(*) FROM measurements").scalar() == 2
        left = rows.exec_driver_sql("SELECT count(*) FROM sqlite_master WHERE name LIKE 'before%'")
        assert left.scalar() == 0


@pytest.mark.parametrize("reading", [False, True])
def test_a_study_of_before_keeps_every_row(tmp_path: Path, reading: bool) -> None:
    path, failure = tmp_path / "study.sqlite", Failure("oom", "killed")
    arch = DIGITS.smallest()
    write_study(path, IDENTITY.to_rows(), arch_text(arch), result_text(failure))
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE budgets SET body=?", (budget_text(Budget(1.0)),))
    with Study.read(path) if reading else Study.open(path, IDENTITY) as study:
        assert study.identity == IDENTITY
        first, second = study.trials()
        assert (first.number, first.device, first.failure) == (1, "dev-1", failure)
        assert study.raw(1) == {"n": 1}
        assert study.pending() == [second]
        assert study.budgets() == {"dev-1": Budget(1.0)}
        assert [session.result for session in study.sessions()] == [failure]
    with Study.open(path, IDENTITY) as study:
        assert study.ask("dev-3", "random", [arch])[0].number == 3


def test_an_interrupted_conversion_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fleet.sqlite"
    write_fleet(path, 2)
    with monkeypatch.context() as broken:
        broken.setattr("edgenas.database.migrate._READ_OUT", ("UPDATE nowhere SET x=1",))
        with pytest.raises(FleetJournalError, match="nowhere"):
            FleetJournal(path)
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (2,)
        assert file.execute("SELECT count(*) FROM jobs").fetchone() == (3,)
    FleetJournal(path).close()


def test_somebody_elses_tables_are_refused_and_left_alone(tmp_path: Path) -> None:
    where = place(tmp_path / "other.sqlite")
    with raw(where) as other:
        other.exec_driver_sql("CREATE TABLE music (title TEXT)")
    before = shape(where)
    with pytest.raises(FleetJournalError, match="another database with tables music"):
        FleetJournal(where)
    assert shape(where) == before


def test_old_files_of_unknown_versions_are_refused_by_number() -> None:
    journal = frozenset({"identity", "sightings", "jobs"})
    with pytest.raises(FormError, match="version 3 where only 1 and 2"):
        kind_of(Found(journal, version=3))
    with pytest.raises(FormError, match="version 2 where only 1"):
        kind_of(Found(frozenset(), application=0x656E7331, version=2))
    assert kind_of(Found(frozenset())) is Kind.EMPTY


@pytest.mark.parametrize("old", [False, True])
def test_many_who_open_at_once_make_or_renew_it_once(tmp_path: Path, old: bool) -> None:
    path = tmp_path / "fleet.sqlite"
    if old and POSTGRES is None:
        write_fleet(path, 2)
    where, failures = place(path), list[Exception]()
    start = threading.Barrier(6)

    def use(do: Callable[[], FleetJournal]) -> None:
        start.wait()
        try:
            do().close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=use, args=(lambda: FleetJournal(where),)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with raw(where) as rows:
        assert rows.exec_driver_sql("SELECT count(*) FROM workers").scalar() == 6
        assert rows.exec_driver_sql(f"SELECT count(*) FROM {VERSION_TABLE}").scalar() == 1
