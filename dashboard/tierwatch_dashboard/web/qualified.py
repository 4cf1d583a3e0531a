"""What the tiers page shows, worked out again only where a machine or the inventory has news."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from tierwatch_dashboard.inventory import Inventory
from tierwatch_dashboard.qualifying import Answers, answers
from tierwatch_dashboard.web.row_store import Faults

if TYPE_CHECKING:
    from tierwatch_dashboard.fleet.state import MachineView


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """The page's live parts, and the token by which a page says that it has them."""

    token: str
    head: str
    machines: str


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the parts were made from."""

    version: int
    """The fleet's."""
    inventory: Inventory
    faults: Faults
    """What keeps the page from showing the fleet as it is."""


class Qualified:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts: dict[object, tuple[Seen, Now]] = {}
        self._inventory: Inventory | None = None
        self._kept: dict[str, tuple[MachineView, Answers]] = {}

    def now(self, key: object, seen: Seen, make: Callable[[], Now]) -> Now:
        """The parts of one ``key``, made anew where they were made from something else."""
        known = self._parts.get(key)
        if known is None or not _are_same(known[0], seen):
            known = (seen, make())
            self._parts[key] = known
        return known[1]

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


def _are_same(one: Seen, other: Seen) -> bool:
    """Whether nothing happened; an inventory holds until another takes its place."""
    return (
        one.version == other.version
        and one.inventory is other.inventory
        and one.faults == other.faults
    )
