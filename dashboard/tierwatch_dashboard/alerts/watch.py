"""The watch over the fleet: what is found of it moves its alerts, once a second."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from tierwatch_dashboard.alerts import Alert, AlertState, Finding, Silence, Window
from tierwatch_dashboard.alerts.engine import Around, Step, step
from tierwatch_dashboard.alerts.store import AlertStore
from tierwatch_dashboard.alerts.windows import machines_in_maintenance
from tierwatch_dashboard.fleet.state import MachineView
from tierwatch_dashboard.inventory import Inventory

Rules = Callable[[Sequence[MachineView], Inventory, float], Iterable[Finding]]
"""Everything that holds of the fleet at a moment, in Unix seconds."""


class AlertWatch:
    """Takes one step after the other; nothing of it is kept but in the database.

    Args:
        store: Where alerts live.
        views: The fleet as it is now.
        inventory: What the team decided, as it is now.
        rules: What holds of the fleet.
        now: Unix seconds.
    """

    def __init__(
        self,
        store: AlertStore,
        views: Callable[[], Sequence[MachineView]],
        inventory: Callable[[], Inventory],
        rules: Rules,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._views = views
        self._inventory = inventory
        self._rules = rules
        self._now = now
        self._lock = threading.Lock()
        self._counts: Mapping[AlertState, int] = {}

    def evaluate(self) -> None:
        """One step, stored with its messages. For one thread alone."""
        inventory = self._inventory()
        now = self._now()
        views = self._views()
        findings = tuple(self._rules(views, inventory, now))

        def move(
            alerts: Mapping[str, Alert], silences: Sequence[Silence], windows: Sequence[Window]
        ) -> Step:
            around = Around(
                silences=tuple(silences),
                maintenance=machines_in_maintenance(windows, now)
                | {machine.id for machine in inventory.machines if machine.maintenance},
                unheard=frozenset(view.machine.id for view in views if _is_unheard(view)),
            )
            return step(alerts, findings, around, inventory.alerts, now)

        taken = self._store.advance(move)
        counted = Counter(alert.state for alert in taken.alerts.values())
        with self._lock:
            self._counts = {state: counted[state] for state in ("pending", "firing")}

    def counts(self) -> Mapping[AlertState, int]:
        """How many alerts are about to fire, and fire; empty before the first step."""
        with self._lock:
            return self._counts


def _is_unheard(view: MachineView) -> bool:
    return view.snapshot is None and view.error is None
