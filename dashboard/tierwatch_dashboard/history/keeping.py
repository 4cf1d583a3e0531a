"""Roll-ups and pruning: one bounded step at a time, each a transaction of its own.

A level's buckets are made up to a mark. A point that comes late moves the mark back, so that its
bucket is made anew; a bucket never gives way to one of fewer points, as would be made where part of
its source is already pruned. So a step may be repeated, and a kill between two costs nothing.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Connection, delete, func, literal, select, update

from tierwatch_dashboard.database import upsert
from tierwatch_dashboard.history.aggregate import COLUMNS, buckets, rows
from tierwatch_dashboard.history.tables import (
    GPUS,
    LEVELS,
    MINUTE,
    RAW,
    ROLL_UPS,
    Level,
)
from tierwatch_dashboard.history.windows import edge, window

_ROWS_A_STEP = 50_000
"""What a transaction may take before a waiting writer has its turn: about a tenth of a second."""

_USUAL_INTERVAL = 5_000
"""Milliseconds between the points of a GPU, unless a dashboard is told otherwise."""


def marks(connection: Connection) -> dict[int, int]:
    """Up to when the buckets of each level are made, in milliseconds, by its seconds."""
    made = connection.execute(select(ROLL_UPS.c.seconds, ROLL_UPS.c.until))
    return {row.seconds: row.until for row in made}


def move_marks_back(connection: Connection, at: int) -> None:
    """Sees to it that the buckets of a point just written, and later ones, are made anew."""
    moment = literal(at, BigInteger)
    bucket = moment - moment % (ROLL_UPS.c.seconds * 1000)
    connection.execute(update(ROLL_UPS).where(ROLL_UPS.c.until > at).values(until=bucket))


def roll_up_step(connection: Connection, level: Level, now: int) -> bool:
    """Makes the next closed buckets of a level; whether there are more to make."""
    source = LEVELS[LEVELS.index(level) - 1]
    made = marks(connection)
    closed = now if source is RAW else made[source.seconds]
    closed -= closed % level.width
    if made[level.seconds] >= closed:
        return False
    oldest = edge(func.min, source, made[level.seconds], closed)
    first = connection.execute(oldest).scalar_one()
    stop = closed
    if first is not None:
        start = first - first % level.width
        stop = min(start + _step(connection, source, level.width), closed)
        _make(connection, level, source, start, stop)
    connection.execute(
        update(ROLL_UPS).where(ROLL_UPS.c.seconds == level.seconds).values(until=stop)
    )
    return stop < closed


def prune_step(connection: Connection, level: Level, now: int) -> bool:
    """Removes the oldest rows of a level that are past their keeping; whether there are more.

    What the next level is not yet made of stays. The horizon is one of its whole buckets, so that
    none is left with a part of its source.
    """
    made = marks(connection)
    coarser = LEVELS[LEVELS.index(level) + 1 :]
    horizon = min([now - level.kept, *(made[other.seconds] for other in coarser)])
    horizon -= horizon % (coarser[0] if coarser else level).width
    first = connection.execute(edge(func.min, level, 0, horizon)).scalar_one()
    if first is None:
        return False
    stop = min(first + _step(connection, level, MINUTE), horizon)
    connection.execute(delete(level.table).where(*window(level, first, stop)))
    return stop < horizon


def _step(connection: Connection, level: Level, unit: int) -> int:
    """How long a stretch of a level has about ``_ROWS_A_STEP`` rows, in whole units."""
    gpus = connection.execute(select(func.count()).select_from(GPUS)).scalar_one()
    stretch = _ROWS_A_STEP // gpus * (level.width or _USUAL_INTERVAL)
    return max(unit, stretch - stretch % unit)


def _make(connection: Connection, level: Level, source: Level, start: int, stop: int) -> None:
    pieces = rows(source, *window(source, start, stop)).subquery()
    statement = upsert(connection, level.table).from_select(COLUMNS, buckets(pieces, level.width))
    new = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["gpu", "at"],
            set_={name: new[name] for name in COLUMNS[2:]},
            where=new.points >= level.table.c.points,
        )
    )
