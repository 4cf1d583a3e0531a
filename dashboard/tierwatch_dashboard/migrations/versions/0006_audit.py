"""Who changed the inventory, and when."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("person", sa.Text),
        sa.Column("way", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("machine", sa.Text),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
    )
    op.create_index("audit_by_machine", "audit", ["machine", "key"])
    op.create_table(
        "audit_known",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )
