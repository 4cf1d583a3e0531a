"""The dashboard's own settings: flags before environment before ``[dashboard]`` before defaults.

They stand in the file that holds the inventory, ``tierwatch.toml``, whose tables are not looked at
here; with ``inventory = "database"`` it holds nothing else.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import platformdirs

from tierwatch_dashboard.fleet import SOURCES, promql_settings
from tierwatch_dashboard.fleet.promql_settings import PromqlSettings
from tierwatch_dashboard.toml_table import Table

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_NAME = "tierwatch.toml"
TABLE = "dashboard"
DEFAULT_LISTEN = "127.0.0.1:8090"
LOG_FORMATS = ("text", "json")
INVENTORIES = ("file", "database")
ENVIRONMENT = {
    "listen": "TIERWATCH_LISTEN",
    "database": "TIERWATCH_DATABASE",
    "inventory": "TIERWATCH_INVENTORY",
    "poll_interval": "TIERWATCH_POLL_INTERVAL",
    "fleet.source": "TIERWATCH_FLEET_SOURCE",
    "fleet.url": "TIERWATCH_FLEET_URL",
    "fleet.bearer_file": "TIERWATCH_FLEET_BEARER_FILE",
    "log_format": "TIERWATCH_LOG_FORMAT",
}
"""Setting to the environment variable that sets it; ``TIERWATCH_CONFIG`` names the file."""

SMALLEST = """\
[[machine]]
id = "render-01"
url = "http://render-01:9838"
tier = "mass"
"""
"""The smallest file that makes a dashboard."""


class ConfigError(ValueError):
    """Settings that cannot be used; the text names where they stand, the key and the mend."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What a dashboard runs with."""

    file: Path
    """Holds the settings, and the inventory unless that is in the database."""
    database: str
    """An SQLAlchemy URL."""
    inventory: str = "file"
    """``file``: beside the settings; ``database``: one for all dashboards that share it."""
    listen: str = DEFAULT_LISTEN
    """HOST:PORT; loopback unless told otherwise. Port 0 takes any free one."""
    poll_interval_seconds: float = 5.0
    fleet_source: str = "polling"
    """A name of ``fleet.SOURCES``."""
    engine: PromqlSettings | None = None
    """Where fleet and history are read from, where that is no agent; None: from the agents."""
    log_format: str = "text"
    """``text`` or ``json``."""


def find(
    given: Path | None,
    *,
    environment: Mapping[str, str] = os.environ,
    folders: tuple[Path, ...] | None = None,
) -> Path:
    """The file to use: the given one, ``TIERWATCH_CONFIG``'s, else the first that exists.

    ``folders`` to look in: this one, the user's own settings, the machine's. ConfigError where no
    file is found.
    """
    if given is None and "TIERWATCH_CONFIG" in environment:
        given = Path(environment["TIERWATCH_CONFIG"])
    if given is not None:
        return given
    if folders is None:
        folders = (
            Path(),
            platformdirs.user_config_path("tierwatch"),
            platformdirs.site_config_path("tierwatch"),
        )
    places = [folder / FILE_NAME for folder in folders]
    for place in places:
        if place.exists():
            return place
    raise ConfigError(
        f"there is no {places[0]} here, nor {' or '.join(str(place) for place in places[1:])}: "
        f"write one, or name it with --config. The smallest:\n\n{SMALLEST}"
    )


def load(
    file: Path,
    *,
    flags: Mapping[str, str | None],
    environment: Mapping[str, str] = os.environ,
) -> Config:
    """The settings in force; ConfigError says what is wrong, and where."""
    settings: dict[str, Any] = {"database": _database("tierwatch.db", file.parent)}
    written = _written(file)
    tables = [(written, file.parent)]
    for key, variable in ENVIRONMENT.items():
        if variable in environment:
            tables.append((_alone(key, environment[variable], variable), Path()))
    for key, flag in flags.items():
        if flag is not None:
            tables.append((_alone(key, flag, f"--{key.replace('_', '-')}"), Path()))
    engine: dict[str, Any] = {}
    for table, folder in tables:
        settings |= _settings(table, folder)
        engine |= promql_settings.given(table.table("fleet"), folder)
    settings["engine"] = _engine(settings.get("fleet_source"), engine, written)
    return Config(file=file, **settings)


def refuse_inventory(file: Path) -> None:
    """ConfigError where the settings' file holds an inventory too, which is in the database."""
    others = [key for key in _top(file).given if key != TABLE]
    if others:
        raise ConfigError(
            f"{file}: {', '.join(others)}: the inventory is in the database (inventory = "
            f'"database"): put it there with "tierwatch inventory put {file}", then remove all '
            f"but [{TABLE}] here"
        )


def address(listen: str) -> tuple[str, int]:
    """Host and port of a HOST:PORT; ValueError says how to write one."""
    host, colon, port = listen.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    sound = colon and bare and port.isascii() and port.isdigit() and int(port) < 65536
    if not sound or (":" in host and bare == host):
        raise ValueError(f'"{listen}" is not HOST:PORT, such as {DEFAULT_LISTEN} or [::1]:8090')
    return bare, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _written(file: Path) -> Table:
    return _top(file).table(TABLE)


def _top(file: Path) -> Table:
    try:
        with file.open("rb") as stream:
            document = tomllib.load(stream)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is not TOML: {error}") from error
    return Table(document, str(file), ConfigError)


def _alone(key: str, value: str, origin: str) -> Table:
    """A setting that stands for itself, in a flag or a variable, as a table of one."""
    outer, dot, inner = key.partition(".")
    return Table({outer: {inner: value} if dot else value}, origin, ConfigError)


def _engine(source: str | None, found: dict[str, Any], written: Table) -> PromqlSettings | None:
    """What ``source = "prometheus"`` needs, and nothing else may have."""
    fleet = written.table("fleet")
    if source == "prometheus":
        return promql_settings.whole(found, fleet.wrong)
    if found:
        raise fleet.wrong(f'{next(iter(found))} is for source = "prometheus": add that line')
    return None


def _settings(table: Table, folder: Path) -> dict[str, Any]:
    """What a table sets. A database's bare path counts from ``folder``."""
    table.only(("listen", "database", "inventory", "poll_interval", "fleet", "log_format"))
    fleet = table.table("fleet")
    fleet.only(("source", *promql_settings.KEYS))
    listen = table.text("listen", DEFAULT_LISTEN)
    if listen is not None:
        try:
            address(listen)
        except ValueError as error:
            raise table.wrong(f"listen: {error}") from error
    database = table.text("database", "tierwatch.db")
    interval = table.seconds("poll_interval", "5s")
    if interval is not None and not 0.2 <= interval <= 300:
        raise table.wrong(f"poll_interval is {interval:g} s; it must be from 0.2s to 5m")
    found = {
        "listen": listen,
        "database": None if database is None else _database(database, folder),
        "poll_interval_seconds": interval,
        "fleet_source": fleet.choice("source", tuple(SOURCES)),
        "inventory": table.choice("inventory", INVENTORIES),
        "log_format": table.choice("log_format", LOG_FORMATS),
    }
    return {name: value for name, value in found.items() if value is not None}


def _database(written: str, folder: Path) -> str:
    """A URL; a bare path is SQLite's, and counts from where it was written down."""
    scheme, separator, path = written.partition(":///")
    if "://" in written and not (separator and scheme == "sqlite"):
        return written
    place = folder.absolute() / (path if separator else written)
    return f"sqlite:///{place.as_posix()}"
