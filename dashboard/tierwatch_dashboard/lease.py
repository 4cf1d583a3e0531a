"""Which of several dashboards on one database does the work: the one that holds the lease.

The holder renews it; who finds it run out takes it. Both go by the database's clock, and the holder
stops believing in its own before the database would give it to another. So at most one works at a
time, and another begins within ``LONGEST_PAUSE_SECONDS`` of the holder's death.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    Table,
    Text,
    cast,
    delete,
    extract,
    func,
    literal,
    or_,
)
from sqlalchemy.sql import ColumnElement

from tierwatch_dashboard.database import DatabaseError, upsert, writing
from tierwatch_dashboard.history.tables import METADATA

LEASE_SECONDS = 9.0
RENEWED_EVERY_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = LEASE_SECONDS + RENEWED_EVERY_SECONDS
_SAFETY_SECONDS = 3.0
"""So much sooner does a holder stop that could not renew: what it has begun must end, too."""

LEASES = Table(
    "leases",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", BigInteger, nullable=False),
)

_NOW: ColumnElement[int] = cast(
    func.floor(extract("epoch", func.clock_timestamp()) * 1000), BigInteger
)
"""The database's own clock, so that two hosts' clocks need not agree. PostgreSQL alone has several
dashboards: an SQLite file is one's own."""

_log = logging.getLogger(__name__)


class Lease:
    """One process's claim to a lease; ``is_held`` from any thread, ``renew`` from one."""

    def __init__(
        self, engine: Engine, name: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._name = name
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._good_until = float("-inf")
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        """How this process names itself in the database."""

    @property
    def is_held(self) -> bool:
        """Whether this process may do the work now."""
        return self._monotonic() < self._good_until

    def renew(self) -> bool:
        """Takes or renews the lease where nobody else holds it; says whether it is held now.

        Raises:
            DatabaseError: It could not be asked for. What is held runs out as it would.
        """
        began, before = self._monotonic(), self.is_held
        with self._lock, writing(self._engine) as connection:
            until = _NOW + literal(round(LEASE_SECONDS * 1000))
            statement = upsert(connection, LEASES).values(
                name=self._name, holder=self.holder, until=until
            )
            mine_or_nobody_s = or_(LEASES.c.holder == self.holder, LEASES.c.until <= _NOW)
            taken = connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["name"],
                    set_={"holder": self.holder, "until": until},
                    where=mine_or_nobody_s,
                ).returning(LEASES.c.holder)
            ).first()
        self._good_until = began + LEASE_SECONDS - _SAFETY_SECONDS if taken else float("-inf")
        if self.is_held != before:
            _log.info("this dashboard %s", "does the work now" if taken else "stands by")
        return self.is_held

    def release(self) -> None:
        """Gives it up at once, so that another need not wait for it to run out."""
        self._good_until = float("-inf")
        held = (LEASES.c.name == self._name) & (LEASES.c.holder == self.holder)
        try:
            with self._lock, writing(self._engine) as connection:
                connection.execute(delete(LEASES).where(held))
        except DatabaseError:
            _log.exception("the lease could not be given up: another dashboard waits it out")
