"""The fifth revision: an invitation keeps the public keys that its boards shall trust.

Those from before have none: they were kept by the process that served them.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Text

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column."""
    op.add_column("invites", Column("verify_keys", Text, nullable=True))
