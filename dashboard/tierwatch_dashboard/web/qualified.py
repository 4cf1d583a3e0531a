"""The machines' answers to each tier, worked out again only for machines that have news."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tierwatch_dashboard.inventory import Inventory
from tierwatch_dashboard.qualifying import Answers, answers

if TYPE_CHECKING:
    from tierwatch_dashboard.fleet.state import MachineView


class Qualified:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inventory: Inventory | None = None
        self._kept: dict[str, tuple[MachineView, Answers]] = {}

    def of(self, views: Sequence[MachineView], inventory: Inventory) -> Mapping[str, Answers]:
        """By machine, for those of the views."""
        with self._lock:
            if inventory is not self._inventory:
                self._inventory, self._kept = inventory, {}
            kept: dict[str, tuple[MachineView, Answers]] = {}
            for view in views:
                known = self._kept.get(view.machine.id)
                if known is None or known[0] is not view:
                    silent = view.verdict.state == "down"
                    found = answers(view.machine, inventory, view.snapshot, silent=silent)
                    known = (view, found)
                kept[view.machine.id] = known
            self._kept = kept
            return {id_: found for id_, (_view, found) in kept.items()}
