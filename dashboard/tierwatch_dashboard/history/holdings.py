"""Who held a GPU's memory beside production's own, by name: a row for each change, for 90 days."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    ScalarSelect,
    Select,
    and_,
    delete,
    exists,
    func,
    select,
)

from tierwatch_dashboard.database import reading, upsert, writing
from tierwatch_dashboard.history.gpu_keys import GpuKeys
from tierwatch_dashboard.history.rows import bytes_of, mebibytes, milliseconds, seconds, storable
from tierwatch_dashboard.history.tables import BY_TEN_MINUTES, GPUS, HOLDERS, HOLDINGS
from tierwatch_dashboard.holder_changes import Holder, HolderChange

_PRUNED_AT_ONCE = 500
"""Holders whose past is removed in one transaction, so that a waiting writer has its turn."""
_PAUSE_SECONDS = 0.01
_WHOSE: tuple[ColumnElement[Any], ...] = (
    GPUS.c.machine,
    GPUS.c.gpu.label("place"),
    HOLDERS.c.id,
    HOLDERS.c.name,
    HOLDERS.c.server,
)


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What a holder had over a part of a span. Unix seconds, bytes."""

    at: float
    """Of the part's last change."""
    most_bytes: int
    last_bytes: int
    """From ``at`` on."""


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """One holder's past within a span."""

    holder: Holder
    before_bytes: int
    """What it had as the span began."""
    parts: tuple[Held, ...]
    """Oldest first; where nothing changed there is none."""


