"""The second revision: labels of devices, and how devices are enrolled.

Holds the tables as they were on the day they came; they never change here again.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

revision = "0002"
down_revision = "0001"

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


def _integer(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, autoincrement=False)


def _at() -> Column[int]:
    return _integer("wall_ms")


Table(
    *("device_tags", _TABLES, _position(), _text("device_id"), _text("tag")),
    *(_integer("present"), _at()),
)
Table(
    *("device_groups", _TABLES, _position(), _text("name"), _text("selector", null=True), _at()),
)

Table(
    *("invites", _TABLES, _text("invite_id", key=True), _text("secret_sha256")),
    *(_text("fleet"), _text("profile"), _text("mode"), _integer("uses"), _text("serials")),
    *(_integer("expires_ms"), _at(), UniqueConstraint("secret_sha256")),
)
# One key asks once under one invite; asked again, it is told the same.
Table(
    *("enrolments", _TABLES, _position(), _text("request_id"), _text("invite_id")),
    *(_text("device_id"), _text("board"), _text("key_sha256"), _text("csr"), _text("facts")),
    *(_at(), UniqueConstraint("request_id"), UniqueConstraint("invite_id", "key_sha256")),
)
# The newest row of a request counts.
Table(
    *("enrolment_decisions", _TABLES, _position(), _text("request_id"), _text("decision")),
    *(_text("why"), _at(), Index(None, "request_id")),
)
Table(
    *("certificates", _TABLES, _position(), _text("serial"), _text("device_id")),
    *(_text("board"), _text("key_sha256"), _text("pem"), _integer("ends_ms"), _at()),
    *(UniqueConstraint("serial"), Index(None, "device_id")),
)
Table(
    *("revocations", _TABLES, _text("serial", key=True), _text("why"), _at()),
)


def upgrade() -> None:
    """Add the tables."""
    _TABLES.create_all(op.get_bind())
