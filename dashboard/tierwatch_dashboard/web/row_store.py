"""Every machine's row as last rendered, shared by all views of the fleet page.

A thousand machines are asked every few seconds: what each view needs of all of them (facts) is made
anew where a machine changed, a row only where a page shows it, and its HTML only where its words
changed, once for each language.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from tierwatch_agent.tiers import Tier
from tierwatch_dashboard.fleet.trend import Lows
from tierwatch_dashboard.inventory import Inventory
from tierwatch_dashboard.last_hour import Made
from tierwatch_dashboard.web.facts import Facts
from tierwatch_dashboard.web.rows import Row, row
from tierwatch_dashboard.web.standing import Standing, standing

if TYPE_CHECKING:
    from tierwatch_dashboard.app import Services
    from tierwatch_dashboard.fleet.state import MachineView


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the list: a machine's row, or a group's heading."""

    html: str
    changed_at: int
    """The revision at which it said something else for the last time."""


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps the page from showing the fleet as it is."""

    inventory: str | None = None
    """What is wrong with the inventory file."""
    source: str | None = None
    """Why nothing is told of any machine."""
    answered_at: float | None = None
    """When it last was."""
    database: str | None = None
    """Why what is kept of the past cannot be read."""


class Dated(msgspec.Struct, frozen=True, kw_only=True):
    """How the studio stands, what is wrong, and since which revision each is so."""

    standing: Standing
    standing_at: int
    faults: Faults
    faults_at: int


def faults_of(services: Services) -> Faults:
    """What is wrong now."""
    health = services.source()
    return Faults(
        inventory=services.inventory_file.error,
        source=health.error,
        answered_at=health.answered_at if health.error else None,
        database=services.database_error(),
    )


_Seen = tuple[int, int, Inventory | None, Faults, Made | None]


class _Kept:
    def __init__(self, view: MachineView, known: Facts) -> None:
        self.view = view
        self.facts = known
        self.drawn: MachineView | None = None
        self.lows: dict[str, Lows] = {}
        self.said: Row | None = None
        self.html: dict[str, str] = {}
        self.changed_at = 0


class RowStore:
    """The fleet as pages see it, looked at as often as they need. Its callers hold one lock.

    ``render`` makes a row's HTML in the language of the request that asks for it.
    """

    def __init__(self, services: Services, render: Callable[[Row], str]) -> None:
        self._services = services
        self._render = render
        self._seen: _Seen = (-1, -1, None, Faults(), None)
        self._looked_at = float("-inf")
        self._kept: dict[str, _Kept] = {}
        self._tiers: tuple[Tier, ...] = ()
        self.boot = secrets.token_hex(4)
        """What pages of one run have in common; another one tells a page to load anew."""
        self.revision = 0
        """Rises whenever something may have changed."""
        self.machines: tuple[Facts, ...] = ()
        """Worst first."""
        self.dated = Dated(
            standing=standing((), (), Made()), standing_at=0, faults=Faults(), faults_at=0
        )

    def look(self, age: float) -> None:
        """Takes in what became of the fleet, unless the last look is younger than ``age``."""
        now = self._services.now()
        if 0 <= now - self._looked_at < age:
            return
        self._looked_at = now
        source = self._services.inventory_file
        # The versions are read before the views: a change between the two is seen next time.
        versions = self._services.state.version, self._services.trends.version
        made = self._services.last_hour.current
        inventory, faults = source.current, faults_of(self._services)
        seen = (*versions, inventory, faults, made)
        if _are_same(seen, self._seen):
            return
        self._seen = seen
        self.revision += 1
        views = self._services.state.views()
        retiered, self._tiers = inventory.tiers != self._tiers, inventory.tiers
        self._take(views, retiered=retiered)
        self._date(standing(views, inventory.tiers, made), faults)

    def item(self, machine: str, language: str) -> Item:
        """A machine's row; KeyError where the last look found none of that id."""
        kept = self._kept[machine]
        said = self._said(kept)
        html = kept.html.get(language)
        if html is None:
            html = kept.html[language] = self._render(said)
        return Item(html=html, changed_at=kept.changed_at)

    def _said(self, kept: _Kept) -> Row:
        lows = self._lows(kept.view)
        if kept.said is not None and kept.drawn is kept.view and kept.lows == lows:
            return kept.said
        said = row(kept.view, self._tiers, lows)
        kept.drawn, kept.lows = kept.view, lows
        if said != kept.said:
            kept.said, kept.changed_at = said, self.revision
            kept.html.clear()
        return said

    def _lows(self, view: MachineView) -> dict[str, Lows]:
        gpus = view.snapshot.gpus if view.snapshot else ()
        return {gpu.index: self._services.trends.of(view.machine.id, gpu.index) for gpu in gpus}

    def _take(self, views: tuple[MachineView, ...], *, retiered: bool) -> None:
        before = self._kept
        found: dict[str, _Kept] = {}
        for view in views:
            kept = before.get(view.machine.id)
            if kept is None:
                kept = _Kept(view, Facts(view, self._tiers))
            elif kept.view is not view or retiered:
                kept.view, kept.facts = view, Facts(view, self._tiers)
                if retiered:
                    kept.drawn = None
            found[view.machine.id] = kept
        if bool(found) != bool(before):
            # The page of an empty fleet is another one: who has either must load it anew.
            self.boot = secrets.token_hex(4)
        self._kept = found
        self.machines = tuple(kept.facts for kept in found.values())

    def _date(self, now: Standing, faults: Faults) -> None:
        before = self.dated
        self.dated = Dated(
            standing=now,
            standing_at=before.standing_at if now == before.standing else self.revision,
            faults=faults,
            faults_at=before.faults_at if faults == before.faults else self.revision,
        )


def _are_same(one: _Seen, other: _Seen) -> bool:
    """Whether nothing happened; an inventory and a count hold until others take their place."""
    return one[:2] == other[:2] and one[2] is other[2] and one[3] == other[3] and one[4] is other[4]
