"""How a PromQL engine is reached: the keys of ``[dashboard.fleet]`` beside ``source``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tierwatch_dashboard.fleet.mapping import MAPPINGS
from tierwatch_dashboard.toml_table import Table

KEYS = (
    "url",
    "mapping",
    "user",
    "password",
    "password_file",
    "bearer",
    "bearer_file",
    "ca_file",
    "cert_file",
    "key_file",
    "headers",
    "timeout",
)
_FILES = ("password_file", "bearer_file", "ca_file", "cert_file", "key_file")
_TEXTS = ("user", "password", "bearer")
_EXAMPLE = "http://prometheus:9090"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class PromqlSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the engine is, and what it asks of whoever asks it."""

    url: str
    """What ``/api/v1/query`` is appended to: ``https://mimir/prometheus``."""
    mapping: str = "tierwatch"
    """A name of ``mapping.MAPPINGS``: whose series are read."""
    user: str | None = None
    password: str | None = None
    password_file: Path | None = None
    """Read anew at each question, as ``bearer_file`` is: what rotates them need not tell us."""
    bearer: str | None = None
    bearer_file: Path | None = None
    ca_file: Path | None = None
    """PEM of the authorities to trust, in place of the system's."""
    cert_file: Path | None = None
    key_file: Path | None = None
    headers: Mapping[str, str] = {}
    timeout_seconds: float = 4.0
    """For one question, from connecting to the answer's last byte."""


def given(table: Table, folder: Path) -> dict[str, Any]:
    """What the table sets of ``PromqlSettings``; a bare path counts from ``folder``."""
    timeout = table.seconds("timeout", "4s")
    if timeout is not None and not 0.1 <= timeout <= 120:
        raise table.wrong(f"timeout is {timeout:g} s; it must be from 0.1s to 2m")
    headers = table.mapping("headers", '{ "X-Scope-OrgID" = "studio" }')
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or not value.isprintable() or not value.isascii():
            raise table.wrong(f'headers: "{name}" is no header, or its value has odd characters')
    found = {
        "url": _url(table),
        "mapping": table.choice("mapping", tuple(MAPPINGS)),
        "timeout_seconds": timeout,
        "headers": headers or None,
        **{key: table.text(key, "…") for key in _TEXTS},
        **{key: _file(table, key, folder) for key in _FILES},
    }
    return {name: value for name, value in found.items() if value is not None}


def whole(found: Mapping[str, Any], wrong: Callable[[str], ValueError]) -> PromqlSettings:
    """The settings, once all that set some have spoken; ``wrong`` says what does not fit."""
    if "url" not in found:
        raise wrong(f'source = "prometheus" needs its address: add url = "{_EXAMPLE}"')
    settings = PromqlSettings(**found)
    if settings.password and settings.password_file:
        raise wrong("password and password_file are one too many")
    if settings.bearer and settings.bearer_file:
        raise wrong("bearer and bearer_file are one too many")
    has_password = bool(settings.password or settings.password_file)
    if bool(settings.user) != has_password:
        missing = "user" if has_password else 'password, or password_file = "FILE"'
        raise wrong(f"user and password go together; add {missing}")
    if settings.user and (settings.bearer or settings.bearer_file):
        raise wrong("user and bearer both sign in; leave one out")
    if settings.key_file and not settings.cert_file:
        raise wrong("key_file is the key of a certificate: add cert_file")
    if settings.ca_file and not settings.url.startswith("https://"):
        raise wrong("ca_file is for TLS, and the url begins with http://")
    return settings


def _url(table: Table) -> str | None:
    url = table.text("url", _EXAMPLE)
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound, parts = False, urlsplit("")
    if not sound or parts.query or parts.fragment:
        raise table.wrong(f'url is "{url}", which is no address such as {_EXAMPLE}')
    if parts.username is not None or parts.password is not None:
        raise table.wrong("url holds a user; write user and password_file on lines of their own")
    return url.rstrip("/").removesuffix("/api/v1")


def _file(table: Table, key: str, folder: Path) -> Path | None:
    written = table.text(key, "/etc/tierwatch/secret")
    if written is None:
        return None
    file = folder.absolute() / written
    try:
        with file.open("rb"):
            return file
    except OSError as error:
        raise table.wrong(f"{key}: {file} cannot be read: {error.strerror}") from error
