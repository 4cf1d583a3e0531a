"""The running alerts: the parts put together, and what of it is to be done how often."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from sqlalchemy import Engine

from tierwatch_dashboard.alerts import AlertState, Finding, receivers
from tierwatch_dashboard.alerts.board import AlertBoard
from tierwatch_dashboard.alerts.boards import Boards
from tierwatch_dashboard.alerts.found import Found
from tierwatch_dashboard.alerts.outbox import Outbox, OutboxHealth
from tierwatch_dashboard.alerts.rules import findings
from tierwatch_dashboard.alerts.store import AlertStore
from tierwatch_dashboard.alerts.watch import AlertWatch
from tierwatch_dashboard.fleet import SourceHealth
from tierwatch_dashboard.fleet.state import MachineView
from tierwatch_dashboard.inventory import Inventory
from tierwatch_dashboard.scheduler import Job

EVALUATED_EVERY_SECONDS = 1.0
SENT_EVERY_SECONDS = 0.5
ASKED_EVERY_SECONDS = 5.0
"""How often an Alertmanager is asked."""


class AlertingHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How alerts and their messages fare."""

    alerts: Mapping[AlertState, int] = {}
    """How many are about to fire, and fire; empty where an Alertmanager has them."""
    outbox: OutboxHealth = OutboxHealth()


class Alerting:
    """Alerts evaluated and told here, or by the Alertmanager that the inventory names now.

    Where an Alertmanager has them, those kept here rest as they are; what waits to be sent is sent.

    Args:
        engine: The database.
        views: The fleet as it is now.
        inventory: What the team decided, as it is now.
        polling: How the asking of the agents fares.
        now: Unix seconds.
    """

    def __init__(
        self,
        engine: Engine,
        views: Callable[[], Sequence[MachineView]],
        inventory: Callable[[], Inventory],
        polling: Callable[[], SourceHealth],
        now: Callable[[], float],
    ) -> None:
        found = Found()

        def rules(
            views: Sequence[MachineView], inventory: Inventory, at: float
        ) -> Iterable[Finding]:
            asking = polling()
            yield from found.findings(views, inventory, at, lists_jobs=asking.lists_jobs)
            yield from findings((), inventory, at, asking)

        self._store = AlertStore(engine, now)
        self._watch = AlertWatch(self._store, views, inventory, rules, now)
        self._outbox = Outbox(engine, lambda: inventory().alerts.receivers, receivers.send, now)
        self._boards = Boards(self._store, inventory, now)

    @property
    def board(self) -> AlertBoard:
        """What pages show, and where people acknowledge and silence."""
        return self._boards.board

    def work(self) -> tuple[Job, ...]:
        """What is to be done in the background."""
        return (
            Job(name="alertmanager", every_seconds=ASKED_EVERY_SECONDS, run=self._boards.refresh),
            Job(name="alerts", every_seconds=EVALUATED_EVERY_SECONDS, run=self._evaluate),
            Job(name="notify", every_seconds=SENT_EVERY_SECONDS, run=self._outbox.send_due),
        )

    def health(self) -> AlertingHealth:
        """How it fares now; safe to call from any thread."""
        outbox = self._outbox.health()
        if self._boards.is_own:
            return AlertingHealth(alerts=self._watch.counts(), outbox=outbox)
        return AlertingHealth(outbox=outbox)

    def prune(self, now: float) -> None:
        """Removes what is past its keeping."""
        self._store.prune(now)
        self._outbox.prune(now)

    def stop(self) -> None:
        """Waits until what is being sent is sent and stored."""
        self._outbox.stop()

    def _evaluate(self) -> None:
        if self._boards.is_own:
            self._watch.evaluate()
