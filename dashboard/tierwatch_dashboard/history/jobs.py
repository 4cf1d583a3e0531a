"""Finished jobs: each exactly once by its machine and its id, kept for 90 days.

An agent tells its jobs of the last hour again and again, to a dashboard that may have been killed
between hearing them and storing them. So a job that is there already is simply passed over, and
whoever is in doubt writes it again.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
from sqlalchemy import (
    ColumnElement,
    Engine,
    RowMapping,
    Select,
    delete,
    false,
    func,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from tierwatch_agent.snapshot import JobRecord, Outcome
from tierwatch_dashboard.database import reading, upsert, writing
from tierwatch_dashboard.history.rows import milliseconds, seconds, storable
from tierwatch_dashboard.history.tables import JOBS

KEPT_SECONDS = 90 * 86400.0

_PRUNED_AT_ONCE = 10_000
"""Rows in one transaction, so that a waiting writer has its turn."""

_PAUSE_SECONDS = 0.01

LOOKED_THROUGH = 1_000_000
"""Jobs that a search by words goes through at most, the latest: a second or two."""

_SOUGHT_APART = 50
"""Up to so many machines are sought one by one, each by the index that begins with it."""
_LARGEST = 2**62
_LARGEST_INTEGER = 2**31
_LARGE = frozenset({"pixels", "peak_vram"})

_SAME_NAMES = (
    "id", "server", "outcome", "model", "width", "height", "batch", "steps", "images", "pixels",
    "gpu", "error",
)  # fmt: skip


class FinishedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job and the machine that ran it."""

    machine: str
    job: JobRecord


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs are sought; None: no matter which."""

    machines: frozenset[str] | None = None
    server: str | None = None
    """A kind of generation server: "comfyui"."""
    outcome: Outcome | None = None
    since: float | None = None
    """Ended at this moment or later. Unix seconds."""
    until: float | None = None
    """Ended before."""
    model: str | None = None
    """A part of its name, in capitals or not."""
    error: str | None = None
    """A part of its error, in capitals or not."""

    @property
    def looks(self) -> bool:
        """Whether jobs must be looked at one by one: no index leads to them."""
        return any(each is not None for each in (self.server, self.model, self.error))


class StoredJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it is kept."""

    key: int
    """Of this database alone: where the next page of a list begins."""
    machine: str
    job: JobRecord


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """What one GPU of a machine made in a span of time."""

    machine: str
    gpu: str | None
    """Its UUID; None: the jobs of which the agent does not know where they ran."""
    jobs: Mapping[Outcome, int]
    images: int
    pixels: int
    busy_seconds: float
    """Durations of its jobs, added up."""


class JobLog(Protocol):
    """The part of the store that pages read."""

    def recent(
        self,
        limit: int,
        machine: str | None = None,
        outcome: Outcome | None = None,
        before: int | None = None,
    ) -> tuple[StoredJob, ...]:
        """Jobs by their end, the latest first."""
        ...

    def find(
        self, limit: int, sought: JobFilter, before: int | None = None
    ) -> tuple[StoredJob, ...]:
        """Those that are sought, by their end, the latest first."""
        ...


class JobStore:
    """Safe to call from several threads; every method raises DatabaseError where it cannot."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def append(self, jobs: Sequence[FinishedJob]) -> None:
        """Commits the jobs that are not there yet, all or none.

        Raises:
            DatabaseError: They could not be written, and none of them is.
            ValueError: The end of one is no moment.
        """
        if not jobs:
            return
        rows = [_row_of(each) for each in jobs]
        with writing(self._engine) as connection:
            connection.execute(upsert(connection, JOBS).on_conflict_do_nothing(), rows)

    def recent(
        self,
        limit: int,
        machine: str | None = None,
        outcome: Outcome | None = None,
        before: int | None = None,
    ) -> tuple[StoredJob, ...]:
        """Jobs by their end, the latest first; ``before``: those after the one of that key."""
        machines = None if machine is None else frozenset((machine,))
        return self.find(limit, JobFilter(machines=machines, outcome=outcome), before)

    def find(
        self, limit: int, sought: JobFilter, before: int | None = None
    ) -> tuple[StoredJob, ...]:
        """Those that are sought, by their end, the latest first; ``before`` as in ``recent``.

        Where jobs must be looked at one by one, at most the last ``LOOKED_THROUGH`` are.
        """
        statement = _latest(limit, sought, before)
        with reading(self._engine) as connection:
            return tuple(_job_of(row) for row in connection.execute(statement).mappings())

    def throughput(self, start: float, end: float) -> tuple[Throughput, ...]:
        """What each machine's GPUs made of jobs that ended from ``start`` to before ``end``."""
        c = JOBS.c
        sums = (
            select(
                c.machine,
                c.gpu,
                c.outcome,
                func.count().label("jobs"),
                func.coalesce(func.sum(c.images), 0).label("images"),
                func.coalesce(func.sum(c.pixels), 0).label("pixels"),
                func.coalesce(func.sum(c.duration), 0).label("duration"),
            )
            .where(c.ended_at >= milliseconds(start), c.ended_at < milliseconds(end))
            .group_by(c.machine, c.gpu, c.outcome)
        )
        by_gpu: dict[tuple[str, str | None], list[Any]] = {}
        with reading(self._engine) as connection:
            for row in connection.execute(sums):
                by_gpu.setdefault((row.machine, row.gpu), []).append(row)
        return tuple(
            Throughput(
                machine=machine,
                gpu=gpu,
                jobs={row.outcome: row.jobs for row in rows},
                # PostgreSQL adds integers up to decimals.
                images=int(sum(row.images for row in rows)),
                pixels=int(sum(row.pixels for row in rows)),
                busy_seconds=seconds(int(sum(row.duration for row in rows))),
            )
            for (machine, gpu), rows in by_gpu.items()
        )

    def usual_seconds(self, start: float, end: float) -> dict[tuple[str, str], float]:
        """Median duration of the jobs that succeeded in a span, by machine and server."""
        c = JOBS.c
        done = select(c.machine, c.server, c.duration).where(
            c.outcome == "success",
            c.ended_at >= milliseconds(start),
            c.ended_at < milliseconds(end),
            c.duration.is_not(None),
        )
        durations: dict[tuple[str, str], list[int]] = {}
        with reading(self._engine) as connection:
            for row in connection.execute(done):
                durations.setdefault((row.machine, row.server), []).append(row.duration)
        return {key: statistics.median(found) / 1000 for key, found in durations.items()}

    def prune(self, now: float) -> None:
        """Removes what ended more than 90 days ago, in steps."""
        c = JOBS.c
        old = select(c.key).where(c.ended_at <= milliseconds(now - KEPT_SECONDS))
        step = delete(JOBS).where(c.key.in_(old.limit(_PRUNED_AT_ONCE)))
        while True:
            with writing(self._engine) as connection:
                removed = connection.execute(step).rowcount
            if removed < _PRUNED_AT_ONCE:
                return
            time.sleep(_PAUSE_SECONDS)


