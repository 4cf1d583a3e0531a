"""What a GPU's memory is held by, its clocks and throttling, beside what was kept of it."""

from __future__ import annotations

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    pass
