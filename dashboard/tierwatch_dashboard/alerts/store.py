"""What is kept of alerts: their lives, silences and maintenance windows. One truth: the database.

The engine's step runs inside one transaction with what it read and what comes of it, so that a
person's acknowledgement never gets lost beside it, and a message is in the outbox exactly if the
alert's change of state is stored.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

import msgspec
from sqlalchemy import Connection, Engine, delete, insert, select, tuple_, update

from tierwatch_agent.words import phrase, say
from tierwatch_dashboard.alerts import Alert, Matcher, Severity, Silence, Window
from tierwatch_dashboard.alerts.board import BoardError, Origin, PastAlert, ends_later
from tierwatch_dashboard.alerts.documents import read, written
from tierwatch_dashboard.alerts.engine import Step
from tierwatch_dashboard.alerts.outbox import enqueue
from tierwatch_dashboard.alerts.tables import ALERTS, SILENCES, WINDOWS
from tierwatch_dashboard.alerts.windows import WEEK
from tierwatch_dashboard.database import reading, writing
from tierwatch_dashboard.history.rows import milliseconds

KEPT_SECONDS = 90 * 86400.0
"""How long alerts and silences that are over are kept."""

WORDS_SECONDS = 15.0
"""How old the numbers in a stored alert's words may get: a state is stored at once, words are not
worth a write a second."""

SEEN_SECONDS = 1.0
"""For how long pages share one look at what another process may have changed meanwhile."""

_GONE = phrase("This alert is over already.")


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What every page asks for, as it was at a moment."""

    at: float
    alerts: tuple[Alert, ...]
    silences: tuple[Silence, ...]
    windows: tuple[Window, ...]


