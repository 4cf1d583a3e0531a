"""The outbox: messages that wait in the database until their receiver has them.

A message is written in the transaction that changes its alerts, so that neither goes without the
other. The sender delivers each receiver's in their order, one after the other, and stores each
delivery. A receiver that fails is asked again after 5 s, 10 s, 20 s and so on up to 5 min, and at
once after a restart or where its settings change; what it could not be given within three days is
given up. A process that is killed after a receiver took a
message and before that was stored sends it again: at least once there, exactly once otherwise.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, delete, func, insert, select, update

from tierwatch_dashboard.alerts.documents import read, written
from tierwatch_dashboard.alerts.messages import Message, late
from tierwatch_dashboard.alerts.settings import Receiver
from tierwatch_dashboard.alerts.tables import OUTBOX
from tierwatch_dashboard.database import reading, writing
from tierwatch_dashboard.history.rows import milliseconds, seconds

_log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 300.0
GIVEN_UP_AFTER_SECONDS = 3 * 86400.0
KEPT_SECONDS = 7 * 86400.0
"""How long a message stays in the outbox once it is delivered or given up."""

LATE_SECONDS = 60.0
"""A message that is older says from when it is."""

SENDERS = 8
"""Receivers that are served at the same time."""


class DeliveryError(Exception):
    """A receiver could not be given a message; the text says why and bears no secret."""


class OutboxHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How the outbox fares."""

    waiting: Mapping[str, int] = {}
    """Messages that wait, by receiver."""
    oldest_made_at: Mapping[str, float] = {}
    """When the oldest of them was made, by receiver, in Unix seconds."""
    deliveries: Mapping[tuple[str, str], int] = {}
    """Attempts since the start by receiver and outcome: delivered, failed, given_up."""


def enqueue(connection: Connection, messages: Sequence[Message], now: float) -> None:
    """Puts messages in the outbox, in the caller's transaction."""
    rows = [
        {
            "receiver": message.receiver,
            "document": written(message),
            "made_at": milliseconds(now),
        }
        for message in messages
    ]
    if rows:
        connection.execute(insert(OUTBOX), rows)


def pause_seconds(failures: int) -> float:
    """How long to leave a receiver alone after so many failures in a row."""
    return min(FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 16), LONGEST_PAUSE_SECONDS)