class HoldingStore:
    """Safe to call from several threads; every method raises DatabaseError where it cannot."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._keys = GpuKeys()
        self._holders: dict[Holder, int] = {}

    def append(self, changes: Sequence[HolderChange]) -> None:
        """Commits the changes, all or none."""
        if not changes:
            return
        with writing(self._engine) as connection:
            holders = {change.holder for change in changes}
            keys = self._keys.of(connection, ((h.machine, h.gpu) for h in holders))
            ids = self._ids_of(connection, holders, keys)
            statement = upsert(connection, HOLDINGS)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["holder", "at"], set_={"size": statement.excluded.size}
                ),
                [
                    {
                        "holder": ids[change.holder],
                        "at": milliseconds(change.at),
                        "size": mebibytes(change.size_bytes) or 0,
                    }
                    for change in changes
                ],
            )
        self._keys.keep(keys)
        self._holders |= ids

    def current(self) -> tuple[HolderChange, ...]:
        """What was written last of every holder that was there then."""
        last = _last_before(None)
        found = (
            select(*_WHOSE, HOLDINGS.c.at, HOLDINGS.c.size)
            .join_from(HOLDERS, GPUS)
            .join(HOLDINGS, and_(HOLDINGS.c.holder == HOLDERS.c.id, HOLDINGS.c.at == last))
            .where(HOLDINGS.c.size > 0)
        )
        with reading(self._engine) as connection:
            return tuple(
                HolderChange(holder=_holder(row), at=seconds(row.at), size_bytes=bytes_of(row.size))
                for row in connection.execute(found)
            )

    def during(self, machine: str, start: float, end: float, width: float) -> tuple[Holding, ...]:
        """Who held memory of a machine's GPUs from ``start`` to ``end``.

        Args:
            machine: Its id.
            start: Unix seconds.
            end: Unix seconds, included.
            width: Seconds that are told as one part: whole multiples of it since 1970.
        """
        first, last, step = milliseconds(start), milliseconds(end), max(1, milliseconds(width))
        with reading(self._engine) as connection:
            before = connection.execute(_before(machine, first)).all()
            changed = connection.execute(_parts([row.id for row in before], first, last, step))
            parts = {key: list(rows) for key, rows in groupby(changed, lambda row: row.holder)}
        return tuple(
            Holding(
                holder=_holder(row),
                before_bytes=bytes_of(row.size or 0),
                parts=tuple(map(_part, parts.get(row.id, ()))),
            )
            for row in before
            if row.size or row.id in parts
        )

    def prune(self, now: float) -> None:
        """Removes what ended more than 90 days ago, save what a holder still has."""
        c = HOLDINGS.c
        horizon = milliseconds(now) - BY_TEN_MINUTES.kept
        later = HOLDINGS.alias("later")
        followed = exists().where(
            and_(later.c.holder == c.holder, later.c.at > c.at, later.c.at <= horizon)
        )
        over = delete(HOLDINGS).where(c.at <= horizon, followed | (c.size == 0))
        with reading(self._engine) as connection:
            ids = list(connection.execute(select(HOLDERS.c.id).order_by(HOLDERS.c.id)).scalars())
        for place in range(0, len(ids), _PRUNED_AT_ONCE):
            some = ids[place : place + _PRUNED_AT_ONCE]
            with writing(self._engine) as connection:
                connection.execute(over.where(c.holder.in_(some)))
            time.sleep(_PAUSE_SECONDS)

    def _ids_of(
        self, connection: Connection, holders: Iterable[Holder], keys: dict[tuple[str, str], int]
    ) -> dict[Holder, int]:
        new = {holder for holder in holders if holder not in self._holders}
        if not new:
            return self._holders
        rows = {holder: _holder_row(holder, keys) for holder in new}
        connection.execute(
            upsert(connection, HOLDERS).on_conflict_do_nothing(), list(rows.values())
        )
        gpus = {row["gpu"] for row in rows.values()}
        found = connection.execute(select(HOLDERS).where(HOLDERS.c.gpu.in_(gpus)))
        ids = {(row.gpu, row.name, row.server): row.id for row in found}
        return self._holders | {
            holder: ids[row["gpu"], row["name"], row["server"]] for holder, row in rows.items()
        }


def _holder_row(holder: Holder, keys: dict[tuple[str, str], int]) -> dict[str, Any]:
    return {
        "gpu": keys[holder.machine, holder.gpu],
        "name": storable(holder.name),
        # An empty word rather than NULL, of which a unique key admits several.
        "server": holder.server or "",
    }


def _holder(row: Row[Any]) -> Holder:
    return Holder(machine=row.machine, gpu=row.place, name=row.name, server=row.server or None)


def _part(row: Row[Any]) -> Held:
    return Held(at=seconds(row.at), most_bytes=bytes_of(row.most), last_bytes=bytes_of(row.size))


def _last_before(at: int | None) -> ScalarSelect[Any]:
    """When a holder of the surrounding statement changed last, up to a moment."""
    found = select(func.max(HOLDINGS.c.at)).where(HOLDINGS.c.holder == HOLDERS.c.id)
    if at is not None:
        found = found.where(HOLDINGS.c.at <= at)
    return found.correlate(HOLDERS).scalar_subquery()


def _before(machine: str, first: int) -> Select[Any]:
    """Every holder of a machine with what it had at a moment; NULL: it was not there yet."""
    last = _last_before(first)
    return (
        select(*_WHOSE, HOLDINGS.c.size)
        .join_from(HOLDERS, GPUS)
        .outerjoin(HOLDINGS, and_(HOLDINGS.c.holder == HOLDERS.c.id, HOLDINGS.c.at == last))
        .where(GPUS.c.machine == machine)
    )


def _parts(holders: Sequence[int], first: int, last: int, step: int) -> Select[Any]:
    """The changes of a span by holder and part: when the last was, and the most of each."""
    c = HOLDINGS.c
    part = (c.at - c.at % step).label("part")
    parts = (
        select(c.holder, func.max(c.at).label("at"), func.max(c.size).label("most"))
        .where(c.holder.in_(holders), c.at > first, c.at <= last)
        .group_by(c.holder, part)
        .subquery()
    )
    wanted: list[ColumnElement[Any]] = [c.holder, c.at, c.size, parts.c.most]
    return (
        select(*wanted)
        .join_from(parts, HOLDINGS, and_(c.holder == parts.c.holder, c.at == parts.c.at))
        .order_by(c.holder, c.at)
    )
