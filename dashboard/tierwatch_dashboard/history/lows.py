"""The lowest available VRAM of every GPU by the minute, in one look at the store."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import BigInteger, Engine, cast, func, select

from tierwatch_dashboard.database import reading
from tierwatch_dashboard.fleet.trend import Low
from tierwatch_dashboard.history.keeping import marks
from tierwatch_dashboard.history.rows import milliseconds, seconds
from tierwatch_dashboard.history.tables import BY_MINUTE, GPUS, MINUTE, POINTS
from tierwatch_dashboard.history.windows import window


def lows(engine: Engine, start: float, end: float) -> Iterator[Low]:
    """Every minute that begins from ``start`` to before ``end`` and has points, oldest first.

    What is rolled up is read so, the last minutes from the points themselves. Minutes are whole.

    Raises:
        DatabaseError: The store cannot be read.
    """
    first = -(-milliseconds(start) // MINUTE) * MINUTE
    stop = milliseconds(end)
    c = BY_MINUTE.table.c
    with reading(engine) as connection:
        rolled_up = min(stop, max(first, marks(connection).get(BY_MINUTE.seconds, first)))
        by_minute = (
            select(GPUS.c.machine, GPUS.c.gpu, c.at, c.available_min)
            .join(GPUS, GPUS.c.id == c.gpu)
            .where(*window(BY_MINUTE, first, rolled_up), c.available_min.is_not(None))
            .order_by(c.at)
        )
        of_points = (
            select(
                GPUS.c.machine,
                GPUS.c.gpu,
                (cast(POINTS.c.minute, BigInteger) * MINUTE).label("at"),
                func.min(POINTS.c.available).label("available_min"),
            )
            .join(GPUS, GPUS.c.id == POINTS.c.gpu)
            .where(
                POINTS.c.minute >= rolled_up // MINUTE,
                POINTS.c.minute < -(-stop // MINUTE),
                POINTS.c.available.is_not(None),
            )
            .group_by(GPUS.c.machine, GPUS.c.gpu, POINTS.c.minute)
            .order_by(POINTS.c.minute)
        )
        for found in (by_minute, of_points):
            for row in connection.execute(found):
                yield Low(
                    machine=row.machine,
                    gpu=row.gpu,
                    at=seconds(row.at),
                    available_bytes=row.available_min,
                )
