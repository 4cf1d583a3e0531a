"""What the rules found of each machine when it was looked at last.

Rules are pure and know no clock: of a machine whose view is the one that was looked at, they would
find the same again. So the fleet can be evaluated each second for the price of what changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tierwatch_dashboard.alerts import Finding
from tierwatch_dashboard.alerts.rules import findings
from tierwatch_dashboard.fleet.state import MachineView
from tierwatch_dashboard.inventory import Inventory


class Found:
    """For one thread alone."""

    def __init__(self) -> None:
        self._inventory: Inventory | None = None
        self._looked: dict[str, MachineView] = {}
        self._found: dict[str, list[Finding]] = {}

    def findings(
        self,
        views: Sequence[MachineView],
        inventory: Inventory,
        now: float,
        *,
        lists_jobs: bool = True,
    ) -> Iterator[Finding]:
        """All that holds of these machines; views hold until others take their place."""
        if inventory is not self._inventory:
            self._inventory, self._looked, self._found = inventory, {}, {}
        changed = [view for view in views if self._looked.get(view.machine.id) is not view]
        self._looked = {view.machine.id: view for view in views}
        for view in changed:
            self._found.pop(view.machine.id, None)
        for finding in findings(changed, inventory, now, lists_jobs=lists_jobs):
            self._found.setdefault(finding.labels["machine"], []).append(finding)
        for view in views:
            yield from self._found.get(view.machine.id, ())
