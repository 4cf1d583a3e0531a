"""The agent's settings: flags before environment before a TOML file before defaults."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import platformdirs

from tierwatch_agent.gpus import SOURCES
from tierwatch_agent.servers import SERVERS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_NAME = "agent.toml"
ENVIRONMENT = {
    "listen": "TIERWATCH_AGENT_LISTEN",
    "machine": "TIERWATCH_AGENT_MACHINE",
    "config": "TIERWATCH_AGENT_CONFIG",
    "log_format": "TIERWATCH_AGENT_LOG_FORMAT",
}
"""Setting to the environment variable that sets it."""


class ConfigError(ValueError):
    """Settings that cannot be used; the text names where they stand, the key and the mend."""


class ServerAddress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A generation server that the agent is told of rather than finds."""

    kind: str
    url: str
    """Such as http://127.0.0.1:8188."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent runs with."""

    listen: str = "127.0.0.1:9838"
    """HOST:PORT; loopback unless told otherwise. Port 0 takes any free one."""
    machine: str | None = None
    """The machine's id; None: its hostname."""
    interval_seconds: float = 1.0
    """How often it samples."""
    deadline_seconds: float = 3.0
    """After which a source that does not answer is down."""
    sources: tuple[str, ...] = ("nvml", "amdgpu")
    source: dict[str, dict[str, Any]] = {}
    """Options by source: ``[source.simulated]``."""
    servers: tuple[ServerAddress, ...] = ()
    """Generation servers that the agent cannot find itself, since it may not see their ports."""
    discover: bool = True
    """Whether it looks for generation servers; never on a simulated machine."""
    stall_after_seconds: float = 180.0
    """How long a job may go without moving until its own pace is known."""
    state_dir: str | None = None
    """Folder of what it must know after a restart; None: where the system keeps such things."""
    log_format: str = "text"
    """``text`` or ``json``."""

    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    def state_folder(self, environment: Mapping[str, str] = os.environ) -> Path:
        """Where the agent keeps what it must know after a restart."""
        # systemd names the folder that it made for a unit with StateDirectory=.
        folder = self.state_dir or environment.get("STATE_DIRECTORY", "").split(":")[0]
        return Path(folder) if folder else platformdirs.user_state_path("tierwatch")


def load(
    path: Path | None,
    *,
    flags: Mapping[str, str | None],
    environment: Mapping[str, str] = os.environ,
) -> Config:
    """The settings in force; ConfigError says what is wrong, and where.

    ``path`` None: the file that ``TIERWATCH_AGENT_CONFIG`` names, else the machine's own, if any.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    file = _file(path, environment)
    if file is not None:
        values.update(_read(file))
        origins.update(dict.fromkeys(values, str(file)))
    for key, variable in ENVIRONMENT.items():
        if key != "config" and variable in environment:
            values[key], origins[key] = environment[variable], variable
    for key, flag in flags.items():
        if flag is not None:
            values[key], origins[key] = flag, f"--{key.replace('_', '-')}"
    return _checked(values, origins)


def default_path() -> Path:
    """Where the machine's own settings stand."""
    return platformdirs.site_config_path("tierwatch") / FILE_NAME


def _file(path: Path | None, environment: Mapping[str, str]) -> Path | None:
    if path is not None:
        return path
    if ENVIRONMENT["config"] in environment:
        return Path(environment[ENVIRONMENT["config"]])
    return default_path() if default_path().exists() else None


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is not TOML: {error}") from error


def _checked(values: Mapping[str, Any], origins: Mapping[str, str]) -> Config:
    for key in values:
        if key not in Config.__struct_fields__:
            raise ConfigError(f"{origins[key]}: there is no setting {key}{_meant(key)}")
    config = Config()
    for key, value in values.items():
        try:
            config = msgspec.convert({**msgspec.to_builtins(config), key: value}, Config)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{origins[key]}: {key}: {error}") from error
        problem = _problem(key, config)
        if problem:
            raise ConfigError(f"{origins[key]}: {key}: {problem}")
    return config


def _problem(key: str, config: Config) -> str | None:
    match key:
        case "listen":
            host, colon, port = config.listen.rpartition(":")
            if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65536):
                return f'"{config.listen}" is not HOST:PORT, such as 127.0.0.1:9838'
        case "machine" if not (config.machine or "").strip():
            return "is empty; leave it out for the hostname"
        case "interval_seconds" if not 0.1 <= config.interval_seconds <= 60:
            return f"{config.interval_seconds} is not between 0.1 and 60 seconds"
        case "deadline_seconds" if not 0.1 <= config.deadline_seconds <= 60:
            return f"{config.deadline_seconds} is not between 0.1 and 60 seconds"
        case "sources" | "source":
            unknown = [name for name in (*config.sources, *config.source) if name not in SOURCES]
            if unknown:
                return f"there is no source {unknown[0]}; there are {', '.join(SOURCES)}"
        case "servers":
            return next(filter(None, map(_server_problem, config.servers)), None)
        case "stall_after_seconds" if not 10 <= config.stall_after_seconds <= 86400:
            return f"{config.stall_after_seconds} is not between 10 and 86400 seconds"
        case "state_dir" if not (config.state_dir or "").strip():
            return "is empty; leave it out for the system's own folder"
        case "log_format" if config.log_format not in ("text", "json"):
            return f'"{config.log_format}" is neither text nor json'
        case _:
            pass
    return None


def _server_problem(server: ServerAddress) -> str | None:
    if server.kind not in SERVERS:
        return f"there is no kind {server.kind}; there are {', '.join(SERVERS)}"
    try:
        address = urlsplit(server.url)
        schemes = ("simulated",) if server.kind == "simulated" else ("http", "https")
        usable = address.scheme in schemes and address.hostname and address.port != 0
    except ValueError:
        usable = False
    return None if usable else f'"{server.url}" is no URL such as http://127.0.0.1:8188'


def _meant(key: str) -> str:
    close = difflib.get_close_matches(key, Config.__struct_fields__, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; there are {', '.join(Config.__struct_fields__)}"
