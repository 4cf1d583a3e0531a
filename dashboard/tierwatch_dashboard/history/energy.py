"""What GPUs drew over a span: mean power × time, of the buckets whose power is known."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Engine, Select, func, select

from tierwatch_dashboard.database import reading
from tierwatch_dashboard.history.keeping import marks
from tierwatch_dashboard.history.rows import milliseconds
from tierwatch_dashboard.history.tables import BY_MINUTE, BY_TEN_MINUTES, GPUS, Level
from tierwatch_dashboard.history.windows import window

_MILLIWATTS = 1000


class Energy(msgspec.Struct, frozen=True, kw_only=True):
    """What the GPUs of a machine drew."""

    machine: str
    gpus: int
    """How many of them were seen."""
    joules: float
    power_seconds: float
    """For how long their power is known, added up over them."""


class EnergyLog:
    """Reads the rolled-up power; every method raises DatabaseError where it cannot."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def energy(self, start: float, end: float) -> tuple[Energy, ...]:
        """What each machine drew from ``start`` to before ``end``, as far as it is rolled up.

        A bucket counts whole where its power is known at any moment of it.
        """
        first, last = milliseconds(start), milliseconds(end)
        with reading(self._engine) as connection:
            made = marks(connection)
            coarse = min(last, max(first, made.get(BY_TEN_MINUTES.seconds, last)))
            fine = min(last, max(coarse, made.get(BY_MINUTE.seconds, last)))
            parts = [(BY_TEN_MINUTES, first, coarse), (BY_MINUTE, coarse, fine)]
            rows = [
                (level.seconds, row)
                for level, begin, stop in parts
                for row in connection.execute(_sums(level, begin, stop))
            ]
        found: dict[str, Energy] = {}
        for width, row in rows:
            known = found.get(row.machine) or Energy(
                machine=row.machine, gpus=0, joules=0.0, power_seconds=0.0
            )
            found[row.machine] = Energy(
                machine=row.machine,
                gpus=max(known.gpus, row.gpus),
                joules=known.joules + float(row.power or 0) * width / _MILLIWATTS,
                power_seconds=known.power_seconds + float(row.known) * width,
            )
        return tuple(found.values())


def _sums(level: Level, start: int, stop: int) -> Select[Any]:
    c = level.table.c
    within = window(level, start, stop)
    each: list[ColumnElement[Any]] = [
        c.gpu,
        func.sum(c.power).label("power"),
        func.count(c.power).label("known"),
    ]
    by_gpu = select(*each).where(*within).group_by(c.gpu).subquery()
    together: list[ColumnElement[Any]] = [
        GPUS.c.machine,
        func.count().label("gpus"),
        func.sum(by_gpu.c.power).label("power"),
        func.sum(by_gpu.c.known).label("known"),
    ]
    of_gpu = by_gpu.join(GPUS, GPUS.c.id == by_gpu.c.gpu)
    return select(*together).select_from(of_gpu).group_by(GPUS.c.machine)
