"""One view of the fleet page: what it lists now, and what became of it since a page last asked.

A page has the first so many entries of the list, its window. It says which (a token), and is sent
what of them changed, what entered, and the order where that is another. A board is shared by every
page of the same view, whatever their windows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from zlib import crc32

import msgspec

from tierwatch_dashboard.verdict import State
from tierwatch_dashboard.web.choosing import Asked, Chosen, Group, choose
from tierwatch_dashboard.web.row_store import Dated, Faults, Item, RowStore
from tierwatch_dashboard.web.rows import TROUBLE
from tierwatch_dashboard.web.standing import Standing

STEP = 60
"""Entries that a page has at first, and by which it grows."""

MOST_DRAWN = 4 * STEP
"""Entries of a view that are drawn before a page asks for them, at most."""

_REMEMBERED = 64
"""Orders; a page that has an older one is sent its whole window."""


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """What stands over a group."""

    name: str | None
    """None: over the machines that no group takes."""
    count: int
    trouble: int
    """How many of them are in trouble."""


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What a view finds: how many machines of how many, and of which states."""

    asked: Asked
    count: int
    all: int
    states: tuple[tuple[State, int], ...]
    """Those there are, worst first, whichever is asked for; and the one that is."""

    @property
    def any_state(self) -> int:
        """How many there are of whatever state."""
        return sum(count for _, count in self.states)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a view shows of the list, at one revision."""

    token: str
    tally: Tally
    items: tuple[str, ...]
    """HTML, in order."""
    more: int | None
    """How large the next window is; None: this one holds all."""


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a page since its token."""

    token: str
    standing: Standing | None
    faults: Faults | None
    """None: they are the same."""
    tally: Tally | None
    items: tuple[tuple[str, str], ...]
    """Id and HTML of the entries that the page has, and that now say something else."""
    added: tuple[str, ...]
    order: tuple[str, ...] | None
    """Ids of the window's entries as they now stand, where that changed."""
    whole: tuple[str, ...] | None
    """The whole window, in place of all that, for a page that has too old a one."""
    more: int | None
    lasting: bool
    """Whether the page may go on with the token that it has."""

    @property
    def none(self) -> bool:
        """Whether there is nothing to tell."""
        told = self.standing or self.faults or self.tally or self.items or self.added
        return self.lasting and not told and self.order is None


class Board:
    """One view in one language; ``spoken`` and ``render`` say words and headings in it.

    Its callers hold the store's lock and have had it look.
    """

    def __init__(
        self,
        store: RowStore,
        asked: Asked,
        language: str,
        spoken: Callable[[str], str],
        render: Callable[[str, Heading], str],
    ) -> None:
        self._store = store
        self._asked = asked
        self._language = language
        self._spoken = spoken
        self._render = render
        self._seen = -1
        self._orders: deque[tuple[int, tuple[str, ...]]] = deque(maxlen=_REMEMBERED)
        self._machines: dict[str, str] = {}
        self._headings: dict[str, tuple[Heading, Item]] = {}
        self._tally: Tally | None = None
        self._tally_at = 0
        self._largest = 0

    @property
    def language(self) -> str:
        """Its code."""
        return self._language

    def draw(self) -> None:
        """Draws what its pages will ask for next."""
        self._look()
        for key in self._window(min(self._largest, MOST_DRAWN)):
            self._item(key)

    def found(self, shown: int) -> Found:
        """The view as it is now, with a window of so many entries."""
        tally = self._look()
        window = self._window(shown)
        return Found(
            token=self._token(shown),
            tally=tally,
            items=tuple(self._item(key).html for key in window),
            more=self._more(shown),
        )

    def changes(self, token: str, shown: int) -> Changes | None:
        """What became of a page of that token that is to have so large a window from now on.

        None where the token is of another run: such a page must load anew.
        """
        tally = self._look()
        boot, _, numbers = token.partition("-")
        numbers, _, had = numbers.partition("-")
        if boot != self._store.boot or not (numbers.isdecimal() and had.isdecimal()):
            return None
        since, had = int(numbers), int(had)
        before, now = self._order_at(since), self._window(shown)
        own = frozenset(before[:had] if before is not None else ())
        items = [(key, self._item(key)) for key in now]
        dated: Dated = self._store.dated
        return Changes(
            token=self._token(shown),
            standing=dated.standing if dated.standing_at > since else None,
            faults=dated.faults if dated.faults_at > since else None,
            tally=tally if self._tally_at > since else None,
            items=tuple(
                (key, item.html) for key, item in items if key in own and item.changed_at > since
            ),
            added=tuple(item.html for key, item in items if key not in own),
            order=now if before is not None and before[:had] != now else None,
            whole=tuple(item.html for _, item in items) if before is None else None,
            more=self._more(shown),
            lasting=self._orders[-1][0] <= since and had == shown,
        )

    def _look(self) -> Tally:
        revision = self._store.revision
        if self._tally is not None and self._seen == revision:
            return self._tally
        self._seen = revision
        chosen = choose(self._store.machines, self._asked, self._spoken)
        self._machines = {
            f"m-{each.id}": each.id for group in chosen.groups for each in group.machines
        }
        order = tuple(self._keys(chosen))
        if not self._orders or self._orders[-1][1] != order:
            self._orders.append((revision, order))
        tally = _tally(self._asked, chosen, len(self._store.machines))
        if tally != self._tally:
            self._tally, self._tally_at = tally, revision
        return tally

    def _keys(self, chosen: Chosen) -> Iterator[str]:
        """Ids of the entries, each group's heading before its machines."""
        before, self._headings = self._headings, {}
        for group in chosen.groups:
            if self._asked.group is not None:
                key = f"g-{crc32((group.name or '').encode()):08x}"
                self._headings[key] = self._headed(key, group, before.get(key))
                yield key
            for each in group.machines:
                yield f"m-{each.id}"

    def _headed(
        self, key: str, group: Group, before: tuple[Heading, Item] | None
    ) -> tuple[Heading, Item]:
        heading = Heading(
            name=group.name,
            count=len(group.machines),
            trouble=sum(each.state in TROUBLE for each in group.machines),
        )
        if before is not None and before[0] == heading:
            return before
        html = self._render(key, heading)
        return heading, Item(html=html, changed_at=self._store.revision)

    def _item(self, key: str) -> Item:
        if key in self._headings:
            return self._headings[key][1]
        return self._store.item(self._machines[key], self._language)

    def _window(self, shown: int) -> tuple[str, ...]:
        self._largest = max(self._largest, shown)
        return self._orders[-1][1][:shown]

    def _more(self, shown: int) -> int | None:
        return shown + STEP if len(self._orders[-1][1]) > shown else None

    def _order_at(self, revision: int) -> tuple[str, ...] | None:
        """The order that a page of that revision has; None: no longer remembered."""
        return next((order for at, order in reversed(self._orders) if at <= revision), None)

    def _token(self, shown: int) -> str:
        return f"{self._store.boot}-{self._store.revision}-{shown}"


def _tally(asked: Asked, chosen: Chosen, machines: int) -> Tally:
    states = dict(chosen.states)
    if asked.state is not None:
        states.setdefault(asked.state, 0)
    return Tally(asked=asked, count=chosen.count, all=machines, states=tuple(states.items()))
