"""What the rules found of each machine when it was looked at last.

Rules are pure and know no clock: of a machine whose view is the one that was looked at, they would
find the same again. So the fleet can be evaluated each second for the price of what changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tierwatch_dashboard.alerts import Finding
from tierwatch_dashboard.alerts.rules import findings
from tierwatch_dashboard.fleet.state import MachineView
from tierwatch_dashboard.inventory import Inventory


class _Looked(NamedTuple):
    view: MachineView
    found: tuple[Finding, ...]


class Found:
    """For one thread alone."""

    def __init__(self) -> None:
        self._inventory: Inventory | None = None
        self._looked: dict[str, _Looked] = {}

    def findings(
        self,
        views: Sequence[MachineView],
        inventory: Inventory,
        now: float,
        *,
        lists_jobs: bool = True,
    ) -> Iterator[Finding]:
        """All that holds of these machines; views hold until others take their place."""
        known = self._looked if inventory is self._inventory else {}
        self._inventory = inventory
        self._looked = {}
        for view in views:
            looked = known.get(view.machine.id)
            if looked is None or looked.view is not view:
                holds = findings((view,), inventory, now, lists_jobs=lists_jobs)
                looked = _Looked(view, tuple(holds))
            self._looked[view.machine.id] = looked
            yield from looked.found
