"""What a GPU's memory is held by, its clocks and throttling, beside what was kept of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for table in ("points", "points_by_minute", "points_by_ten_minutes"):
        for column in ("own", "clock", "heat", "capped"):
            op.add_column(table, sa.Column(column, sa.Integer))
    op.create_table(
        "holders",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("gpu", sa.Integer, sa.ForeignKey("gpus.id"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("server", sa.Text, nullable=False),
        sa.UniqueConstraint("gpu", "name", "server"),
    )
    op.create_table(
        "holdings",
        sa.Column("holder", sa.Integer, sa.ForeignKey("holders.id"), primary_key=True),
        sa.Column("at", sa.BigInteger, primary_key=True),
        sa.Column("size", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.drop_index("jobs_by_machine", "jobs")
    op.create_index(
        "jobs_by_machine", "jobs", ["machine", "ended_at", "outcome", "duration", "gpu"]
    )
