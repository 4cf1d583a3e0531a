"""The dashboard's own settings: flags before environment before ``[dashboard]`` before defaults.

They stand in the file that holds the inventory, ``tierwatch.toml``; the inventory's tables are not
looked at here.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import platformdirs

from tierwatch_dashboard.fleet import SOURCES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_NAME = "tierwatch.toml"
TABLE = "dashboard"
DEFAULT_LISTEN = "127.0.0.1:8090"
LOG_FORMATS = ("text", "json")
ENVIRONMENT = {
    "listen": "TIERWATCH_LISTEN",
    "database": "TIERWATCH_DATABASE",
    "poll_interval": "TIERWATCH_POLL_INTERVAL",
    "fleet.source": "TIERWATCH_FLEET_SOURCE",
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
    """Holds the settings and the inventory."""
    host: str
    port: int
    """0 takes any free one."""
    database: str
    """An SQLAlchemy URL."""
    poll_interval_seconds: float
    fleet_source: str
    """A name of ``fleet.SOURCES``."""
    log_format: str
    """``text`` or ``json``."""

    @property
    def listen(self) -> str:
        """HOST:PORT, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


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
    settings = _Settings(file)
    for key, value in _written(file):
        settings.set(key, value, f"{file}: {TABLE}.{key}", file.parent)
    for key, variable in ENVIRONMENT.items():
        if variable in environment:
            settings.set(key, environment[variable], variable, Path())
    for key, flag in flags.items():
        if flag is not None:
            settings.set(key, flag, f"--{key.replace('_', '-')}", Path())
    host, port = settings.values["listen"]
    return Config(
        file=file,
        host=host,
        port=port,
        database=settings.values["database"],
        poll_interval_seconds=settings.values["poll_interval"],
        fleet_source=settings.values["fleet.source"],
        log_format=settings.values["log_format"],
    )


class _Settings:
    """The values so far, from the weakest origin to the strongest."""

    def __init__(self, file: Path) -> None:
        self.values: dict[str, Any] = {
            "listen": address(DEFAULT_LISTEN),
            "database": _database("tierwatch.db", file.parent),
            "poll_interval": 5.0,
            "fleet.source": "polling",
            "log_format": "text",
        }

    def set(self, key: str, value: object, origin: str, folder: Path) -> None:
        if key not in _READERS:
            close = difflib.get_close_matches(key, _READERS, n=1)
            mend = f"did you mean {close[0]}?" if close else f"there are {', '.join(_READERS)}"
            raise ConfigError(f"{origin}: there is no such setting: {mend}")
        if not isinstance(value, str):
            mend = f'write it in quotes, such as "{_EXAMPLES[key]}"'
            raise ConfigError(f"{origin}: {value!r} is not text: {mend}")
        try:
            self.values[key] = _READERS[key](value, folder)
        except ValueError as error:
            raise ConfigError(f"{origin}: {error}") from error


def address(text: str) -> tuple[str, int]:
    """HOST:PORT taken apart; ValueError says how to write it."""
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not (colon and bare and port.isascii() and port.isdigit() and int(port) < 65536) or (
        ":" in host and bare == host
    ):
        raise ValueError(f'"{text}" is not HOST:PORT, such as {DEFAULT_LISTEN} or [::1]:8090')
    return bare, int(port)


def _written(file: Path) -> Iterator[tuple[str, object]]:
    """Each setting of the file's ``[dashboard]``, with a dot before what is in a table of it."""
    try:
        with file.open("rb") as stream:
            document = tomllib.load(stream)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is not TOML: {error}") from error
    table = document.get(TABLE, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: {TABLE} is a table: write [{TABLE}] and its settings below it")
    for key, value in cast("dict[str, object]", table).items():
        if isinstance(value, dict):
            for inner, item in cast("dict[str, object]", value).items():
                yield f"{key}.{inner}", item
        else:
            yield key, value


def _listen(text: str, _folder: Path) -> tuple[str, int]:
    return address(text)


def _database(text: str, folder: Path) -> str:
    """A URL; a bare path is SQLite's, and counts from where it was written down."""
    if not text:
        raise ValueError('is empty: leave it out, or write such as "tierwatch.db"')
    scheme, separator, path = text.partition(":///")
    if "://" in text and not (separator and scheme == "sqlite"):
        return text
    place = folder.absolute() / (path if separator else text)
    return f"sqlite:///{place.as_posix()}"


def _poll_interval(text: str, _folder: Path) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m)", text)
    if not match:
        raise ValueError(f'"{text}" is no span of time: write it as "5s" or "1min"')
    seconds = float(match[1]) * {"ms": 0.001, "s": 1, "min": 60, "m": 60}[match[2]]
    if not 0.2 <= seconds <= 300:
        raise ValueError(f'"{text}" is not between 0.2s and 5min')
    return seconds


def _fleet_source(text: str, _folder: Path) -> str:
    return _one_of(text, SOURCES)


def _log_format(text: str, _folder: Path) -> str:
    return _one_of(text, LOG_FORMATS)


def _one_of(text: str, known: Mapping[str, str] | tuple[str, ...]) -> str:
    if text not in known:
        raise ValueError(f'"{text}" is not one of {", ".join(known)}')
    return text


_READERS: dict[str, Callable[[str, Path], Any]] = {
    "listen": _listen,
    "database": _database,
    "poll_interval": _poll_interval,
    "fleet.source": _fleet_source,
    "log_format": _log_format,
}
_EXAMPLES = {
    "listen": DEFAULT_LISTEN,
    "database": "tierwatch.db",
    "poll_interval": "5s",
    "fleet.source": "polling",
    "log_format": "text",
}