class AlertStore:
    """An ``AlertBoard`` over the database. Safe to call from several threads.

    Every method raises DatabaseError where the database cannot be used.
    """

    def __init__(self, engine: Engine, now: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._now = now
        self._seen: _Seen | None = None
        self._writes = 0

    @property
    def origin(self) -> Origin | None:
        """None: alerts are kept here."""
        return None

    def advance(
        self,
        step: Callable[[Mapping[str, Alert], Sequence[Silence], Sequence[Window]], Step],
    ) -> Step:
        """Takes one step of the engine and stores all that comes of it, or nothing."""
        now = self._now()
        with self._writing() as connection:
            rows = connection.execute(select(ALERTS).where(ALERTS.c.live)).all()
            before = {row.fingerprint: (row, _alert(row.document)) for row in rows}
            taken = step(
                {fingerprint: alert for fingerprint, (_row, alert) in before.items()},
                _silences(connection, now),
                _windows(connection, now),
            )
            for fingerprint, (row, alert) in before.items():
                after = taken.alerts.get(fingerprint)
                if after is None or after.since != alert.since:
                    _let_go(connection, row.key, alert)
                elif _worth_writing(alert, after, now - row.saved_at / 1000):
                    changed = update(ALERTS).where(ALERTS.c.key == row.key)
                    connection.execute(changed.values(_row(after, now)))
            new = [
                _row(alert, now)
                for fingerprint, alert in taken.alerts.items()
                if fingerprint not in before or before[fingerprint][1].since != alert.since
            ]
            if new:
                connection.execute(insert(ALERTS), new)
            enqueue(connection, taken.messages, now)
        return taken

    def current(self) -> tuple[Alert, ...]:
        """Every alert that fires or is about to."""
        return self._look().alerts

    def history(
        self,
        limit: int,
        *,
        machine: str | None = None,
        rule: str | None = None,
        severity: Severity | None = None,
        before: int | None = None,
    ) -> tuple[PastAlert, ...]:
        """Alerts that fired, over or not, the latest first; ``before``: the key to go on from."""
        c = ALERTS.c
        found = select(c.key, c.document).where(c.fired_at.is_not(None))
        for column, wanted in ((c.machine, machine), (c.rule, rule), (c.severity, severity)):
            if wanted is not None:
                found = found.where(column == wanted)
        if before is not None:
            last = select(c.fired_at, c.key).where(c.key == before).scalar_subquery()
            found = found.where(tuple_(c.fired_at, c.key) < last)
        found = found.order_by(c.fired_at.desc(), c.key.desc()).limit(limit)
        with reading(self._engine) as connection:
            rows = connection.execute(found).all()
        return tuple(PastAlert(key=row.key, alert=_alert(row.document)) for row in rows)

    def during(self, machine: str, start: float, end: float, limit: int) -> Sequence[Alert]:
        """A machine's alerts that fired at some time in a span, the latest first."""
        c = ALERTS.c
        found = (
            select(c.document)
            .where(c.machine == machine, c.fired_at <= milliseconds(end))
            # What is over was written last when it ended.
            .where(c.live | (c.saved_at >= milliseconds(start)))
            .order_by(c.fired_at.desc(), c.key.desc())
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return tuple(map(_alert, connection.execute(found).scalars()))

    def acknowledge(self, fingerprint: str, by: str, note: str) -> None:
        """Says that someone looks after a firing alert; BoardError where it is over."""
        with self._writing() as connection:
            live = select(ALERTS).where(ALERTS.c.live, ALERTS.c.fingerprint == fingerprint)
            row = connection.execute(live).one_or_none()
            alert = _alert(row.document) if row else None
            if row is None or alert is None or alert.state != "firing":
                raise BoardError(say(_GONE))
            now = self._now()
            alert = msgspec.structs.replace(
                alert, acknowledged_at=now, acknowledged_by=by, note=note or None
            )
            changed = update(ALERTS).where(ALERTS.c.key == row.key)
            connection.execute(changed.values(_row(alert, now)))

    def silences(self) -> tuple[Silence, ...]:
        """Those that are not over."""
        now = self._now()
        return tuple(each for each in self._look().silences if each.ends_at > now)

    def add_silence(
        self,
        matchers: Sequence[Matcher],
        *,
        starts_at: float,
        ends_at: float,
        created_by: str,
        comment: str,
    ) -> str:
        """Makes a silence and gives its id; BoardError where its time makes no sense."""
        ends_later(starts_at, ends_at, self._now())
        if not matchers:
            raise BoardError(say("A silence needs a matcher: without one it would silence all."))
        silence = Silence(
            id=secrets.token_hex(8),
            matchers=tuple(matchers),
            starts_at=starts_at,
            ends_at=ends_at,
            created_by=created_by,
            comment=comment,
        )
        with self._writing() as connection:
            connection.execute(insert(SILENCES).values(_silence_row(silence)))
        return silence.id

    def end_silence(self, id_: str) -> None:
        """Ends a silence now; BoardError where there is none of that id."""
        now = self._now()
        with self._writing() as connection:
            found = [each for each in _silences(connection, now) if each.id == id_]
            if not found:
                raise BoardError(say("This silence is over already."))
            ended = msgspec.structs.replace(found[0], ends_at=now)
            changed = update(SILENCES).where(SILENCES.c.id == id_)
            connection.execute(changed.values(_silence_row(ended)))

    def windows(self) -> tuple[Window, ...]:
        """Maintenance windows that are open or are to come, and all weekly ones."""
        now = self._now()
        return tuple(each for each in self._look().windows if _is_to_come(each, now))

    def add_window(
        self,
        machine: str,
        *,
        starts_at: float,
        ends_at: float,
        weekly: bool = False,
        created_by: str = "",
        comment: str = "",
    ) -> str:
        """Plans maintenance of a machine and gives the window's id.

        A weekly one comes back every seven days from ``starts_at``. BoardError where its time makes
        no sense.
        """
        if ends_at <= starts_at:
            raise BoardError(
                say("This maintenance would end before it begins: choose a later end.")
            )
        if not weekly and ends_at <= self._now():
            raise BoardError(say("This maintenance would be over already: choose a later end."))
        if weekly and ends_at - starts_at >= WEEK.total_seconds():
            raise BoardError(say("A weekly maintenance must be shorter than a week."))
        window = Window(
            id=secrets.token_hex(8),
            machine=machine,
            starts_at=starts_at,
            ends_at=ends_at,
            weekly=weekly,
            created_by=created_by,
            comment=comment,
        )
        row = {"id": window.id, "document": written(window)}
        with self._writing() as connection:
            connection.execute(insert(WINDOWS).values(row))
        return window.id

    def end_window(self, id_: str) -> None:
        """Ends a maintenance window, and every later week of it; BoardError where there is none."""
        with self._writing() as connection:
            if not connection.execute(delete(WINDOWS).where(WINDOWS.c.id == id_)).rowcount:
                raise BoardError(say("This maintenance is over already."))

    def prune(self, now: float) -> None:
        """Removes alerts and silences that were over 90 days ago, and windows that are over."""
        horizon = milliseconds(now - KEPT_SECONDS)
        with self._writing() as connection:
            over = ~ALERTS.c.live & (ALERTS.c.saved_at < horizon)
            connection.execute(delete(ALERTS).where(over))
            connection.execute(delete(SILENCES).where(SILENCES.c.ends_at < horizon))
            kept = [window.id for window in _windows(connection, now)]
            connection.execute(delete(WINDOWS).where(WINDOWS.c.id.not_in(kept)))

    def _look(self) -> _Seen:
        seen, now = self._seen, self._now()
        if seen is not None and 0 <= now - seen.at < SEEN_SECONDS:
            return seen
        writes = self._writes
        with reading(self._engine) as connection:
            documents = connection.execute(select(ALERTS.c.document).where(ALERTS.c.live)).scalars()
            alerts = tuple(map(_alert, documents))
            seen = _Seen(
                at=now,
                alerts=tuple(alert for alert in alerts if alert.state != "resolved"),
                silences=_silences(connection, now),
                windows=_windows(connection, now),
            )
        if writes == self._writes:
            self._seen = seen
        return seen

    @contextmanager
    def _writing(self) -> Generator[Connection]:
        """A transaction after which whoever looks sees what it wrote."""
        try:
            with writing(self._engine) as connection:
                yield connection
        finally:
            self._writes += 1
            self._seen = None


def _let_go(connection: Connection, key: int, alert: Alert) -> None:
    """An alert that never fired leaves no trace; the others are history."""
    this = ALERTS.c.key == key
    if alert.fired_at is None:
        connection.execute(delete(ALERTS).where(this))
    else:
        connection.execute(update(ALERTS).where(this).values(live=False))


def _worth_writing(before: Alert, after: Alert, age: float) -> bool:
    if after == before:
        return False
    old_words = {"summary": before.summary, "todo": before.todo}
    return age >= WORDS_SECONDS or msgspec.structs.replace(after, **old_words) != before


def _row(alert: Alert, now: float) -> dict[str, object]:
    return {
        "fingerprint": alert.fingerprint,
        "live": True,
        "rule": alert.rule,
        "severity": alert.severity,
        "machine": alert.labels.get("machine"),
        "fired_at": None if alert.fired_at is None else milliseconds(alert.fired_at),
        "saved_at": milliseconds(now),
        "document": written(alert),
    }


@lru_cache(maxsize=4096)
def _alert(document: bytes) -> Alert:
    # Kept, since every step reads all that live, and few have changed since the last.
    return read(document, Alert)


def _silence_row(silence: Silence) -> dict[str, object]:
    return {
        "id": silence.id,
        "ends_at": milliseconds(silence.ends_at),
        "document": written(silence),
    }


def _silences(connection: Connection, now: float) -> tuple[Silence, ...]:
    kept = select(SILENCES.c.document).where(SILENCES.c.ends_at > milliseconds(now))
    return _decoded(connection.execute(kept).scalars(), Silence)


def _windows(connection: Connection, now: float) -> tuple[Window, ...]:
    kept = _decoded(connection.execute(select(WINDOWS.c.document)).scalars(), Window)
    return tuple(window for window in kept if _is_to_come(window, now))


def _is_to_come(window: Window, now: float) -> bool:
    """Or goes on."""
    return window.weekly or window.ends_at > now


_T = TypeVar("_T", Silence, Window)


def _decoded(documents: Iterable[bytes], type_: type[_T]) -> tuple[_T, ...]:
    return tuple(read(document, type_) for document in documents)
