"""What kept a machine from its tier, beside its changes of state."""

from __future__ import annotations

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    pass
