"""The third revision: results that are measured again, probes of devices, scores by content.

A copy of the tables that `edgenas.database.schema` gained that day, which never changes again.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, Text

revision = "0003"
down_revision = "0002"

_TABLES = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
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


Table(
    *("renewals", _TABLES, _position(), _integer("study"), _integer("number"), _text("reason")),
    *(_text("body", null=True), _text("raw", null=True), _integer("wall_ms")),
    Index(None, "study", "number"),
)
Table(
    *("probes", _TABLES, _position(), _integer("study"), _text("device"), _text("kind")),
    *(_text("arch_id", null=True), _text("body"), _integer("wall_ms")),
    Index(None, "study", "device"),
)
Table(
    *("scores", _TABLES, _text("checkpoint", key=True), _text("arch_id", key=True)),
    *(_text("device", key=True), _text("metric", key=True), _text("body"), _integer("wall_ms")),
)


def upgrade() -> None:
    """Make the tables that are new."""
    _TABLES.create_all(op.get_bind())
