"""Who changed what of the inventory, and when: by a page, by a command, or in the file.

What was known last is kept beside the entries, so that what was changed in the file while no
dashboard ran is told too. Entries are kept for good: they are few.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any, Literal, cast

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    Row,
    Table,
    Text,
    delete,
    insert,
    select,
)

from tierwatch_dashboard.database import reading, writing
from tierwatch_dashboard.history.rows import milliseconds, seconds
from tierwatch_dashboard.history.tables import METADATA
from tierwatch_dashboard.inventory import Inventory
from tierwatch_dashboard.inventory_change import Change, SetTier
from tierwatch_dashboard.inventory_difference import Known, What, differences
from tierwatch_dashboard.inventory_place import Made

AUDIT = Table(
    "audit",
    METADATA,
    Column("key", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("person", Text),
    Column("way", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("machine", Text),
    Column("subject", Text, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Index("audit_by_machine", "machine", "key"),
)
"""``machine``: the subject, where it is a machine. ``at`` in milliseconds."""

KNOWN = Table(
    "audit_known",
    METADATA,
    Column("key", Integer, primary_key=True),
    Column("document", LargeBinary, nullable=False),
)
"""One row: the inventory as it was known last, a ``Known`` as JSON."""

Way = Literal["page", "file", "command"]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was changed. ``at`` in Unix seconds."""

    key: int
    at: float
    by: str | None
    """None: not known, as the file tells of no one."""
    way: Way
    what: What
    subject: str
    before: str | None
    after: str | None


class AuditLog:
    """Safe to call from several threads; every method raises DatabaseError where it cannot."""

    def __init__(self, engine: Engine, now: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._now = now

    def take(
        self, inventory: Inventory, by: str | None = None, change: Change | None = None
    ) -> None:
        """Writes down what became different since it was told last; the first time, nothing.

        ``by`` and ``change``: who made which change on a page.
        """
        made = Made(inventory=inventory, by=by, change=change)
        with writing(self._engine) as connection:
            self._write(connection, made, "file" if change is None else "page")

    def take_within(self, connection: Connection, made: Made) -> None:
        """The same in the transaction that changes the inventory's text itself."""
        self._write(connection, made, "command" if made.change is None else "page")

    def _write(self, connection: Connection, made: Made, way: Way) -> None:
        now, change = _known(made.inventory), made.change
        renamed = (change.name, change.tier.name) if isinstance(change, SetTier) else None
        before = _stored(connection)
        if before == now:
            return
        at = milliseconds(self._now())
        rows = [
            {
                "at": at,
                "person": made.by,
                "way": way,
                "machine": each.subject if each.what.startswith("machine.") else None,
                **msgspec.structs.asdict(each),
            }
            for each in (differences(before, now, renamed) if before else ())
        ]
        if rows:
            connection.execute(insert(AUDIT), rows)
        connection.execute(delete(KNOWN))
        connection.execute(insert(KNOWN).values(key=1, document=msgspec.json.encode(now)))

    def recent(
        self, limit: int, machine: str | None = None, before: int | None = None
    ) -> tuple[Entry, ...]:
        """The latest first; of one machine alone, or those before the entry of a key."""
        c = AUDIT.c
        found = select(AUDIT).order_by(c.key.desc()).limit(limit)
        if machine is not None:
            found = found.where(c.machine == machine)
        if before is not None:
            found = found.where(c.key < before)
        with reading(self._engine) as connection:
            return tuple(_entry(row) for row in connection.execute(found))


def _known(inventory: Inventory) -> Known:
    # Which machine has which tag is told of the machine.
    alerts = msgspec.structs.replace(inventory.alerts, machine_tags={})
    return Known(
        machines=inventory.machines,
        tiers=inventory.tiers,
        policy=inventory.policy,
        alerts=hashlib.sha256(msgspec.json.encode(alerts)).hexdigest(),
    )


def _stored(connection: Connection) -> Known | None:
    document = connection.execute(select(KNOWN.c.document)).scalar_one_or_none()
    return None if document is None else msgspec.json.decode(document, type=Known)


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        key=row.key,
        at=seconds(row.at),
        by=row.person,
        way=cast(Way, row.way),
        what=cast(What, row.what),
        subject=row.subject,
        before=row.before,
        after=row.after,
    )
