"""Files as the host wrote them before its database had revisions: their tables, with rows in them.

The statements are those of that time and never change.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

FLEET_1 = """
CREATE TABLE identity (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE starts (position INTEGER PRIMARY KEY, wall_ms INTEGER NOT NULL);
CREATE TABLE sightings (
    position INTEGER PRIMARY KEY, device_id TEXT NOT NULL, install_id TEXT NOT NULL,
    sess INTEGER NOT NULL, boot_id TEXT, note TEXT NOT NULL, wall_ms INTEGER NOT NULL);
CREATE TABLE facts (
    position INTEGER PRIMARY KEY, device_id TEXT NOT NULL, body BLOB NOT NULL,
    wall_ms INTEGER NOT NULL);
CREATE TABLE strays (
    position INTEGER PRIMARY KEY, device_id TEXT NOT NULL, work_id TEXT NOT NULL,
    body BLOB NOT NULL, wall_ms INTEGER NOT NULL);
CREATE TABLE jobs (
    position INTEGER PRIMARY KEY, job_id TEXT NOT NULL UNIQUE, device_id TEXT NOT NULL,
    request BLOB NOT NULL, submitted_wall_ms INTEGER NOT NULL);
CREATE TABLE cancels (job_id TEXT PRIMARY KEY, wall_ms INTEGER NOT NULL);
CREATE TABLE answers (
    position INTEGER PRIMARY KEY, job_id TEXT NOT NULL, attempt INTEGER NOT NULL,
    rev INTEGER NOT NULL, body BLOB NOT NULL, host_wall_ms INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL);
CREATE INDEX answers_by_job ON answers (job_id, position);
CREATE TABLE taken (job_id TEXT PRIMARY KEY);
CREATE TABLE wishes (
    position INTEGER PRIMARY KEY, device_id TEXT NOT NULL, slot TEXT NOT NULL,
    rev INTEGER NOT NULL, body BLOB NOT NULL, wall_ms INTEGER NOT NULL);
CREATE TABLE deployments (
    position INTEGER PRIMARY KEY, deployment_id TEXT NOT NULL UNIQUE, device_id TEXT NOT NULL,
    slot TEXT NOT NULL, offered_wall_ms INTEGER NOT NULL);
CREATE TABLE deployment_steps (
    position INTEGER PRIMARY KEY, deployment_id TEXT NOT NULL, attempt INTEGER NOT NULL,
    rev INTEGER NOT NULL, state TEXT NOT NULL, wall_ms INTEGER NOT NULL);
CREATE TABLE deployment_outcomes (
    position INTEGER PRIMARY KEY, deployment_id TEXT NOT NULL, outcome TEXT NOT NULL,
    attempt INTEGER NOT NULL, rev INTEGER NOT NULL, body BLOB,
    host_wall_ms INTEGER NOT NULL, wall_ms INTEGER NOT NULL);
CREATE TABLE counters (
    position INTEGER PRIMARY KEY, slot TEXT NOT NULL, counter INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL);
"""
FLEET_2 = """
CREATE TABLE ways_back (
    position INTEGER PRIMARY KEY, device_id TEXT NOT NULL, slot TEXT NOT NULL,
    replaces_bundle TEXT NOT NULL, counter INTEGER NOT NULL, envelope TEXT NOT NULL,
    wall_ms INTEGER NOT NULL);
CREATE TABLE served (
    position INTEGER PRIMARY KEY, device_id TEXT NOT NULL, bytes INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL);
"""
STUDY_1 = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE budgets (position INTEGER PRIMARY KEY, device TEXT NOT NULL,"
    " body TEXT NOT NULL, wall_ms INTEGER NOT NULL)",
    "CREATE TABLE trials (number INTEGER PRIMARY KEY, device TEXT NOT NULL,"
    " searcher TEXT NOT NULL, arch_id TEXT NOT NULL, arch TEXT NOT NULL,"
    " wall_ms INTEGER NOT NULL, UNIQUE (device, searcher, arch_id))",
    "CREATE TABLE results (number INTEGER PRIMARY KEY REFERENCES trials (number),"
    " body TEXT NOT NULL, raw TEXT, wall_ms INTEGER NOT NULL)",
    "CREATE TABLE sessions (position INTEGER PRIMARY KEY, device TEXT NOT NULL,"
    " arch_id TEXT NOT NULL, arch TEXT NOT NULL, body TEXT NOT NULL, raw TEXT,"
    " wall_ms INTEGER NOT NULL)",
)
STUDY_ID = 0x656E7331
ID = "{:032x}".format


def write_fleet(path: Path, version: int, jobs: int = 3) -> None:
    """A journal with a device, jobs of which all but the last have an answer, and a counter."""
    request = b'{"v":1,"kind":"measure_job","body":{"model":{"sha256":"m0"}}}'
    answer = b'{"v":1,"kind":"measurement","body":{"verdict":"ok","fingerprint_sha256":"f0"}}'
    with closing(sqlite3.connect(path)) as file, file:
        file.executescript("PRAGMA journal_mode=WAL;" + FLEET_1)
        if version > 1:
            file.executescript(FLEET_2)
            file.execute("INSERT INTO served VALUES (1, 'dev-1', 77, 5)")
            file.execute("INSERT INTO ways_back VALUES (1, 'dev-1', 'main', 'b', 9, '{}', 5)")
        file.execute("INSERT INTO identity VALUES ('fleet', 'lab'), ('journal', 'j1')")
        file.execute("INSERT INTO starts VALUES (1, 1), (2, 2)")
        file.execute("INSERT INTO sightings VALUES (1, 'dev-1', 'i', 3, 'b', 'birth', 4)")
        for number in range(1, jobs + 1):
            file.execute(
                "INSERT INTO jobs VALUES (?, ?, 'dev-1', ?, 10)", (number, ID(number), request)
            )
        for number in range(1, jobs):
            file.execute(
                "INSERT INTO answers VALUES (?, ?, 1, 1, ?, 20, 30)", (number, ID(number), answer)
            )
        file.execute("INSERT INTO taken VALUES (?)", (ID(1),))
        file.execute("INSERT INTO wishes VALUES (1, 'dev-1', 'main', 4, x'7b7d', 40)")
        file.execute("INSERT INTO deployments VALUES (1, 'd1', 'dev-1', 'main', 50)")
        file.execute("INSERT INTO deployment_steps VALUES (1, 'd1', 1, 1, 'ACCEPTED', 60)")
        file.execute("INSERT INTO counters VALUES (1, 'main', 8, 0)")
        file.execute(f"PRAGMA user_version={version}")


def write_study(path: Path, properties: dict[str, str], arch: str, body: str) -> None:
    """A study with two trials, of which the first has a result, a budget and a session."""
    with closing(sqlite3.connect(path)) as file, file:
        for statement in STUDY_1:
            file.execute(statement)
        file.executemany("INSERT INTO meta VALUES (?, ?)", properties.items())
        for number in (1, 2):
            row = (number, f"dev-{number}", arch)
            file.execute("INSERT INTO trials VALUES (?, ?, 'random', 'a', ?, 1)", row)
        file.execute("INSERT INTO results VALUES (1, ?, '{\"n\":1}', 2)", (body,))
        file.execute(
            "INSERT INTO budgets VALUES (1, 'dev-1', ?, 3)",
            ('{"p95_us":1.0}',),
        )
        file.execute("INSERT INTO sessions VALUES (1, 'dev-1', 'a', ?, ?, NULL, 4)", (arch, body))
        file.execute(f"PRAGMA application_id={STUDY_ID}")
        file.execute("PRAGMA user_version=1")
