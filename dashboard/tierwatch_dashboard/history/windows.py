"""Where rows of a span are sought, so that none but its own are read, whatever a table's order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import CTE, BigInteger, ColumnElement, Select, cast, func, select

from tierwatch_dashboard.history.tables import GPUS, MINUTE, POINTS, RAW, Level

Pick = Callable[[ColumnElement[Any]], ColumnElement[Any]]
"""``func.min`` or ``func.max``."""


def window(
    level: Level, start: int, stop: int, gpus: Sequence[int] | None = None
) -> list[ColumnElement[bool]]:
    """Conditions for the rows from ``start`` to before ``stop``, of some GPUs or of every one."""
    c = level.table.c
    span = [c.at >= start, c.at < stop]
    if level is not RAW:
        return [c.gpu.in_(select(GPUS.c.id) if gpus is None else gpus), *span]
    if gpus is None:
        return [*_whole_minutes(start, stop), *span]
    return [c.minute.in_(select(_minutes(start, stop).c.minute)), c.gpu.in_(gpus), *span]


def edge(
    pick: Pick,
    level: Level,
    start: int,
    stop: int,
    gpus: Sequence[int] | None = None,
) -> Select[Any]:
    """The first (``func.min``) or last (``func.max``) moment from ``start`` to before ``stop``.

    Of points the minute that it is in, whatever their GPU.
    """
    if level is RAW:
        return select(cast(pick(POINTS.c.minute), BigInteger) * MINUTE).where(
            *_whole_minutes(start, stop)
        )
    c = level.table.c
    of_gpu = select(pick(c.at)).where(c.gpu == GPUS.c.id, c.at >= start, c.at < stop)
    each = select(of_gpu.scalar_subquery().label("at")).select_from(GPUS)
    if gpus is not None:
        each = each.where(GPUS.c.id.in_(gpus))
    return select(pick(each.subquery().c.at))


def _whole_minutes(start: int, stop: int) -> list[ColumnElement[bool]]:
    return [POINTS.c.minute >= start // MINUTE, POINTS.c.minute <= (stop - 1) // MINUTE]


def _minutes(start: int, stop: int) -> CTE:
    """The minutes of a span that have points, each found from the one before."""
    minute = POINTS.c.minute
    found = select(func.min(minute).label("minute")).where(*_whole_minutes(start, stop))
    minutes = found.cte("minutes", recursive=True)
    following = (
        select(func.min(minute))
        .where(minute > minutes.c.minute, minute <= (stop - 1) // MINUTE)
        .correlate(minutes)
        .scalar_subquery()
    )
    return minutes.union_all(select(following).where(minutes.c.minute.is_not(None)))
