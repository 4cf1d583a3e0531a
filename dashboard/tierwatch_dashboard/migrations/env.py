"""What Alembic runs: the steps that are due, in the transaction that it is given."""

from __future__ import annotations

from alembic import context

from tierwatch_dashboard.history.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
)
context.run_migrations()
