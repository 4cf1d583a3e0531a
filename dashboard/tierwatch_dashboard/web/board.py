"""The fleet page's parts as last rendered, and which of them changed since a page last asked.

A thousand machines are polled every few seconds and few of them change: a row is rendered again
only when what it says changed, and an open page is sent those rows alone.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from tierwatch_dashboard.inventory import Inventory
from tierwatch_dashboard.last_hour import Made
from tierwatch_dashboard.web.rows import Row, row
from tierwatch_dashboard.web.standing import Standing, standing

if TYPE_CHECKING:
    from tierwatch_dashboard.app import Services
    from tierwatch_dashboard.fleet.state import MachineView


_Seen = tuple[int, Inventory | None, str | None, Made | None]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the page shows, at one revision."""

    token: str
    standing: Standing
    error: str | None
    """What is wrong with the inventory file."""
    rows: tuple[str, ...]
    """HTML, worst first."""


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a page since its token."""

    token: str
    standing: Standing | None
    error_changed: bool
    error: str | None
    rows: tuple[tuple[str, str], ...]
    """Id and HTML of the rows that the page has, and that now say something else."""
    added: tuple[str, ...]
    order: tuple[str, ...] | None
    """The machines' ids as they now stand, where that changed."""


class _Kept:
    def __init__(self, view: MachineView, said: Row, html: str, revision: int) -> None:
        self.view = view
        self.said = said
        self.html = html
        self.added_at = revision
        self.changed_at = revision


class Board:
    """Safe to use from several threads. ``render`` makes a row's HTML."""

    def __init__(self, services: Services, render: Callable[[Row], str]) -> None:
        self._services = services
        self._render = render
        self._lock = threading.Lock()
        self._boot = secrets.token_hex(4)
        self._revision = 0
        self._seen: _Seen = (-1, None, None, None)
        self._kept: dict[str, _Kept] = {}
        self._standing = standing((), (), Made())
        self._standing_at = 0
        self._error: str | None = None
        self._error_at = 0
        self._order: tuple[str, ...] = ()
        self._order_at = 0

    def page(self) -> Page:
        """The whole page as it is now."""
        with self._lock:
            self._refresh()
            return Page(
                token=self._token(),
                standing=self._standing,
                error=self._error,
                rows=tuple(self._kept[id_].html for id_ in self._order),
            )

    def changes(self, token: str) -> Changes | None:
        """What changed since a page had this token; None where it is of another run: reload."""
        with self._lock:
            self._refresh()
            boot, _, number = token.partition("-")
            if boot != self._boot or not number.isdecimal() or int(number) > self._revision:
                return None
            since = int(number)
            kept = [self._kept[id_] for id_ in self._order]
            return Changes(
                token=self._token(),
                standing=self._standing if self._standing_at > since else None,
                error_changed=self._error_at > since,
                error=self._error,
                rows=tuple((k.said.id, k.html) for k in kept if k.added_at <= since < k.changed_at),
                added=tuple(k.html for k in kept if k.added_at > since),
                order=self._order if self._order_at > since else None,
            )

    def _token(self) -> str:
        return f"{self._boot}-{self._revision}"

    def _refresh(self) -> None:
        source = self._services.inventory_file
        # The version is read before the views, so that a change between the two is seen next time.
        made = self._services.last_hour.current
        seen = (self._services.state.version, source.current, source.error, made)
        if _are_same(seen, self._seen):
            return
        retiered = self._seen[1] is None or seen[1].tiers != self._seen[1].tiers
        self._seen = seen
        revision = self._revision + 1
        views = self._services.state.views()
        changed = self._refresh_rows(views, seen[1], revision, retiered=retiered)
        changed |= self._refresh_rest(views, seen[1], seen[2], made, revision)
        if changed:
            self._revision = revision

    def _refresh_rows(
        self, views: tuple[MachineView, ...], inventory: Inventory, revision: int, *, retiered: bool
    ) -> bool:
        changed = False
        for view in views:
            kept = self._kept.get(view.machine.id)
            if kept and kept.view is view and not retiered:
                continue
            said = row(view, inventory.tiers)
            if kept is None:
                self._kept[view.machine.id] = _Kept(view, said, self._render(said), revision)
                changed = True
                continue
            kept.view = view
            if kept.said != said:
                kept.said, kept.html, kept.changed_at = said, self._render(said), revision
                changed = True
        return changed

    def _refresh_rest(
        self,
        views: tuple[MachineView, ...],
        inventory: Inventory,
        error: str | None,
        made: Made,
        revision: int,
    ) -> bool:
        order = tuple(view.machine.id for view in views)
        if order != self._order:
            if not order or not self._order:
                # The page of an empty fleet is another one: who has either must load it anew.
                self._boot = secrets.token_hex(4)
            self._order, self._order_at = order, revision
            self._kept = {id_: self._kept[id_] for id_ in order}
        now = standing(views, inventory.tiers, made)
        if now != self._standing:
            self._standing, self._standing_at = now, revision
        if error != self._error:
            self._error, self._error_at = error, revision
        return revision in (self._order_at, self._standing_at, self._error_at)


def _are_same(one: _Seen, other: _Seen) -> bool:
    """Whether nothing happened; an inventory and a count hold until others take their place."""
    return one[0] == other[0] and one[1] is other[1] and one[2] == other[2] and one[3] is other[3]
