"""When a dashboard watched: what it did not see, no report may count as well or as lost."""

from __future__ import annotations

from sqlalchemy import Engine, delete, func, insert, select, update

from tierwatch_dashboard.database import reading, writing
from tierwatch_dashboard.history.rows import milliseconds, seconds
from tierwatch_dashboard.history.tables import BY_TEN_MINUTES, WATCHES
from tierwatch_dashboard.verdict import WATCH_GAP_SECONDS

Span = tuple[float, float]
"""From when to when, in Unix seconds."""


class WatchStore:
    """Safe to call from several threads; every method raises DatabaseError where it cannot."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def beat(self, now: float) -> None:
        """Notes that a dashboard watches; to be repeated well within ``WATCH_GAP_SECONDS``."""
        c = WATCHES.c
        at = milliseconds(now)
        gap = milliseconds(WATCH_GAP_SECONDS)
        latest = select(func.max(c.since)).scalar_subquery()
        goes_on = (
            update(WATCHES)
            .where(c.since == latest, c.until <= at, c.until >= at - gap)
            .values(until=at)
        )
        # A clock that was set back is within a watch that is known.
        known = select(c.since).where(c.since <= at, c.until >= at)
        with writing(self._engine) as connection:
            if connection.execute(goes_on).rowcount or connection.execute(known).first():
                return
            connection.execute(insert(WATCHES), {"since": at, "until": at})

    def spans(self, start: float, end: float) -> tuple[Span, ...]:
        """The stretches within ``start`` to ``end`` in which a dashboard watched, oldest first."""
        c = WATCHES.c
        found = (
            select(WATCHES)
            .where(c.until > milliseconds(start), c.since < milliseconds(end))
            .order_by(c.since)
        )
        with reading(self._engine) as connection:
            return tuple(
                (max(start, seconds(row.since)), min(end, seconds(row.until)))
                for row in connection.execute(found)
            )

    def prune(self, now: float) -> None:
        """Removes what ended more than 90 days ago."""
        old = WATCHES.c.until <= milliseconds(now) - BY_TEN_MINUTES.kept
        with writing(self._engine) as connection:
            connection.execute(delete(WATCHES).where(old))
