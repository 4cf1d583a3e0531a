"""What a GPU's memory is held by, its clocks and throttling; points by the hour as well."""

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
        "points_by_hour",
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
        sa.Column("own", sa.Integer),
        sa.Column("clock", sa.Integer),
        sa.Column("heat", sa.Integer),
        sa.Column("capped", sa.Integer),
        sqlite_with_rowid=False,
    )
    progress = sa.table(
        "roll_ups", sa.column("seconds", sa.Integer), sa.column("until", sa.BigInteger)
    )
    op.bulk_insert(progress, [{"seconds": 3600, "until": 0}])
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
