"""Asks an Alertmanager through its v2 API for alerts and silences, and makes and ends silences."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Literal, TypeVar
from urllib.parse import SplitResult, quote, unquote, urlsplit

import msgspec

from tierwatch_agent.words import english, say
from tierwatch_dashboard import __version__
from tierwatch_dashboard.alerts import SEVERITIES, Alert, Matcher, Severity, Silence

TIMEOUT_SECONDS = 5.0
LARGEST_BYTES = 32 * 2**20
CHUNK_BYTES = 2**16

_SEVERITIES: dict[str, Severity] = {each: each for each in SEVERITIES}

T = TypeVar("T")


class AlertmanagerError(Exception):
    """Why it gave no answer, or refused what was asked, in words for people."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


class _Alert(msgspec.Struct, frozen=True, rename="camel"):
    fingerprint: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: datetime


class _SilenceStatus(msgspec.Struct, frozen=True):
    state: str


class _Matcher(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    value: str
    is_regex: bool
    is_equal: bool = True


class _Silence(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    matchers: tuple[_Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    created_by: str
    comment: str
    status: _SilenceStatus


class _NewSilence(msgspec.Struct, frozen=True, rename="camel"):
    matchers: tuple[_Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    created_by: str
    comment: str


class _Made(msgspec.Struct, frozen=True):
    id: str = msgspec.field(name="silenceID")


class _Message(msgspec.Struct, frozen=True):
    message: str


class Alertmanager:
    """One Alertmanager. Safe to use from several threads: each question has its own connection.

    ``url`` may bear a prefix of its paths and a name and password, which no message repeats.
    """

    def __init__(self, url: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._url = urlsplit(url)
        self._timeout_seconds = timeout_seconds
        self.shown = _without_secrets(self._url)

    def alerts(self) -> tuple[Alert, ...]:
        """Every alert that it holds, silenced or not."""
        found = self._decoded("GET", "/api/v2/alerts", tuple[_Alert, ...])
        return tuple(_alert_of(each) for each in found)

    def silences(self, now: float) -> tuple[Silence, ...]:
        """Its silences that are not over.

        What holds by its clock has begun by ours, ``now``, though the two may differ.
        """
        found = self._decoded("GET", "/api/v2/silences", tuple[_Silence, ...])
        return tuple(_silence_of(each, now) for each in found if each.status.state != "expired")

    def add_silence(
        self,
        matchers: Sequence[Matcher],
        *,
        starts_at: float,
        ends_at: float,
        created_by: str,
        comment: str,
    ) -> str:
        """Makes a silence there and gives its id."""
        wanted = _NewSilence(
            matchers=tuple(
                _Matcher(m.name, m.value, m.operator in ("=~", "!~"), m.operator in ("=", "=~"))
                for m in matchers
            ),
            starts_at=datetime.fromtimestamp(starts_at, timezone.utc),
            ends_at=datetime.fromtimestamp(ends_at, timezone.utc),
            created_by=created_by,
            comment=comment,
        )
        body = msgspec.json.encode(wanted, enc_hook=english)
        return self._decoded("POST", "/api/v2/silences", _Made, body).id

    def end_silence(self, id_: str) -> None:
        """Ends a silence there."""
        self._asked("DELETE", f"/api/v2/silence/{quote(id_, safe='')}")

    def _decoded(self, method: str, path: str, type_: type[T], body: bytes | None = None) -> T:
        text = self._asked(method, path, body)
        try:
            return msgspec.json.decode(text, type=type_)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            stranger = say(
                "{path} does not answer as an Alertmanager does: {why}", path=path, why=error
            )
            raise AlertmanagerError(stranger) from error

    def _asked(self, method: str, path: str, body: bytes | None = None) -> bytes:
        connection = self._connection()
        try:
            connection.request(
                method, f"{self._url.path.rstrip('/')}{path}", body, self._headers(body)
            )
            answer = connection.getresponse()
            text = self._read(answer)
        except (OSError, http.client.HTTPException) as error:
            raise AlertmanagerError(self._why(error)) from error
        finally:
            connection.close()
        if answer.status == 200:
            return text
        raise AlertmanagerError(_refused(answer.status, path, text))

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        kind = (
            http.client.HTTPSConnection
            if self._url.scheme == "https"
            else http.client.HTTPConnection
        )
        return kind(host, port, timeout=self._timeout_seconds)

    def _headers(self, body: bytes | None) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": f"tierwatch/{__version__}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._url.username is not None:
            login = f"{unquote(self._url.username)}:{unquote(self._url.password or '')}"
            headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
        return headers

    def _read(self, answer: http.client.HTTPResponse) -> bytes:
        text = bytearray()
        until = time.monotonic() + self._timeout_seconds
        while chunk := answer.read1(CHUNK_BYTES):
            text += chunk
            if len(text) > LARGEST_BYTES:
                most = f"{LARGEST_BYTES // 2**20} MiB"
                raise AlertmanagerError(say("it answers with more than {size}", size=most))
            if time.monotonic() > until:
                raise TimeoutError
        return bytes(text)

    def _why(self, error: Exception) -> str:
        match error:
            case TimeoutError():
                seconds = f"{self._timeout_seconds:g}"
                return say("no whole answer within {seconds} s", seconds=seconds)
            case ConnectionRefusedError():
                return say("connection refused: does it run there?")
            case socket.gaierror():
                host = self._url.hostname
                return say("cannot find {host}: no address is known for this name", host=host)
            case ssl.SSLError():
                return say("no TLS with it: {why}", why=error.reason or error)
            case http.client.RemoteDisconnected() | ConnectionError():
                return say("it closed the connection without an answer")
            case OSError():
                return say("cannot connect: {why}", why=error.strerror or error)
            case _:
                return say("what answers there does not speak HTTP")


def _without_secrets(url: SplitResult) -> str:
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or ""
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{host}{port}{url.path.rstrip('/')}"


def _refused(status: int, path: str, text: bytes) -> str:
    if status in (401, 403):
        return say(
            "it wants a login ({status}): write http://NAME:PASSWORD@HOST:9093 in the settings",
            status=status,
        )
    if status == 404 and path.startswith("/api/v2/silence/"):
        return say("it has no such silence, or it is over already")
    said = _said(text)
    if said:
        return say("it refuses: {said}", said=said)
    return say("{path} answers with status {status}", path=path, status=status)


def _said(text: bytes) -> str | None:
    """Its own words: a text, or a message with a code, as the one part of its API or the other."""
    try:
        found = msgspec.json.decode(text, type=str | _Message)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found.message if isinstance(found, _Message) else found


def _alert_of(told: _Alert) -> Alert:
    labels = dict(told.labels)
    rule, said = labels.pop("alertname", "alert"), labels.pop("severity", "")
    notes = told.annotations
    since = told.starts_at.timestamp()
    return Alert(
        fingerprint=told.fingerprint,
        rule=rule,
        severity=_SEVERITIES.get(said, "warning"),
        labels=labels,
        summary=notes.get("summary") or notes.get("description") or rule,
        todo=notes.get("todo", ""),
        state="firing",
        since=since,
        fired_at=since,
    )


def _silence_of(told: _Silence, now: float) -> Silence:
    starts_at = told.starts_at.timestamp()
    return Silence(
        id=told.id,
        matchers=tuple(
            Matcher(name=m.name, value=m.value, operator=_operator(m)) for m in told.matchers
        ),
        starts_at=min(starts_at, now) if told.status.state == "active" else starts_at,
        ends_at=told.ends_at.timestamp(),
        created_by=told.created_by,
        comment=told.comment,
    )


def _operator(matcher: _Matcher) -> Literal["=", "!=", "=~", "!~"]:
    if matcher.is_regex:
        return "=~" if matcher.is_equal else "!~"
    return "=" if matcher.is_equal else "!="
