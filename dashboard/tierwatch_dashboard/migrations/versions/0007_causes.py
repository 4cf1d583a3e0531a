"""What kept a machine from its tier, beside its changes of state; when the dashboard watched."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    for column in ("tier", "cause", "culprit"):
        op.add_column("verdict_changes", sa.Column(column, sa.Text))
    op.create_index("verdict_changes_by_moment", "verdict_changes", ["at"])
    op.create_table(
        "watches",
        sa.Column("since", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
