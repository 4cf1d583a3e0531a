"""Points to buckets, in SQL: the same figures for the roll-ups that are kept and for a chart.

Means count every point once: a bucket made of buckets weighs each by its number of points.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    case,
    cast,
    func,
    literal,
    select,
)

from tierwatch_dashboard.history.tables import RAW, Level

COLUMNS: tuple[str, ...] = (
    "gpu",
    "at",
    "points",
    "total",
    "used",
    "used_max",
    "available",
    "available_min",
    "others",
    "utilization",
    "temperature",
    "temperature_max",
    "power",
    "own",
    "clock",
    "heat",
    "capped",
)
"""The columns of ``rows`` and ``buckets``, which are those of the rolled-up tables."""

_OF_ONE_POINT = {"used_max": "used", "available_min": "available", "temperature_max": "temperature"}
_IN_PERCENT = frozenset({"heat", "capped"})


def rows(level: Level, *where: ColumnElement[bool]) -> Select[Any]:
    """The rows of a level in the columns of a bucket; a point is a bucket of one."""
    c = level.table.c
    if level is not RAW:
        return select(*(c[name] for name in COLUMNS)).where(*where)
    return select(*(_of_a_point(name).label(name) for name in COLUMNS)).where(*where)


def buckets(pieces: FromClause, width: int) -> Select[Any]:
    """Rows of ``rows``, however many levels they are from, in buckets of ``width`` milliseconds."""
    each = pieces.c
    placed = select(
        (each.at - each.at % width).label("bucket"),
        # So that PostgreSQL multiplies figures by them without running over.
        cast(each.points, BigInteger).label("points"),
        *(each[name] for name in COLUMNS if name not in ("at", "points")),
    ).subquery()
    c = placed.c
    columns: list[ColumnElement[Any]] = [
        c.gpu,
        c.bucket.label("at"),
        func.sum(c.points).label("points"),
        func.max(c.total).label("total"),
        _mean(c.used, c.points, BigInteger).label("used"),
        func.max(c.used_max).label("used_max"),
        _mean(c.available, c.points, BigInteger).label("available"),
        func.min(c.available_min).label("available_min"),
        _mean(c.others, c.points, BigInteger).label("others"),
        _mean(c.utilization, c.points, Integer).label("utilization"),
        _mean(c.temperature, c.points, Integer).label("temperature"),
        func.max(c.temperature_max).label("temperature_max"),
        *(
            _mean(c[name], c.points, Integer).label(name)
            for name in ("power", "own", "clock", "heat", "capped")
        ),
    ]
    return select(*columns).group_by(c.gpu, c.bucket)


def _of_a_point(name: str) -> ColumnElement[Any]:
    c = RAW.table.c
    if name == "points":
        return literal(1, Integer)
    if name in _IN_PERCENT:
        return c[name] * 100
    return c[_OF_ONE_POINT.get(name, name)]


def _mean(figure: ColumnElement[Any], points: ColumnElement[Any], kind: Any) -> ColumnElement[Any]:
    known = func.sum(case((figure.is_not(None), points)))
    return cast(func.round(func.sum(figure * points) * 1.0 / known), kind)
