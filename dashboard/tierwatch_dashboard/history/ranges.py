"""Which rows answer a range: the level that fits it, and finer ones for what is not rolled up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, func, select, union_all

from tierwatch_dashboard.history.aggregate import buckets, edge, rows
from tierwatch_dashboard.history.tables import GPUS, LEVELS, RAW, Level


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for: keys of GPUs, and moments in milliseconds, both included."""

    gpus: tuple[int, ...]
    start: int
    end: int


def choose(connection: Connection, asked: Range, max_points: int) -> tuple[Level, int]:
    """The level that answers a range, and the width of its buckets in milliseconds.

    The finest that reaches back as far as any and has at most ``max_points`` for each GPU; where
    none is so coarse, the coarsest in buckets of several of its own.
    """
    of = GPUS.c.id.in_(asked.gpus)
    spans = (asked.start, asked.end, of)
    firsts = [connection.execute(edge(func.min, level, *spans)).scalar() for level in LEVELS]
    lasts = [connection.execute(edge(func.max, level, *spans)).scalar() for level in LEVELS]
    last = max((at for at in lasts if at is not None), default=asked.start)
    first = last
    for place, level in enumerate(LEVELS):
        first = min(first, asked.end if firsts[place] is None else firsts[place])
        coarser = zip(LEVELS[place + 1 :], firsts[place + 1 :], strict=True)
        if any(at is not None and at + other.width <= first for other, at in coarser):
            continue
        if level is RAW:
            if not _more_points_than(connection, max_points, asked):
                return RAW, 0
        elif (last - first) // level.width + 2 <= max_points:
            return level, level.width
    widest = LEVELS[-1]
    return widest, widest.width * -(-(last - first) // (widest.width * max(1, max_points - 2)))


def answer(asked: Range, level: Level, width: int, made: Mapping[int, int]) -> Select[Any]:
    """The rows of a range by GPU and moment; ``made`` says up to when each level is."""
    if level is RAW:
        c = RAW.table.c
        return rows(RAW, c.gpu.in_(asked.gpus), c.at >= asked.start, c.at <= asked.end).order_by(
            c.gpu, c.at
        )
    pieces: list[Select[Any]] = []
    start = asked.start - asked.start % width
    for one in reversed(LEVELS[: LEVELS.index(level) + 1]):
        c = one.table.c
        stop = made.get(one.seconds, asked.end + 1)
        window = (c.gpu.in_(asked.gpus), c.at >= start, c.at < stop, c.at <= asked.end)
        pieces.append(rows(one, *window))
        start = max(start, stop)
    grouped = buckets(union_all(*pieces).subquery(), width)
    return grouped.order_by("gpu", "at")


def _more_points_than(connection: Connection, count: int, asked: Range) -> bool:
    """Whether a GPU has more points than that in the range; reads no further than it must."""
    c = RAW.table.c
    beyond = (
        select(c.at)
        .where(c.gpu == GPUS.c.id, c.at >= asked.start, c.at <= asked.end)
        .limit(1)
        .offset(count)
        .scalar_subquery()
    )
    each = select(beyond.label("at")).where(GPUS.c.id.in_(asked.gpus)).subquery()
    return connection.execute(select(func.count(each.c.at))).scalar_one() > 0
