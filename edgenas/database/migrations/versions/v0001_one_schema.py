"""The first revision: everything as it was when the hand-written files gave way to one schema.

A copy of `edgenas.database.schema` of that day, which never changes again.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    event,
)

revision = "0001"
down_revision = None

_TABLES = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)
# SQLite numbers rows by itself only where the key is an INTEGER.
_NUMBER = BigInteger().with_variant(Integer(), "sqlite")


def _position() -> Column[int]:
    return Column("position", _NUMBER, primary_key=True, autoincrement=True)


def _text(name: str, *, key: bool = False, null: bool = False) -> Column[str]:
    return Column(name, Text, primary_key=key, nullable=null)


def _integer(name: str, *, key: bool = False, null: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=key, nullable=null, autoincrement=False)


def _bytes(name: str, *, null: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=null)


def _at() -> Column[int]:
    return _integer("wall_ms")


# --- the fleet and who works on it -----------------------------------------------------------

Table("identity", _TABLES, _text("name", key=True), _text("value"))
Table("starts", _TABLES, _position(), _at())
# Processes that work on the database. `number` is what they lock for as long as they live.
Table(
    *("workers", _TABLES),
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    *(_text("name"), _integer("pid"), _at()),
)
# Each entry holds the digest of the one before; the triggers below keep it append-only.
Table(
    *("audit", _TABLES, _integer("position", key=True), _at(), _text("who"), _text("action")),
    *(_text("subject"), _text("detail"), _text("previous"), _text("digest")),
)

# --- devices ---------------------------------------------------------------------------------

Table("devices", _TABLES, _text("device_id", key=True), _at())
Table("fingerprints", _TABLES, _text("sha256", key=True), _text("body"), _at())
Table(
    *("sightings", _TABLES, _position(), _text("device_id"), _text("install_id")),
    *(_integer("sess"), _text("boot_id", null=True), _text("note"), _at()),
)
Table(
    *("facts", _TABLES, _position(), _text("device_id"), _text("fingerprint", null=True)),
    *(_bytes("body"), _at()),
)
Table(
    *("strays", _TABLES, _position(), _text("device_id"), _text("work_id")),
    *(_bytes("body"), _at()),
)
Table(
    *("served", _TABLES, _position(), _text("device_id"), _integer("bytes"), _at()),
    Index(None, "device_id", "wall_ms"),
)

# --- artifacts and measuring -----------------------------------------------------------------

Table(
    *("artifacts", _TABLES, _text("sha256", key=True), _integer("size_bytes"), _at()),
)
Table(
    *("jobs", _TABLES, _position(), _text("job_id"), _text("device_id"), _bytes("request")),
    *(_text("model_sha256", null=True), _integer("submitted_wall_ms")),
    # The worker that sends it and hands its outcome out; 0 once that was taken.
    _integer("owner", null=True),
    *(UniqueConstraint("job_id"), Index(None, "owner")),
)
Table("cancels", _TABLES, _text("job_id", key=True), _at())
Table(
    *("answers", _TABLES, _position(), _text("job_id"), _integer("attempt"), _integer("rev")),
    *(_bytes("body"), _text("verdict", null=True), _text("fingerprint", null=True)),
    *(_integer("host_wall_ms"), _at(), UniqueConstraint("job_id", "attempt", "rev")),
)
Table("taken", _TABLES, _text("job_id", key=True))

# --- releases and deployments ----------------------------------------------------------------

Table(
    *("releases", _TABLES, _text("sha256", key=True), _text("slot"), _integer("counter")),
    *(_text("mode"), _text("envelope"), _at(), Index(None, "slot", "counter")),
)
Table(
    *("counters", _TABLES, _position(), _text("slot"), _integer("counter"), _at()),
    UniqueConstraint("slot", "counter"),
)
Table(
    *("ways_back", _TABLES, _position(), _text("device_id"), _text("slot")),
    *(_text("replaces_bundle"), _integer("counter"), _text("envelope"), _at()),
    Index(None, "device_id", "slot", "replaces_bundle"),
)
Table(
    *("wishes", _TABLES, _position(), _text("device_id"), _text("slot"), _integer("rev")),
    *(_bytes("body"), _at(), UniqueConstraint("device_id", "slot", "rev")),
)
Table(
    *("deployments", _TABLES, _position(), _text("deployment_id"), _text("device_id")),
    *(_text("slot"), _integer("offered_wall_ms"), UniqueConstraint("deployment_id")),
)
Table(
    *("deployment_steps", _TABLES, _position(), _text("deployment_id"), _integer("attempt")),
    *(_integer("rev"), _text("state"), _at()),
    UniqueConstraint("deployment_id", "attempt", "rev"),
)
Table(
    *("deployment_outcomes", _TABLES, _position(), _text("deployment_id"), _text("outcome")),
    *(_integer("attempt"), _integer("rev"), _bytes("body", null=True)),
    *(_integer("host_wall_ms"), _at(), UniqueConstraint("deployment_id", "attempt", "rev")),
)

# --- rollouts --------------------------------------------------------------------------------

Table(
    *("rollouts", _TABLES, _position(), _text("rollout_id"), _text("slot"), _text("plan"), _at()),
    UniqueConstraint("rollout_id"),
)
# Whoever adds the next position of a rollout first has decided what happens to it.
Table(
    *("rollout_events", _TABLES, _text("rollout_id", key=True), _integer("position", key=True)),
    *(_integer("at_ms"), _text("kind"), _text("body"), _at()),
)

# --- studies ---------------------------------------------------------------------------------

Table(
    *("studies", _TABLES),
    Column("study", _NUMBER, primary_key=True, autoincrement=True),
    *(_text("name"), _at(), UniqueConstraint("name")),
)
Table(
    *("study_properties", _TABLES, _integer("study", key=True), _text("name", key=True)),
    _text("value"),
)
Table(
    *("budgets", _TABLES, _position(), _integer("study"), _text("device"), _text("body"), _at()),
)
Table(
    *("trials", _TABLES, _integer("study", key=True), _integer("number", key=True)),
    *(_text("device"), _text("searcher"), _text("arch_id"), _text("arch"), _at()),
    UniqueConstraint("study", "device", "searcher", "arch_id"),
)
Table(
    *("results", _TABLES, _integer("study", key=True), _integer("number", key=True)),
    *(_text("body"), _text("raw", null=True), _at()),
)
Table(
    *("sessions", _TABLES, _position(), _integer("study"), _text("device"), _text("arch_id")),
    *(_text("arch"), _text("body"), _text("raw", null=True), _at()),
)

# --- what SQLAlchemy's tables cannot say -----------------------------------------------------

_MEASUREMENTS = """
CREATE VIEW measurements AS
SELECT answers.position, answers.job_id, jobs.device_id, jobs.model_sha256, answers.fingerprint,
       answers.verdict, answers.host_wall_ms, answers.wall_ms
FROM answers JOIN jobs ON jobs.job_id = answers.job_id WHERE answers.verdict IS NOT NULL
"""
_SQLITE_GUARDS = tuple(
    f"CREATE TRIGGER audit_no_{what} BEFORE {what.upper()} ON audit "
    "BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END"
    for what in ("update", "delete")
)
_POSTGRES_GUARDS = (
    "CREATE FUNCTION audit_only_grows() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the audit log only grows'; END $$",
    "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
    "FOR EACH STATEMENT EXECUTE FUNCTION audit_only_grows()",
)

_MORE = {
    "sqlite": (_MEASUREMENTS, *_SQLITE_GUARDS),
    "postgresql": (_MEASUREMENTS, *_POSTGRES_GUARDS),
}


@event.listens_for(_TABLES, "after_create")
def _complete(_: MetaData, connection: Connection, **__: object) -> None:
    for statement in _MORE[connection.dialect.name]:
        connection.exec_driver_sql(statement)


def upgrade() -> None:
    """Make every table."""
    _TABLES.create_all(op.get_bind())
