"""Finished jobs, each once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("key", sa.Integer, primary_key=True),
        sa.Column("machine", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("ended_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("duration", sa.BigInteger),
        sa.Column("model", sa.Text),
        sa.Column("width", sa.Integer),
        sa.Column("height", sa.Integer),
        sa.Column("batch", sa.Integer),
        sa.Column("steps", sa.Integer),
        sa.Column("images", sa.Integer),
        sa.Column("pixels", sa.BigInteger),
        sa.Column("gpu", sa.Text),
        sa.Column("peak_vram", sa.BigInteger),
        sa.Column("error", sa.Text),
        sa.UniqueConstraint("machine", "id"),
    )
    op.create_index("jobs_by_end", "jobs", ["ended_at"])
    op.create_index("jobs_by_machine", "jobs", ["machine", "ended_at"])
    op.create_index("jobs_by_outcome", "jobs", ["outcome", "ended_at"])
