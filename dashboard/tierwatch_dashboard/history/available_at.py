"""What was available on a GPU at one moment, from the finest that is kept of it."""

from __future__ import annotations

import msgspec
from sqlalchemy import Engine, select

from tierwatch_dashboard.database import reading
from tierwatch_dashboard.history.rows import milliseconds
from tierwatch_dashboard.history.tables import (
    BY_MINUTE,
    BY_TEN_MINUTES,
    GPUS,
    MINUTE,
    POINTS,
)


class AvailableAt(msgspec.Struct, frozen=True):
    """Reads a database's points; DatabaseError where it cannot be read."""

    engine: Engine

    def at(self, machine: str, gpu: str, moment: float) -> int | None:
        """Bytes, by a GPU's index and a moment in Unix seconds; None: nothing is kept of it."""
        then = milliseconds(moment)
        key = select(GPUS.c.id).where(GPUS.c.machine == machine, GPUS.c.gpu == gpu)
        p = POINTS.c
        last = (
            select(p.available)
            .where(p.minute.in_((then // MINUTE, then // MINUTE - 1)))
            .where(p.gpu == key.scalar_subquery(), p.at <= then, p.at > then - MINUTE)
            .order_by(p.at.desc())
            .limit(1)
        )
        buckets = [
            select(level.table.c.available).where(
                level.table.c.gpu == key.scalar_subquery(),
                level.table.c.at == then - then % level.width,
            )
            for level in (BY_MINUTE, BY_TEN_MINUTES)
        ]
        with reading(self.engine) as connection:
            for ask in (last, *buckets):
                found = connection.execute(ask).scalar()
                if found is not None:
                    return found
        return None
