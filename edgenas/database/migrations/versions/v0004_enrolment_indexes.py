"""The fourth revision: indexes by which an enrolment finds what bears on it in a large fleet."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

_INDEXES = (
    ("enrolment_decisions", "decision"),
    ("certificates", "key_sha256"),
    ("certificates", "board"),
)


def upgrade() -> None:
    """Make the indexes."""
    for table, column in _INDEXES:
        op.create_index(f"ix_{table}_{column}", table, [column])
