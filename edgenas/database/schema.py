"""Every table of the host's database, as it is at the newest revision.

One database holds one fleet and any number of studies. Rows are only ever added: a later row amends
an earlier one, the owner of a job alone changes (see `edgenas.fleet.job_log`). An older database is
brought here by `migrations`, which a test holds to this module. Leaves the meaning of the rows to
the logs that write them.
"""

from __future__ import annotations

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

REVISION = "0005"  # the newest of migrations/versions

METADATA = MetaData(
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

IDENTITY = Table("identity", METADATA, _text("name", key=True), _text("value"))
STARTS = Table("starts", METADATA, _position(), _at())
# Processes that work on the database. `number` is what they lock for as long as they live.
WORKERS = Table(
    *("workers", METADATA),
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    *(_text("name"), _integer("pid"), _at()),
)
# Each entry holds the digest of the one before; the triggers below keep it append-only.
AUDIT = Table(
    *("audit", METADATA, _integer("position", key=True), _at(), _text("who"), _text("action")),
    *(_text("subject"), _text("detail"), _text("previous"), _text("digest")),
)

# --- devices ---------------------------------------------------------------------------------

DEVICES = Table("devices", METADATA, _text("device_id", key=True), _at())
FINGERPRINTS = Table("fingerprints", METADATA, _text("sha256", key=True), _text("body"), _at())
SIGHTINGS = Table(
    *("sightings", METADATA, _position(), _text("device_id"), _text("install_id")),
    *(_integer("sess"), _text("boot_id", null=True), _text("note"), _at()),
)
FACTS = Table(
    *("facts", METADATA, _position(), _text("device_id"), _text("fingerprint", null=True)),
    *(_bytes("body"), _at()),
)
STRAYS = Table(
    *("strays", METADATA, _position(), _text("device_id"), _text("work_id")),
    *(_bytes("body"), _at()),
)
SERVED = Table(
    *("served", METADATA, _position(), _text("device_id"), _integer("bytes"), _at()),
    Index(None, "device_id", "wall_ms"),
)

# --- labels: the newest row of a device and tag, or of a group, counts -------------------------

DEVICE_TAGS = Table(
    *("device_tags", METADATA, _position(), _text("device_id"), _text("tag")),
    *(_integer("present"), _at()),
)
DEVICE_GROUPS = Table(
    *("device_groups", METADATA, _position(), _text("name"), _text("selector", null=True), _at()),
)

# --- enrolment: who may come, who asked, and every certificate ---------------------------------

INVITES = Table(
    *("invites", METADATA, _text("invite_id", key=True), _text("secret_sha256")),
    *(_text("fleet"), _text("profile"), _text("mode"), _integer("uses"), _text("serials")),
    *(_integer("expires_ms"), _at(), _text("verify_keys", null=True)),
    UniqueConstraint("secret_sha256"),
)
# One key asks once under one invite; asked again, it is told the same.
ENROLMENTS = Table(
    *("enrolments", METADATA, _position(), _text("request_id"), _text("invite_id")),
    *(_text("device_id"), _text("board"), _text("key_sha256"), _text("csr"), _text("facts")),
    *(_at(), UniqueConstraint("request_id"), UniqueConstraint("invite_id", "key_sha256")),
)
# The newest row of a request counts.
DECISIONS = Table(
    *("enrolment_decisions", METADATA, _position(), _text("request_id"), _text("decision")),
    *(_text("why"), _at(), Index(None, "request_id"), Index(None, "decision")),
)
CERTIFICATES = Table(
    *("certificates", METADATA, _position(), _text("serial"), _text("device_id")),
    *(_text("board"), _text("key_sha256"), _text("pem"), _integer("ends_ms"), _at()),
    *(UniqueConstraint("serial"), Index(None, "device_id"), Index(None, "key_sha256")),
    Index(None, "board"),
)
REVOCATIONS = Table(
    *("revocations", METADATA, _text("serial", key=True), _text("why"), _at()),
)

# --- artifacts and measuring -----------------------------------------------------------------

ARTIFACTS = Table(
    *("artifacts", METADATA, _text("sha256", key=True), _integer("size_bytes"), _at()),
)
JOBS = Table(
    *("jobs", METADATA, _position(), _text("job_id"), _text("device_id"), _bytes("request")),
    *(_text("model_sha256", null=True), _integer("submitted_wall_ms")),
    # The worker that sends it and hands its outcome out; 0 once that was taken.
    _integer("owner", null=True),
    *(UniqueConstraint("job_id"), Index(None, "owner")),
)
CANCELS = Table("cancels", METADATA, _text("job_id", key=True), _at())
ANSWERS = Table(
    *("answers", METADATA, _position(), _text("job_id"), _integer("attempt"), _integer("rev")),
    *(_bytes("body"), _text("verdict", null=True), _text("fingerprint", null=True)),
    *(_integer("host_wall_ms"), _at(), UniqueConstraint("job_id", "attempt", "rev")),
)
TAKEN = Table("taken", METADATA, _text("job_id", key=True))

# --- releases and deployments ----------------------------------------------------------------

RELEASES = Table(
    *("releases", METADATA, _text("sha256", key=True), _text("slot"), _integer("counter")),
    *(_text("mode"), _text("envelope"), _at(), Index(None, "slot", "counter")),
)
COUNTERS = Table(
    *("counters", METADATA, _position(), _text("slot"), _integer("counter"), _at()),
    UniqueConstraint("slot", "counter"),
)
WAYS_BACK = Table(
    *("ways_back", METADATA, _position(), _text("device_id"), _text("slot")),
    *(_text("replaces_bundle"), _integer("counter"), _text("envelope"), _at()),
    Index(None, "device_id", "slot", "replaces_bundle"),
)
WISHES = Table(
    *("wishes", METADATA, _position(), _text("device_id"), _text("slot"), _integer("rev")),
    *(_bytes("body"), _at(), UniqueConstraint("device_id", "slot", "rev")),
)
DEPLOYMENTS = Table(
    *("deployments", METADATA, _position(), _text("deployment_id"), _text("device_id")),
    *(_text("slot"), _integer("offered_wall_ms"), UniqueConstraint("deployment_id")),
)
STEPS = Table(
    *("deployment_steps", METADATA, _position(), _text("deployment_id"), _integer("attempt")),
    *(_integer("rev"), _text("state"), _at()),
    UniqueConstraint("deployment_id", "attempt", "rev"),
)
OUTCOMES = Table(
    *("deployment_outcomes", METADATA, _position(), _text("deployment_id"), _text("outcome")),
    *(_integer("attempt"), _integer("rev"), _bytes("body", null=True)),
    *(_integer("host_wall_ms"), _at(), UniqueConstraint("deployment_id", "attempt", "rev")),
)

# --- rollouts --------------------------------------------------------------------------------

ROLLOUTS = Table(
    *("rollouts", METADATA, _position(), _text("rollout_id"), _text("slot"), _text("plan"), _at()),
    UniqueConstraint("rollout_id"),
)
# Whoever adds the next position of a rollout first has decided what happens to it.
ROLLOUT_EVENTS = Table(
    *("rollout_events", METADATA, _text("rollout_id", key=True), _integer("position", key=True)),
    *(_integer("at_ms"), _text("kind"), _text("body"), _at()),
)

# --- studies ---------------------------------------------------------------------------------

STUDIES = Table(
    *("studies", METADATA),
    Column("study", _NUMBER, primary_key=True, autoincrement=True),
    *(_text("name"), _at(), UniqueConstraint("name")),
)
PROPERTIES = Table(
    *("study_properties", METADATA, _integer("study", key=True), _text("name", key=True)),
    _text("value"),
)
BUDGETS = Table(
    *("budgets", METADATA, _position(), _integer("study"), _text("device"), _text("body"), _at()),
)
TRIALS = Table(
    *("trials", METADATA, _integer("study", key=True), _integer("number", key=True)),
    *(_text("device"), _text("searcher"), _text("arch_id"), _text("arch"), _at()),
    UniqueConstraint("study", "device", "searcher", "arch_id"),
)
RESULTS = Table(
    *("results", METADATA, _integer("study", key=True), _integer("number", key=True)),
    *(_text("body"), _text("raw", null=True), _at()),
)
SESSIONS = Table(
    *("sessions", METADATA, _position(), _integer("study"), _text("device"), _text("arch_id")),
    *(_text("arch"), _text("body"), _text("raw", null=True), _at()),
)
# The newest row of a trial is its result from then on; without a body it has to be measured again.
RENEWALS = Table(
    *("renewals", METADATA, _position(), _integer("study"), _integer("number"), _text("reason")),
    *(_text("body", null=True), _text("raw", null=True), _at()),
    Index(None, "study", "number"),
)
# Measurements that say something of a device, not of a candidate; `drift` rows have no figures.
PROBES = Table(
    *("probes", METADATA, _position(), _integer("study"), _text("device"), _text("kind")),
    *(_text("arch_id", null=True), _text("body"), _at(), Index(None, "study", "device")),
)
# What is known of an architecture, by content; whichever search found it out.
SCORES = Table(
    *("scores", METADATA, _text("checkpoint", key=True), _text("arch_id", key=True)),
    *(_text("device", key=True), _text("metric", key=True), _text("body"), _at()),
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


@event.listens_for(METADATA, "after_create")
def _complete(_: MetaData, connection: Connection, **__: object) -> None:
    for statement in _MORE[connection.dialect.name]:
        connection.exec_driver_sql(statement)
