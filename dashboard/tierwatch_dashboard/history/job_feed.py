"""Finished jobs in the order in which they were stored, column by column, for who counts them all.

A job is read once: whoever goes through them says the key of the last that he had.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from sqlalchemy import Engine, select

from tierwatch_agent.snapshot import Outcome
from tierwatch_dashboard.database import reading
from tierwatch_dashboard.history.rows import milliseconds
from tierwatch_dashboard.history.tables import JOBS

AT_ONCE = 20_000
"""Jobs that are read in one transaction."""


class Fed(NamedTuple):
    """A finished job as it is kept; spans and moments in milliseconds, peak in bytes."""

    key: int
    machine: str
    server: str
    gpu: str | None
    outcome: Outcome
    model: str | None
    width: int | None
    height: int | None
    batch: int | None
    images: int | None
    duration: int | None
    peak_vram: int | None
    ended_at: int


class JobFeed(msgspec.Struct, frozen=True):
    """Reads a database's jobs; DatabaseError where it cannot be read."""

    engine: Engine

    def after(self, key: int, since: float) -> Iterator[Fed]:
        """Those stored after the one of that key that ended at ``since`` (Unix seconds) or later.

        Each machine's come about in the order of their ends.
        """
        c = JOBS.c
        ask = (
            select(*(c[name] for name in Fed._fields))
            .where(c.ended_at >= milliseconds(since))
            .order_by(c.key)
        )
        while True:
            with reading(self.engine) as connection:
                rows = connection.execute(ask.where(c.key > key).limit(AT_ONCE)).all()
            for row in rows:
                yield Fed(*row)
            if len(rows) < AT_ONCE:
                return
            key = rows[-1].key