def _latest(limit: int, sought: JobFilter, before: int | None) -> Select[Any]:
    c = JOBS.c
    where = _conditions(sought)
    if before is not None:
        last = select(c.ended_at, c.key).where(c.key == before).scalar_subquery()
        where.append(tuple_(c.ended_at, c.key) < last)
    machines = sorted(sought.machines or ())
    if sought.machines is None or len(machines) > _SOUGHT_APART:
        if sought.machines is not None:
            # As an expression, so that jobs are gone through by their end and not by machine.
            where.append(func.coalesce(c.machine, "").in_(machines))
        return select(JOBS).where(*where).order_by(*_latest_first(c)).limit(limit)
    if not machines:
        return select(JOBS).where(false())
    of_each = [
        select(JOBS).where(c.machine == each, *where).order_by(*_latest_first(c)).limit(limit)
        for each in machines
    ]
    if len(of_each) == 1:
        return of_each[0]
    together = union_all(*(select(each.subquery()) for each in of_each)).subquery()
    return select(together).order_by(*_latest_first(together.c)).limit(limit)


def _latest_first(c: ReadOnlyColumnCollection[str, Any]) -> tuple[ColumnElement[Any], ...]:
    return c.ended_at.desc(), c.key.desc()


def _conditions(sought: JobFilter) -> list[ColumnElement[bool]]:
    c = JOBS.c
    where: list[ColumnElement[bool]] = []
    if sought.outcome is not None:
        where.append(c.outcome == sought.outcome)
    if sought.since is not None:
        where.append(c.ended_at >= milliseconds(sought.since))
    if sought.until is not None:
        where.append(c.ended_at < milliseconds(sought.until))
    if sought.server is not None:
        port = c.server.startswith(f"{sought.server}-", autoescape=True)
        where.append(or_(c.server == sought.server, port))
    for column, part in ((c.model, sought.model), (c.error, sought.error)):
        if part is not None:
            where.append(func.lower(column).contains(part.lower(), autoescape=True))
    if sought.looks:
        newest = select(func.max(c.key)).scalar_subquery()
        where.append(c.key > newest - LOOKED_THROUGH)
    return where


def _row_of(each: FinishedJob) -> dict[str, Any]:
    job = each.job
    return {name: _kept(name, getattr(job, name)) for name in _SAME_NAMES} | {
        "machine": each.machine,
        "ended_at": milliseconds(job.ended_at),
        "started_at": _thousandths(job.started_at),
        "duration": _thousandths(job.duration_seconds),
        "peak_vram": _kept("peak_vram", job.peak_vram_bytes),
    }


def _job_of(row: RowMapping) -> StoredJob:
    return StoredJob(
        key=row["key"],
        machine=row["machine"],
        job=JobRecord(
            **{name: row[name] for name in _SAME_NAMES},
            ended_at=seconds(row["ended_at"]),
            started_at=_seconds(row["started_at"]),
            duration_seconds=_seconds(row["duration"]),
            peak_vram_bytes=row["peak_vram"],
        ),
    )


def _kept(name: str, value: str | int | None) -> str | int | None:
    """A figure that is none (negative, or beyond any size) is unknown."""
    if isinstance(value, str):
        return storable(value)
    most = _LARGEST if name in _LARGE else _LARGEST_INTEGER
    return value if value is not None and 0 <= value < most else None


def _thousandths(figure: float | None) -> int | None:
    return None if figure is None or not 0 <= figure < _LARGEST / 1000 else round(figure * 1000)


def _seconds(figure: int | None) -> float | None:
    return None if figure is None else seconds(figure)
