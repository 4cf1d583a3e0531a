"""The inventory's file, ``tierwatch.toml``: read again when it changes, and edited by the pages.

It is the one source of truth. A page's change is made in what the file says at that moment, so that
what somebody saved in an editor stays, and is refused where the two are about the same thing.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tierwatch_agent.words import say
from tierwatch_dashboard import whole_file
from tierwatch_dashboard.inventory import Inventory, InventoryError
from tierwatch_dashboard.inventory_change import Change, EditError, applied, standing
from tierwatch_dashboard.inventory_edit import edited, lines
from tierwatch_dashboard.inventory_toml import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

SETTLE_SECONDS = 0.05
"""A file that changed is read until two readings so far apart agree: an editor may be at it."""
_SETTLE_READINGS = 10
_ATTEMPTS = 20
"""How often a change is made anew because the file changed meanwhile."""

Listener = Callable[[Inventory, str | None, Change | None], None]
"""Hears of every inventory that takes force: who made which change; None: seen in the file."""


class Conflict(EditError):
    """Somebody else changed the same thing since the form was made."""


class Unwritable(EditError):
    """The file cannot be written; ``lines`` are what a person would change in it."""

    def __init__(self, words: str, changed: Sequence[str]) -> None:
        super().__init__(words)
        self.lines = tuple(changed)


def load(path: Path) -> Inventory:
    """The inventory in a file; InventoryError names the file, the key and the mend."""
    return parse(_read(path), path.name)


class InventoryFile:
    """The inventory in force: the file's last good state. Safe to call from several threads."""

    def __init__(
        self,
        path: Path,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = path
        self._now = now
        self._sleep = sleep
        self._lock = threading.RLock()
        self._listener: Listener | None = None
        self._content: bytes | None = _read(path)
        self.current: Inventory = parse(self._content, path.name)
        """The last good one."""
        self.error: str | None = None
        """What is wrong with the file as it is now, in words; None: nothing."""
        self.loaded_at: float = now()
        """When the inventory in force was read, in Unix seconds."""

    def listen(self, listener: Listener) -> None:
        """Has one listener hear of the inventory in force, and of each that takes its place."""
        self._listener = listener
        listener(self.current, None, None)

    def refresh(self) -> bool:
        """Reads the file if it has changed; says whether the inventory in force has.

        The content is compared, not the time of change: that is too coarse on some file systems,
        and the file is small.
        """
        with self._lock:
            try:
                content = self._settled()
                if content == self._content:
                    return False
                self._content = content
                inventory = parse(content, self._path.name)
            except InventoryError as error:
                self.error = str(error)
                return False
            return self._adopt(inventory, None, None)

    def change(self, change: Change, by: str, expected: str | None = None) -> None:
        """Makes a change in the file; it is in force when this returns.

        Args:
            change: What is to be changed.
            by: Who does it.
            expected: What the inventory said of it when they decided (``standing``); None: whatever
                it says.

        Raises:
            Conflict: It says something else by now.
            Unwritable: The file cannot be written.
            EditError: The change cannot be, or the file is not valid as it is.
        """
        path = self._path.resolve()
        with self._lock:
            try:
                with whole_file.turn(path):
                    made = any(self._try(path, change, by, expected) for _ in range(_ATTEMPTS))
            except OSError as error:
                raise self._unwritable(path, change, error) from error
        if not made:
            raise EditError(
                say("The file is being changed all the time: nothing was changed. Try again.")
            )

    def _try(self, path: Path, change: Change, by: str, expected: str | None) -> bool:
        """Makes a change in what the file says now; False where it changed meanwhile."""
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
        try:
            if not whole_file.replace(path, content, self._content):
                return False
        except FileNotFoundError:
            # An editor that saves may take the file away for a moment.
            return False
        self._content = content
        self._adopt(inventory, by, change)
        return True

    def _edited(self, content: bytes, change: Change) -> tuple[bytes, Inventory]:
        """The file's new content, held to be the change and nothing else."""
        wanted = applied(self.current, change)
        new = edited(content, change)
        try:
            found = parse(new, self._path.name)
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

    def _unwritable(self, path: Path, change: Change, error: OSError) -> Unwritable:
        if error.errno == errno.EROFS:
            why = say("its drive is mounted read-only")
        elif error.errno == errno.EBUSY:
            why = say("it is mounted by itself: mount its folder instead")
        else:
            why = error.strerror or str(error)
        content = self._content or b""
        return Unwritable(
            say(
                "{file} cannot be written ({why}). Nothing was changed; have it changed there, and "
                "it takes force within seconds.",
                file=str(path),
                why=why,
            ),
            lines(content, edited(content, change)),
        )

    def _adopt(self, inventory: Inventory, by: str | None, change: Change | None) -> bool:
        self.error = None
        self.loaded_at = self._now()
        if inventory == self.current:
            return False
        self.current = inventory
        if self._listener is not None:
            self._listener(inventory, by, change)
        return True

    def _settled(self) -> bytes:
        content = self._attempt()
        for _ in range(_SETTLE_READINGS):
            if content is not None and content == self._content:
                return content
            self._sleep(SETTLE_SECONDS)
            before, content = content, self._attempt()
            if content is not None and content == before:
                return content
        # Missing or unreadable all along: whatever comes back counts as a change.
        self._content = None
        return _read(self._path)

    def _attempt(self) -> bytes | None:
        try:
            return _read(self._path)
        except InventoryError:
            return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InventoryError(
            f"{path}: there is no such file; deploy/tierwatch.toml is an example to start from"
        ) from None
    except IsADirectoryError:
        raise InventoryError(f"{path}: this is a folder; name the file in it") from None
    except OSError as error:
        raise InventoryError(f"{path}: cannot be read: {error.strerror}") from error
