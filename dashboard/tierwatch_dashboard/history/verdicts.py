"""What is kept of verdicts: each machine's memory for the next judgement, and its changes of state.

A memory is a document that this store does not look into.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, cast

import msgspec
from sqlalchemy import CTE, Engine, Row, and_, delete, exists, func, insert, or_, select

from tierwatch_dashboard.changes import StateChange
from tierwatch_dashboard.database import reading, upsert, writing
from tierwatch_dashboard.history.rows import milliseconds, seconds
from tierwatch_dashboard.history.tables import BY_TEN_MINUTES, VERDICT_CHANGES, VERDICT_MEMORY

_TOLD = ("state", "headline", "can_serve", "tier", "cause", "culprit")


class VerdictStore:
    """Safe to call from several threads; every method raises DatabaseError where it cannot."""

    def __init__(self, engine: Engine, now: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._now = now

    def load_memories(self) -> dict[str, bytes]:
        """The memory of every machine as it was saved last, by machine."""
        memories = select(VERDICT_MEMORY.c.machine, VERDICT_MEMORY.c.document)
        with reading(self._engine) as connection:
            return {row.machine: row.document for row in connection.execute(memories)}

    def save_memories(self, memories: Mapping[str, bytes]) -> None:
        """Replaces all that is kept by these, so that a machine that was removed is forgotten."""
        saved_at = milliseconds(self._now())
        rows = [
            {"machine": machine, "document": document, "saved_at": saved_at}
            for machine, document in memories.items()
        ]
        with writing(self._engine) as connection:
            connection.execute(delete(VERDICT_MEMORY))
            if rows:
                connection.execute(insert(VERDICT_MEMORY), rows)

    def append_changes(self, changes: Sequence[StateChange]) -> None:
        """Commits the changes, all or none; of two of a machine in one millisecond the later."""
        if not changes:
            return
        rows = [msgspec.structs.asdict(each) | {"at": milliseconds(each.at)} for each in changes]
        with writing(self._engine) as connection:
            statement = upsert(connection, VERDICT_CHANGES)
            statement = statement.on_conflict_do_update(
                index_elements=["machine", "at"],
                set_={name: statement.excluded[name] for name in _TOLD},
            )
            connection.execute(statement, rows)

    def changes(self, machine: str, start: float, end: float) -> tuple[StateChange, ...]:
        """A machine's changes from ``start`` to ``end``, oldest first.

        The one before them leads, where there is one: the state in which the range begins.
        """
        c = VERDICT_CHANGES.c
        first = milliseconds(start)
        before = select(func.max(c.at)).where(c.machine == machine, c.at <= first).scalar_subquery()
        found = (
            select(VERDICT_CHANGES)
            .where(c.machine == machine, c.at <= milliseconds(end))
            .where(or_(c.at > first, c.at == before))
            .order_by(c.at)
        )
        with reading(self._engine) as connection:
            return tuple(_change_of(row) for row in connection.execute(found))

    def all_changes(self, start: float, end: float) -> tuple[StateChange, ...]:
        """Every machine's changes from ``start`` to before ``end``, by machine, oldest first.

        Each machine's last before that leads, where there is one.
        """
        c = VERDICT_CHANGES.c
        first, last = milliseconds(start), milliseconds(end)
        machines = _machines()
        before = (
            select(func.max(c.at))
            .where(c.machine == machines.c.machine, c.at < first)
            .scalar_subquery()
        )
        begins = select(machines.c.machine, before.label("at")).subquery()
        leading = select(VERDICT_CHANGES).join(
            begins, and_(c.machine == begins.c.machine, c.at == begins.c.at)
        )
        following = select(VERDICT_CHANGES).where(c.at >= first, c.at < last)
        with reading(self._engine) as connection:
            found = [*connection.execute(leading), *connection.execute(following)]
        found.sort(key=itemgetter(0, 1))
        return tuple(_change_of(row) for row in found)

    def prune(self, now: float) -> None:
        """Removes changes of more than 90 days ago, save each machine's last before that."""
        c = VERDICT_CHANGES.c
        horizon = milliseconds(now) - BY_TEN_MINUTES.kept
        later = VERDICT_CHANGES.alias("later")
        followed = exists().where(
            and_(later.c.machine == c.machine, later.c.at > c.at, later.c.at <= horizon)
        )
        with writing(self._engine) as connection:
            connection.execute(delete(VERDICT_CHANGES).where(c.at <= horizon, followed))


def _machines() -> CTE:
    """The machines that have changes, each found from the one before: few, of many rows."""
    machine = VERDICT_CHANGES.c.machine
    machines = select(func.min(machine).label("machine")).cte("machines", recursive=True)
    following = (
        select(func.min(machine))
        .where(machine > machines.c.machine)
        .correlate(machines)
        .scalar_subquery()
    )
    return machines.union_all(select(following).where(machines.c.machine.is_not(None)))


def _change_of(row: Row[Any]) -> StateChange:
    # In the order of the columns: a week of a large fleet has a hundred thousand rows.
    machine, at, state, headline, can_serve, tier, cause, culprit = cast("tuple[Any, ...]", row)
    return StateChange(
        machine=machine,
        at=seconds(at),
        state=state,
        headline=headline,
        can_serve=can_serve,
        tier=tier,
        cause=cause,
        culprit=culprit,
    )
