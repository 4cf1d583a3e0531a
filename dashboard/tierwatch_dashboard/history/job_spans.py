"""The jobs of one machine over a span, as a chart shows them: each, or counted together."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Engine, Row, Select, func, select

from tierwatch_agent.snapshot import Outcome
from tierwatch_dashboard.database import reading
from tierwatch_dashboard.history.rows import milliseconds, seconds
from tierwatch_dashboard.history.tables import JOBS

LONGEST_SECONDS = 6 * 3600.0
"""A job that ends after a span may have run in it; longer ones are not looked for."""

_OF_ONE = ("outcome", "ended_at", "duration", "gpu", "model", "width", "height")


class JobSpan(msgspec.Struct, frozen=True, kw_only=True):
    """One job, or several of one outcome and GPU that ended about the same time. Unix seconds."""

    outcome: Outcome
    start: float
    end: float
    count: int = 1
    gpu: str | None = None
    """Its UUID."""
    model: str | None = None
    width: int | None = None
    height: int | None = None
    duration_seconds: float | None = None
    """Of one job; of several on average."""


def job_spans(
    engine: Engine, machine: str, start: float, end: float, most: int
) -> tuple[JobSpan, ...]:
    """A machine's jobs of a span by their end; more than ``most`` are counted together.

    Raises:
        DatabaseError: They could not be read.
    """
    c = JOBS.c
    first, last = milliseconds(start), milliseconds(end)
    begins = c.ended_at - func.coalesce(c.duration, 0)
    within = (
        c.machine == machine,
        c.ended_at >= first,
        c.ended_at <= last + milliseconds(LONGEST_SECONDS),
        begins <= last,
    )
    wanted: list[ColumnElement[Any]] = [c[name] for name in _OF_ONE]
    each = select(*wanted).where(*within).order_by(c.ended_at).limit(most + 1)
    with reading(engine) as connection:
        found = connection.execute(each).all()
        if len(found) <= most:
            return tuple(map(_one, found))
        step = max(1, -(-(last - first) // most))
        part = c.ended_at - c.ended_at % step
        columns: list[ColumnElement[Any]] = [
            c.outcome,
            c.gpu,
            func.min(begins).label("began_at"),
            func.max(c.ended_at).label("ended_at"),
            func.count().label("jobs"),
            func.avg(c.duration).label("duration"),
        ]
        together: Select[Any] = select(*columns).where(*within)
        together = together.group_by(part, c.outcome, c.gpu).order_by(func.max(c.ended_at))
        return tuple(map(_several, connection.execute(together)))


def _one(row: Row[Any]) -> JobSpan:
    return JobSpan(
        outcome=row.outcome,
        start=seconds(row.ended_at - (row.duration or 0)),
        end=seconds(row.ended_at),
        gpu=row.gpu,
        model=row.model,
        width=row.width,
        height=row.height,
        duration_seconds=None if row.duration is None else seconds(row.duration),
    )


def _several(row: Row[Any]) -> JobSpan:
    return JobSpan(
        outcome=row.outcome,
        start=seconds(row.began_at),
        end=seconds(row.ended_at),
        count=row.jobs,
        gpu=row.gpu,
        duration_seconds=None if row.duration is None else float(row.duration) / 1000,
    )
