"""The inventory as a dashboard's settings have it: opened where it stands, shown, and put there."""

from __future__ import annotations

import getpass
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from tierwatch_dashboard.audit import AuditLog
from tierwatch_dashboard.config import TABLE, Config, ConfigError, refuse_inventory
from tierwatch_dashboard.database import DatabaseError, open_database
from tierwatch_dashboard.inventory import Inventory, InventoryError
from tierwatch_dashboard.inventory_change import EditError
from tierwatch_dashboard.inventory_database import DatabasePlace
from tierwatch_dashboard.inventory_edit import without
from tierwatch_dashboard.inventory_place import FilePlace, Made, Place
from tierwatch_dashboard.inventory_toml import parse


def place_of(config: Config, engine: Engine, log: AuditLog) -> Place:
    """Where the inventory stands; ConfigError where it stands in two places."""
    if config.inventory == "file":
        return FilePlace(config.file)
    refuse_inventory(config.file)
    return DatabasePlace(engine, log.take_within)


def load(config: Config) -> Inventory:
    """The inventory in force; ConfigError says what is wrong with it, or with its place."""
    try:
        if config.inventory == "file":
            place = FilePlace(config.file)
            return parse(place.read(), place.name)
        refuse_inventory(config.file)
        with _opened(config) as place:
            return parse(place.read(), place.name)
    except (InventoryError, DatabaseError) as error:
        raise ConfigError(str(error)) from error


def shown(config: Config) -> bytes:
    """The text in the database; ConfigError where there is no such."""
    with _in_database(config) as place:
        return place.read()


def put(config: Config, file: Path) -> Inventory:
    """Puts a file's text in the database, all but its settings; gives what it says.

    ConfigError where the text is wrong, which changes nothing, or the database cannot be used.
    """
    try:
        content = FilePlace(file).read()
        inventory = parse(content, file.name)
        content = without(content, TABLE)
    except (InventoryError, EditError) as error:
        raise ConfigError(str(error)) from error
    made = Made(inventory=inventory, by=_user(), change=None)
    with _in_database(config) as place:
        while not place.replace(place.read(), content, made):
            pass
    return inventory


@contextmanager
def _in_database(config: Config) -> Generator[DatabasePlace]:
    if config.inventory == "file":
        raise ConfigError(
            f"{config.file} is the inventory itself: edit it. To have it in the database, add "
            f'inventory = "database" under [{TABLE}] there'
        )
    try:
        with _opened(config) as place:
            yield place
    except DatabaseError as error:
        raise ConfigError(str(error)) from error


@contextmanager
def _opened(config: Config) -> Generator[DatabasePlace]:
    engine = open_database(config.database)
    try:
        yield DatabasePlace(engine, AuditLog(engine).take_within)
    finally:
        engine.dispose()


def _user() -> str | None:
    """Who runs the command; None where the system does not know."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return None