class _Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver that failed last time."""

    receiver: Receiver
    failures: int
    until: float
    why: str


class Outbox:
    """The waiting messages and their sender.

    Args:
        engine: The database.
        receivers: Those in force now.
        send: Gives one message to one receiver; DeliveryError where it cannot. Called from
            several threads, for one receiver from one at a time.
        now: Unix seconds.
    """

    def __init__(
        self,
        engine: Engine,
        receivers: Callable[[], Iterable[Receiver]],
        send: Callable[[Receiver, Message], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._receivers = receivers
        self._send = send
        self._now = now
        self._pool = ThreadPoolExecutor(SENDERS, thread_name_prefix="notify")
        self._ended = threading.Event()
        self._running: dict[str, Future[None]] = {}
        self._unstored: dict[str, int] = {}
        self._trouble: dict[str, _Trouble] = {}
        self._lock = threading.Lock()
        self._deliveries: Counter[tuple[str, str]] = Counter()
        self._waiting: dict[str, int] = {}
        self._oldest: dict[str, float] = {}

    def send_due(self) -> None:
        """Begins to deliver what is due, to each receiver beside the others, and returns.

        For one thread alone. Raises what went wrong in a delivery begun earlier, save a receiver
        that failed, which is the outbox's daily bread.
        """
        ended = {name: each for name, each in self._running.items() if each.done()}
        for name in ended:
            del self._running[name]
        receivers = {receiver.name: receiver for receiver in self._receivers()}
        for name in self._waited_for():
            receiver = receivers.get(name)
            due = receiver is None or not self._is_left_alone(receiver)
            if due and name not in self._running and not self._ended.is_set():
                self._running[name] = self._pool.submit(self._serve, name, receiver)
        for each in ended.values():
            each.result()

    def wait(self) -> None:
        """Waits until the deliveries that were begun are done, or failed."""
        futures.wait(list(self._running.values()))

    def stop(self) -> None:
        """Begins no delivery any more, and waits for those under way, so that each is stored."""
        self._ended.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def health(self) -> OutboxHealth:
        """How it fares; safe to call from any thread."""
        with self._lock:
            return OutboxHealth(
                waiting=dict(self._waiting),
                oldest_made_at=dict(self._oldest),
                deliveries=dict(self._deliveries),
            )

    def prune(self, now: float) -> None:
        """Removes what was delivered or given up a week ago."""
        over = OUTBOX.c.ended_at < milliseconds(now - KEPT_SECONDS)
        with writing(self._engine) as connection:
            connection.execute(delete(OUTBOX).where(over))

    def _waited_for(self) -> Sequence[str]:
        """The receivers for which something waits; notes how much."""
        c = OUTBOX.c
        grouped = (
            select(c.receiver, func.count(), func.min(c.made_at))
            .where(c.outcome.is_(None))
            .group_by(c.receiver)
        )
        with reading(self._engine) as connection:
            waiting = connection.execute(grouped).all()
        with self._lock:
            self._waiting = {name: count for name, count, _oldest in waiting}
            self._oldest = {name: seconds(oldest) for name, _count, oldest in waiting}
        return [name for name, _count, _oldest in waiting]

    def _is_left_alone(self, receiver: Receiver) -> bool:
        trouble = self._trouble.get(receiver.name)
        return trouble is not None and trouble.receiver == receiver and self._now() < trouble.until

    def _serve(self, name: str, receiver: Receiver | None) -> None:
        """Delivers a receiver's messages in their order until one fails or none is left."""
        while not self._ended.is_set():
            head = self._head(name)
            if head is None:
                return
            if receiver is None:
                self._give_up(head, "the settings have no such receiver any more")
            elif self._unstored.get(name) != head.key and not self._was_sent(receiver, head):
                return
            else:
                self._unstored[name] = head.key
                self._store(head.key, outcome="delivered", error=None)
                del self._unstored[name]
                self._count(name, "delivered")

    def _was_sent(self, receiver: Receiver, head: Row[Any]) -> bool:
        message = read(head.document, Message)
        made_at = seconds(head.made_at)
        if self._now() - made_at > LATE_SECONDS:
            message = late(message, made_at)
        try:
            self._send(receiver, message)
        except DeliveryError as error:
            self._failed(receiver, head, str(error))
            return False
        if self._trouble.pop(receiver.name, None) is not None:
            _log.info('receiver "%s" takes messages again', receiver.name)
        return True

    def _failed(self, receiver: Receiver, head: Row[Any], why: str) -> None:
        name, now = receiver.name, self._now()
        self._count(name, "failed")
        before = self._trouble.get(name)
        if before is None or before.why != why:
            _log.warning('receiver "%s" did not take a message, which waits: %s', name, why)
        failures = before.failures + 1 if before and before.receiver == receiver else 1
        until = now + pause_seconds(failures)
        self._trouble[name] = _Trouble(receiver=receiver, failures=failures, until=until, why=why)
        if now - seconds(head.made_at) > GIVEN_UP_AFTER_SECONDS:
            self._give_up(head, why)

    def _give_up(self, head: Row[Any], why: str) -> None:
        _log.error('a message to receiver "%s" is given up: %s', head.receiver, why)
        self._store(head.key, outcome="given_up", error=why)
        self._count(head.receiver, "given_up")

    def _head(self, name: str) -> Row[Any] | None:
        c = OUTBOX.c
        first = select(OUTBOX).where(c.outcome.is_(None), c.receiver == name)
        with reading(self._engine) as connection:
            return connection.execute(first.order_by(c.key).limit(1)).one_or_none()

    def _store(self, key: int, *, outcome: str, error: str | None) -> None:
        change = {"outcome": outcome, "error": error, "ended_at": milliseconds(self._now())}
        with writing(self._engine) as connection:
            connection.execute(update(OUTBOX).where(OUTBOX.c.key == key).values(change))

    def _count(self, name: str, outcome: str) -> None:
        with self._lock:
            self._deliveries[name, outcome] += 1
