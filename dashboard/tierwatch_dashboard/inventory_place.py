"""Where the inventory's text stands: what a place must do, and a file as one."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from tierwatch_agent.words import say
from tierwatch_dashboard import whole_file
from tierwatch_dashboard.inventory import Inventory, InventoryError
from tierwatch_dashboard.inventory_change import Change, EditError

SETTLE_SECONDS = 0.05
"""A file that changed is read until two readings so far apart agree: an editor may be at it."""
_SETTLE_READINGS = 10


class Unwritable(EditError):
    """The file cannot be written; ``lines`` are what a person would change in it."""

    def __init__(self, words: str, changed: Sequence[str] = ()) -> None:
        super().__init__(words)
        self.lines = tuple(changed)


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What a text that is put somewhere comes of."""

    inventory: Inventory
    """What the text says."""
    by: str | None
    change: Change | None
    """What a page changed; None: the whole was put there."""


class Place(Protocol):
    """Somewhere that the text stands; ``InventoryFile`` calls it from one thread at a time."""

    @property
    def name(self) -> str:
        """How errors name it."""
        ...

    def read(self) -> bytes:
        """What it says; InventoryError or DatabaseError where it cannot be read."""
        ...

    def settled(self, known: bytes | None) -> bytes:
        """The same, once nobody is about to write it; at once where it still says ``known``."""
        ...

    def turn(self) -> AbstractContextManager[None]:
        """Waits until no other dashboard is about to replace it."""
        ...

    def replace(self, expected: bytes, new: bytes, made: Made) -> bool:
        """Puts a new text in the place of the expected one; False where it says another.

        Then nothing is written. ``Unwritable`` or DatabaseError where it cannot be.
        """
        ...


class FilePlace:
    """A file. Who changed it is written down by who reads it."""

    def __init__(self, path: Path, sleep: Callable[[float], None] = time.sleep) -> None:
        self._path = path
        self._sleep = sleep

    @property
    def name(self) -> str:
        """The file's, without its folder."""
        return self._path.name

    def read(self) -> bytes:
        """What it says; InventoryError where it cannot be read."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            raise InventoryError(
                f"{self._path}: there is no such file; deploy/tierwatch.toml is an example to "
                "start from"
            ) from None
        except IsADirectoryError:
            raise InventoryError(f"{self._path}: this is a folder; name the file in it") from None
        except OSError as error:
            raise InventoryError(f"{self._path}: cannot be read: {error.strerror}") from error

    def settled(self, known: bytes | None) -> bytes:
        """What two readings agree on; InventoryError where it cannot be read all along."""
        content = self._attempt()
        for _ in range(_SETTLE_READINGS):
            if content is not None and content == known:
                return content
            self._sleep(SETTLE_SECONDS)
            before, content = content, self._attempt()
            if content is not None and content == before:
                return content
        return self.read()

    @contextmanager
    def turn(self) -> Generator[None]:
        """Waits for a lock on its folder."""
        try:
            with whole_file.turn(self._path.resolve()):
                yield
        except OSError as error:
            raise self._unwritable(error) from error

    def replace(self, expected: bytes, new: bytes, made: Made) -> bool:  # noqa: ARG002  a Place
        """Whole, or not at all (see ``whole_file``)."""
        try:
            return whole_file.replace(self._path.resolve(), new, expected)
        except FileNotFoundError:
            # An editor that saves may take the file away for a moment.
            return False
        except OSError as error:
            raise self._unwritable(error) from error

    def _attempt(self) -> bytes | None:
        try:
            return self.read()
        except InventoryError:
            return None

    def _unwritable(self, error: OSError) -> Unwritable:
        if error.errno == errno.EROFS:
            why = say("its drive is mounted read-only")
        elif error.errno == errno.EBUSY:
            why = say("it is mounted by itself: mount its folder instead")
        else:
            why = error.strerror or str(error)
        return Unwritable(
            say(
                "{file} cannot be written ({why}). Nothing was changed; have it changed there, and "
                "it takes force within seconds.",
                file=str(self._path.resolve()),
                why=why,
            )
        )
