"""The inventory's text, ``tierwatch.toml``: read again when it changes, and edited by the pages.

It is the one source of truth, a file or a text in the database (``Place``). A page's change is made
in what it says at that moment, so that what somebody saved in an editor stays, and is refused where
the two are about the same thing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from tierwatch_agent.words import say
from tierwatch_dashboard.inventory import Inventory, InventoryError
from tierwatch_dashboard.inventory_change import Change, EditError, applied, standing
from tierwatch_dashboard.inventory_edit import edited, lines
from tierwatch_dashboard.inventory_place import FilePlace, Made, Place, Unwritable
from tierwatch_dashboard.inventory_toml import parse

_ATTEMPTS = 20
"""How often a change is made anew because the text changed meanwhile."""

Listener = Callable[[Inventory, str | None, Change | None], None]
"""Hears of every inventory that takes force: who made which change; None: seen as it stands."""


class Conflict(EditError):
    """Somebody else changed the same thing since the form was made."""


def load(path: Path) -> Inventory:
    """The inventory in a file; InventoryError names the file, the key and the mend."""
    place = FilePlace(path)
    return parse(place.read(), place.name)


class InventoryFile:
    """The inventory in force: its text's last good state. Safe to call from several threads.

    InventoryError or DatabaseError where there is none to begin with.
    """

    def __init__(self, place: Place, now: Callable[[], float] = time.time) -> None:
        self._place = place
        self._now = now
        self._lock = threading.RLock()
        self._listener: Listener | None = None
        self._content: bytes | None = place.read()
        self.current: Inventory = parse(self._content, place.name)
        """The last good one."""
        self.error: str | None = None
        """What is wrong with the text as it is now, in words; None: nothing."""
        self.loaded_at: float = now()
        """When the inventory in force was read, in Unix seconds."""

    def listen(self, listener: Listener) -> None:
        """Has one listener hear of the inventory in force, and of each that takes its place."""
        self._listener = listener
        listener(self.current, None, None)

    def refresh(self) -> bool:
        """Reads the text if it has changed; says whether the inventory in force has.

        The content is compared, not the time of change: that is too coarse on some file systems,
        and the text is small.

        Raises:
            DatabaseError: It stands in a database that gives no answer. What is in force stays so.
        """
        with self._lock:
            try:
                content = self._place.settled(self._content)
            except InventoryError as error:
                # Whatever comes back counts as a change.
                self._content, self.error = None, str(error)
                return False
            if content == self._content:
                return False
            self._content = content
            try:
                inventory = parse(content, self._place.name)
            except InventoryError as error:
                self.error = str(error)
                return False
            return self._adopt(inventory, None, None)

    def change(self, change: Change, by: str, expected: str | None = None) -> None:
        """Makes a change in the text; it is in force when this returns.

        Args:
            change: What is to be changed.
            by: Who does it.
            expected: What the inventory said of it when they decided (``standing``); None: whatever
                it says.

        Raises:
            Conflict: It says something else by now.
            Unwritable: The file cannot be written.
            EditError: The change cannot be, or the text is not valid as it is.
            DatabaseError: It stands in a database that gives no answer; nothing was changed.
        """
        with self._lock:
            try:
                with self._place.turn():
                    made = any(self._try(change, by, expected) for _ in range(_ATTEMPTS))
            except Unwritable as error:
                content = self._content or b""
                raise Unwritable(error.words, lines(content, edited(content, change))) from error
        if not made:
            raise EditError(
                say("The file is being changed all the time: nothing was changed. Try again.")
            )

    def _try(self, change: Change, by: str, expected: str | None) -> bool:
        """Makes a change in what the text says now; False where it changed meanwhile."""
        self.refresh()
        if self.error is not None or self._content is None:
            raise EditError(
                say(
                    "Nothing was changed, as the file is not valid as it stands. {error}",
                    error=self.error,
                )
            )
        if applied(self.current, change) == self.current:
            return True
        if expected is not None and standing(self.current, change) != expected:
            raise Conflict(say("Nothing was changed: somebody else changed the same meanwhile."))
        content, inventory = self._edited(self._content, change)
        made = Made(inventory=inventory, by=by, change=change)
        if not self._place.replace(self._content, content, made):
            return False
        self._content = content
        self._adopt(inventory, by, change)
        return True

    def _edited(self, content: bytes, change: Change) -> tuple[bytes, Inventory]:
        """The new content, held to be the change and nothing else."""
        wanted = applied(self.current, change)
        new = edited(content, change)
        try:
            found = parse(new, self._place.name)
        except InventoryError as error:
            raise EditError(
                say(
                    "Nothing was changed, as the file would not be valid any more. {error}",
                    error=str(error),
                )
            ) from error
        if (found.machines, found.tiers, found.policy) != (
            wanted.machines,
            wanted.tiers,
            wanted.policy,
        ):
            raise EditError(
                say("The file is written in a way that a page cannot edit: edit it by hand.")
            )
        return new, found

    def _adopt(self, inventory: Inventory, by: str | None, change: Change | None) -> bool:
        self.error = None
        self.loaded_at = self._now()
        if inventory == self.current:
            return False
        self.current = inventory
        if self._listener is not None:
            self._listener(inventory, by, change)
        return True
