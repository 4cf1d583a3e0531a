"""The tables of alerts: moments in milliseconds, documents beside the columns asked by.

A document is a Struct of ``alerts`` as JSON, so that a field more is no migration.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text

from tierwatch_dashboard.history.tables import METADATA

ALERTS = Table(
    "alerts",
    METADATA,
    Column("key", Integer, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("live", Boolean, nullable=False),
    Column("rule", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("machine", Text),
    Column("fired_at", BigInteger),
    Column("saved_at", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Index("alerts_live", "live"),
    Index("alerts_by_firing", "fired_at"),
    Index("alerts_by_machine", "machine", "fired_at"),
)
"""Each life of an alert. ``live``: the engine still has something to do with it."""

SILENCES = Table(
    "silences",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("ends_at", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),
)

WINDOWS = Table(
    "maintenance_windows",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("document", LargeBinary, nullable=False),
)

OUTBOX = Table(
    "outbox",
    METADATA,
    Column("key", Integer, primary_key=True),
    Column("receiver", Text, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("outcome", Text),
    Column("error", Text),
    Column("ended_at", BigInteger),
    Index("outbox_waiting", "outcome", "key"),
)
"""Messages, by ``key`` in the order in which each receiver is to have them.

``outcome``: delivered, given_up; NULL while it waits. ``error``: why it was given up.
"""
