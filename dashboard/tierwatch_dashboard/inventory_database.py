"""The inventory's text in the database, one for all dashboards that share it.

A new text and what the log says of it are one transaction, so that of two dashboards each change is
told once, and by whom.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    Table,
    Text,
    select,
)

from tierwatch_dashboard.database import reading, upsert, writing
from tierwatch_dashboard.history.rows import milliseconds
from tierwatch_dashboard.history.tables import METADATA
from tierwatch_dashboard.inventory_place import Made

DOCUMENTS = Table(
    "documents",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("version", Integer, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
)
"""Texts that people write. ``version`` rises by one each time; ``changed_at`` in milliseconds."""

_INVENTORY = "inventory"

Log = Callable[[Connection, Made], None]
"""Writes down, in a transaction, what an inventory says anew."""


class DatabasePlace:
    """The row of the inventory. Where there is none yet, it says nothing: no machine."""

    def __init__(self, engine: Engine, log: Log, now: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._log = log
        self._now = now
        self._version, self._content = 0, b""

    @property
    def name(self) -> str:
        """How errors name it."""
        return "inventory in the database"

    def read(self) -> bytes:
        """What it says; DatabaseError where it cannot be read."""
        c = DOCUMENTS.c
        newer = select(c.version, c.content).where(c.name == _INVENTORY, c.version != self._version)
        with reading(self._engine) as connection:
            found = connection.execute(newer).one_or_none()
        if found is not None:
            self._version, self._content = found.version, found.content
        return self._content

    def settled(self, known: bytes | None) -> bytes:  # noqa: ARG002  a Place
        """The same: a row is always whole."""
        return self.read()

    def turn(self) -> AbstractContextManager[None]:
        """At once: whoever is late finds that the text is another, and begins anew."""
        return nullcontext()

    def replace(self, expected: bytes, new: bytes, made: Made) -> bool:
        """Puts the text in place of the expected one and tells the log, or neither."""
        c = DOCUMENTS.c
        at = milliseconds(self._now())
        with writing(self._engine) as connection:
            ours = select(c.version, c.content).where(c.name == _INVENTORY)
            found = connection.execute(ours).one_or_none()
            if (found.content if found else b"") != expected:
                return False
            row = {"content": new, "version": found.version + 1 if found else 1, "changed_at": at}
            connection.execute(
                upsert(connection, DOCUMENTS)
                .values(name=_INVENTORY, **row)
                .on_conflict_do_update(index_elements=["name"], set_=row)
            )
            self._log(connection, made)
        return True
