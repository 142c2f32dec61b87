"""Runs the migrations: from revision to revision, and from the hand-written form to the first.

Alembic is loaded only when there is something to migrate. Leaves when that is to `form`, and the
steps themselves to `migrations/versions`.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect

_FOLDER = Path(__file__).parent / "migrations"
_KEPT = "before_revisions_"

# Columns that the hand-written tables had under these very names, in this order.
_FLEET = {
    "identity": "name, value",
    "starts": "position, wall_ms",
    "sightings": "position, device_id, install_id, sess, boot_id, note, wall_ms",
    "facts": "position, device_id, body, wall_ms",
    "strays": "position, device_id, work_id, body, wall_ms",
    "jobs": "position, job_id, device_id, request, submitted_wall_ms",
    "cancels": "job_id, wall_ms",
    "answers": "position, job_id, attempt, rev, body, host_wall_ms, wall_ms",
    "taken": "job_id",
    "wishes": "position, device_id, slot, rev, body, wall_ms",
    "deployments": "position, deployment_id, device_id, slot, offered_wall_ms",
    "deployment_steps": "position, deployment_id, attempt, rev, state, wall_ms",
    "deployment_outcomes": "position, deployment_id, outcome, attempt, rev, body, host_wall_ms,"
    " wall_ms",
    "counters": "position, slot, counter, wall_ms",
    "ways_back": "position, device_id, slot, replaces_bundle, counter, envelope, wall_ms",
    "served": "position, device_id, bytes, wall_ms",
}
_STUDY = {
    "trials": "number, device, searcher, arch_id, arch, wall_ms",
    "results": "number, body, raw, wall_ms",
    "budgets": "position, device, body, wall_ms",
    "sessions": "position, device, arch_id, arch, body, raw, wall_ms",
}
# What has columns of its own since, read out of what was kept.
_READ_OUT = (
    "UPDATE jobs SET owner=0 WHERE job_id IN (SELECT job_id FROM taken)",
    "UPDATE jobs SET model_sha256=json_extract(CAST(request AS TEXT), '$.body.model.sha256')"
    " WHERE json_valid(CAST(request AS TEXT))",
    "UPDATE answers SET verdict=json_extract(CAST(body AS TEXT), '$.body.verdict'),"
    " fingerprint=json_extract(CAST(body AS TEXT), '$.body.fingerprint_sha256')"
    " WHERE json_valid(CAST(body AS TEXT))",
)
_FIRST_REVISION = "0001"


def upgrade(connection: Connection, version_table: str, revision: str) -> None:
    """Bring a database of ours to a revision, on the given connection and in its transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes.update(connection=connection, version_table=version_table)
    command.upgrade(config, revision)


def convert(connection: Connection, version_table: str, *, fleet: bool) -> None:
    """Turn a file of the form before revisions into one of ours; nothing of it is lost."""
    for index in ("answers_by_job",) if fleet else ():
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {index}")
    old = inspect(connection).get_table_names()
    for table in old:
        connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {_KEPT}{table}")
    upgrade(connection, version_table, _FIRST_REVISION)
    (_convert_fleet if fleet else _convert_study)(connection, old)
    for table in old:
        connection.exec_driver_sql(f"DROP TABLE {_KEPT}{table}")
    connection.exec_driver_sql("PRAGMA application_id=0")
    connection.exec_driver_sql("PRAGMA user_version=0")
    upgrade(connection, version_table, "head")


def _convert_fleet(connection: Connection, old: list[str]) -> None:
    for table, columns in _FLEET.items():
        if table in old:  # the first version lacked some
            # A row that two answers share was written by a host that did not yet look for it.
            connection.exec_driver_sql(
                f"INSERT OR IGNORE INTO {table} ({columns}) SELECT {columns} FROM {_KEPT}{table}"
            )
    for statement in _READ_OUT:
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql(
        "INSERT INTO devices (device_id, wall_ms) SELECT device_id, min(wall_ms) FROM"
        " (SELECT device_id, wall_ms FROM sightings UNION ALL SELECT device_id, wall_ms FROM facts)"
        " GROUP BY device_id"
    )


def _convert_study(connection: Connection, old: list[str]) -> None:
    connection.exec_driver_sql("INSERT INTO studies (study, name, wall_ms) VALUES (1, 'main', 0)")
    connection.exec_driver_sql(
        f"INSERT INTO study_properties SELECT 1, name, value FROM {_KEPT}meta"
    )
    for table, columns in _STUDY.items():
        if table in old:
            connection.exec_driver_sql(
                f"INSERT INTO {table} (study, {columns}) SELECT 1, {columns} FROM {_KEPT}{table}"
            )
