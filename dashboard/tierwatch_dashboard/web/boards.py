"""The views of the fleet page that somebody looks at, over one store of rows.

Everybody who looks at the same view shares a board; the least recently asked for is let go.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from tierwatch_dashboard.web.board import Board, Changes, Found, Heading
from tierwatch_dashboard.web.choosing import Asked, Options, options
from tierwatch_dashboard.web.row_store import Dated, RowStore
from tierwatch_dashboard.web.rows import Row

if TYPE_CHECKING:
    from tierwatch_dashboard.app import Services

_KEPT = 32
_WATCHED_SECONDS = 10.0
"""How long after its last question a page counts as open."""


class Boards:
    """Safe to use from several threads. What it is given says things in a request's language."""

    def __init__(
        self,
        services: Services,
        *,
        render: Callable[[Row], str],
        render_heading: Callable[[str, Heading], str],
        spoken: Callable[[str], str],
        language: Callable[[], str],
    ) -> None:
        self._services = services
        self._render_heading = render_heading
        self._spoken = spoken
        self._language = language
        self._store = RowStore(services, render)
        self._boards: OrderedDict[tuple[Asked, str], Board] = OrderedDict()
        self._lock = threading.Lock()
        self._asked_at: dict[Board, float] = {}

    def look(self, speaking: Callable[[str], AbstractContextManager[object]]) -> None:
        """Takes in what became of the fleet for the pages that are open, so that none waits for it.

        ``speaking``: in which things are said in a language.
        """
        with self._lock:
            now = self._services.now()
            open_ = [b for b, at in self._asked_at.items() if now - at < _WATCHED_SECONDS]
            self._asked_at = {board: self._asked_at[board] for board in open_}
            if open_:
                self._store.look(0.0)
            for board in open_:
                with speaking(board.language):
                    board.draw()

    def found(self, asked: Asked, shown: int) -> tuple[Found, Dated]:
        """A view's window, and how the studio stands."""
        with self._lock:
            return self._look_at(asked).found(shown), self._store.dated

    def changes(self, asked: Asked, token: str, shown: int) -> Changes | None:
        """What became of a page (see ``Board.changes``)."""
        with self._lock:
            return self._look_at(asked).changes(token, shown)

    def options(self) -> Options:
        """What of this fleet a view may ask for."""
        with self._lock:
            self._store.look(self._services.look_seconds)
            return options(self._store.machines, self._services.inventory_file.current.tiers)

    def _look_at(self, asked: Asked) -> Board:
        self._store.look(self._services.look_seconds)
        key = (asked, self._language())
        board = self._boards.get(key)
        if board is None:
            board = Board(self._store, *key, self._spoken, self._render_heading)
            self._boards[key] = board
        self._boards.move_to_end(key)
        self._asked_at[board] = self._services.now()
        while len(self._boards) > _KEPT:
            _, least = self._boards.popitem(last=False)
            self._asked_at.pop(least, None)
        return board
