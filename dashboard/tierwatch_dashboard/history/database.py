"""History in the dashboard's own database: points in, roll-ups in the background, series out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter

from sqlalchemy import Connection, Engine, select

from tierwatch_dashboard.database import insert_rows, reading, upsert, writing
from tierwatch_dashboard.history import GpuPoint, Series
from tierwatch_dashboard.history.gpu_keys import GpuKeys
from tierwatch_dashboard.history.keeping import marks, move_marks_back, prune_step, roll_up_step
from tierwatch_dashboard.history.ranges import Range, answer, choose
from tierwatch_dashboard.history.rows import POINT_COLUMNS, bucket_of, milliseconds, row_of
from tierwatch_dashboard.history.tables import GPUS, LEVELS, POINTS, Level

MAX_POINTS = 730
"""Buckets of one GPU in a series, at most: what a chart of a screen's width can show."""

_PAUSE_SECONDS = 0.01
"""Between two steps of a long clean-up, so that a waiting append has its turn."""


class DatabaseHistory:
    """The dashboard's own store (see ``History``), on SQLite or PostgreSQL.

    One object serves every thread of the dashboard.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._keys = GpuKeys()
        self._turn = threading.Lock()

    def append(self, points: Sequence[GpuPoint]) -> None:
        """Commits the points, all or none; when it returns they survive a kill -9.

        Moments are kept to the millisecond; a point that is already there stays as it is. A figure
        that is none (NaN, negative bytes) is unknown.

        Raises:
            DatabaseError: They could not be written, and none of them is.
            ValueError: A point's moment is none.
        """
        if not points:
            return
        with self._turn:
            with writing(self._engine) as connection:
                keys = self._keys.of(connection, ((p.machine, p.gpu) for p in points))
                rows = [row_of(point, keys[point.machine, point.gpu]) for point in points]
                statement = upsert(connection, POINTS).on_conflict_do_nothing()
                insert_rows(connection, statement, POINT_COLUMNS, rows)
                move_marks_back(connection, milliseconds(min(point.at for point in points)))
            self._keys.keep(keys)

    def series(
        self, machine: str, start: float, end: float, max_points: int = MAX_POINTS
    ) -> tuple[Series, ...]:
        """Each GPU of a machine that has points from ``start`` to ``end``, both included.

        The finest resolution that is kept from the range's first point on and stays within
        ``max_points`` for each GPU, or whole multiples of it. What
        is not rolled up yet is made of finer rows, so that a series reaches its end. Where nothing
        was recorded there is no bucket.
        """
        with reading(self._engine) as connection:
            keys = select(GPUS.c.id, GPUS.c.gpu).where(GPUS.c.machine == machine)
            names = {row.id: row.gpu for row in connection.execute(keys)}
            stop = milliseconds(end) + 1
            asked = Range(gpus=tuple(names), start=milliseconds(start), stop=stop)
            level, width = choose(connection, asked, max_points)
            found = connection.execute(answer(asked, level, width, marks(connection))).all()
            made = [
                Series(
                    machine=machine,
                    gpu=names[key],
                    resolution_seconds=width // 1000,
                    buckets=tuple(bucket_of(row) for row in rows),
                )
                for key, rows in groupby(found, key=itemgetter(0))
            ]
        return tuple(sorted(made, key=lambda series: _position(series.gpu)))

    def roll_up(self, now: float) -> None:
        """Makes the buckets that are closed and not yet made; safe to repeat and to cut short."""
        for level in LEVELS[1:]:
            self._in_steps(roll_up_step, level, now)

    def prune(self, now: float) -> None:
        """Removes what is past its keeping, save what is not rolled up yet.

        An SQLite file keeps its size: the next points take the room.
        """
        for level in LEVELS:
            self._in_steps(prune_step, level, now)

    def close(self) -> None:
        """Lets go of the database's connections."""
        self._engine.dispose()

    def _in_steps(
        self, step: Callable[[Connection, Level, int], bool], level: Level, now: float
    ) -> None:
        more = True
        while more:
            with self._turn, writing(self._engine) as connection:
                more = step(connection, level, milliseconds(now))
            if more:
                time.sleep(_PAUSE_SECONDS)


def _position(gpu: str) -> list[tuple[int, str]]:
    """A GPU's index in the order people count: 2 before 10, 0:1 after 0."""
    return [(len(part), part) for part in gpu.split(":")]
