"""What the verdict remembers of each machine, and when a machine changed its state."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "verdict_memory",
        sa.Column("machine", sa.Text, primary_key=True),
        sa.Column("document", sa.LargeBinary, nullable=False),
        sa.Column("saved_at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "verdict_changes",
        sa.Column("machine", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("headline", sa.Text, nullable=False),
        sa.Column("can_serve", sa.Text),
        sqlite_with_rowid=False,
    )
