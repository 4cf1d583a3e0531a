"""Points of every GPU: as they came, by minute and by ten minutes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "gpus",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("machine", sa.Text, nullable=False),
        sa.Column("gpu", sa.Text, nullable=False),
        sa.UniqueConstraint("machine", "gpu"),
    )
    op.create_table(
        "points",
        sa.Column("minute", sa.Integer, primary_key=True),
        sa.Column("gpu", sa.Integer, sa.ForeignKey("gpus.id"), primary_key=True),
        sa.Column("at", sa.BigInteger, primary_key=True),
        sa.Column("total", sa.BigInteger),
        sa.Column("used", sa.BigInteger),
        sa.Column("available", sa.BigInteger),
        sa.Column("others", sa.BigInteger),
        sa.Column("utilization", sa.Integer),
        sa.Column("temperature", sa.Integer),
        sa.Column("power", sa.Integer),
        sqlite_with_rowid=False,
    )
    for name in ("points_by_minute", "points_by_ten_minutes"):
        op.create_table(
            name,
            sa.Column("gpu", sa.Integer, sa.ForeignKey("gpus.id"), primary_key=True),
            sa.Column("at", sa.BigInteger, primary_key=True),
            sa.Column("points", sa.Integer, nullable=False),
            sa.Column("total", sa.BigInteger),
            sa.Column("used", sa.BigInteger),
            sa.Column("used_max", sa.BigInteger),
            sa.Column("available", sa.BigInteger),
            sa.Column("available_min", sa.BigInteger),
            sa.Column("others", sa.BigInteger),
            sa.Column("utilization", sa.Integer),
            sa.Column("temperature", sa.Integer),
            sa.Column("temperature_max", sa.Integer),
            sa.Column("power", sa.Integer),
            sqlite_with_rowid=False,
        )
    progress = op.create_table(
        "roll_ups",
        sa.Column("seconds", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(progress, [{"seconds": 60, "until": 0}, {"seconds": 600, "until": 0}])
