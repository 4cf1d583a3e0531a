"""Which rows answer a range: the level that fits it, and finer ones for what is not rolled up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, func, select, union_all

from tierwatch_dashboard.history.aggregate import buckets, rows
from tierwatch_dashboard.history.tables import LEVELS, MINUTE, RAW, Level
from tierwatch_dashboard.history.windows import Pick, edge, window

_READ_FOR_ONE = 3
"""Rows that may be read for each bucket that is told."""


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for: keys of GPUs, and milliseconds from ``start`` to before ``stop``."""

    gpus: tuple[int, ...]
    start: int
    stop: int


def choose(connection: Connection, asked: Range, max_points: int) -> tuple[Level, int]:
    """The level that answers a range, and the width of its buckets in milliseconds.

    The finest that reaches back as far as any and has at most ``max_points`` for each GPU, or few
    enough more to be read and put together in buckets of several; where there is none, the coarsest
    in such buckets.
    """
    firsts = [_edge(connection, func.min, level, asked) for level in LEVELS]
    lasts = [_edge(connection, func.max, level, asked) for level in LEVELS]
    last = min(asked.stop, max((at + MINUTE for at in lasts if at is not None), default=0))
    first = asked.stop
    for place, level in enumerate(LEVELS):
        own, coarser = firsts[place], zip(LEVELS[place + 1 :], firsts[place + 1 :], strict=True)
        if own is not None:
            first = min(first, max(asked.start, own))
        if any(at is not None and at + other.width <= first for other, at in coarser):
            continue
        if level is RAW:
            # What comes more seldom than once a minute is told as finely by the minute.
            if (last - first) // MINUTE <= max_points and not any(
                _has_more_points(connection, max_points, asked, gpu) for gpu in asked.gpus
            ):
                return RAW, 0
        elif (last - first) // level.width + 2 <= _READ_FOR_ONE * max_points:
            return level, _width(level, last - first, max_points)
    return LEVELS[-1], _width(LEVELS[-1], last - first, max_points)


def _width(level: Level, span: int, max_points: int) -> int:
    several = -(-span // (level.width * max(1, max_points - 2)))
    return level.width * max(1, several)


def answer(asked: Range, level: Level, width: int, made: Mapping[int, int]) -> Select[Any]:
    """The rows of a range by GPU and moment; ``made`` says up to when each level is."""
    if level is RAW:
        points = rows(RAW, *window(RAW, asked.start, asked.stop, asked.gpus))
        return points.order_by(RAW.table.c.gpu, RAW.table.c.at)
    pieces: list[Select[Any]] = []
    start = asked.start - asked.start % width
    for one in reversed(LEVELS[: LEVELS.index(level) + 1]):
        stop = min(asked.stop, made.get(one.seconds, asked.stop))
        pieces.append(rows(one, *window(one, start, stop, asked.gpus)))
        start = max(start, stop)
    return buckets(union_all(*pieces).subquery(), width).order_by("gpu", "at")


def _edge(connection: Connection, pick: Pick, level: Level, asked: Range) -> int | None:
    found = edge(pick, level, asked.start, asked.stop, asked.gpus)
    return connection.execute(found).scalar_one()


def _has_more_points(connection: Connection, count: int, asked: Range, gpu: int) -> bool:
    """Whether a GPU has more points than that; reads no further than it must."""
    within = window(RAW, asked.start, asked.stop, (gpu,))
    beyond = select(RAW.table.c.at).where(*within).limit(1).offset(count)
    return connection.execute(beyond).first() is not None
