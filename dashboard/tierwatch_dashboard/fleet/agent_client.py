"""One question to one agent: its snapshot, or in words for people why there is none."""

from __future__ import annotations

import asyncio
import ssl
from functools import lru_cache

import aiohttp
import msgspec
from yarl import URL

from tierwatch_agent.snapshot import SCHEMA, MachineSnapshot, SnapshotError, decode
from tierwatch_agent.words import say
from tierwatch_dashboard.fleet.understood import understood

MAX_BYTES = 8 * 2**20
"""A snapshot is some tens of KiB; what is larger than this is something else."""


class AgentError(Exception):
    """An agent gave no snapshot; the text says why and, where it is known, the mend."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


class _Peek(msgspec.Struct):
    schema: int


async def fetch(session: aiohttp.ClientSession, url: str) -> MachineSnapshot:
    """The snapshot of the agent at ``url``; AgentError says why there is none.

    The session's own timeout holds; redirects are not followed.
    """
    try:
        async with session.get(_address(url), allow_redirects=False) as response:
            if response.status != 200:
                raise AgentError(_refused(response))
            return _decode(await _body(response))
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
        raise AgentError(explain(error, url, session.timeout)) from error


@lru_cache(maxsize=16_384)
def _address(url: str) -> URL:
    """Where an agent's snapshot is, taken apart once and not at each reading."""
    try:
        return URL(f"{url.rstrip('/')}/api/v1/snapshot")
    except ValueError as error:
        raise aiohttp.InvalidURL(url) from error


def explain(error: BaseException, url: str, timeout: aiohttp.ClientTimeout) -> str:
    """Says to people why asking ``url`` failed."""
    where = url.split("://", 1)[-1].rstrip("/")
    match error:
        case aiohttp.ConnectionTimeoutError():
            return say(
                "no connection to {where} within {seconds} s: is the machine on, and does its "
                "firewall let the port through?",
                where=where,
                seconds=f"{timeout.connect or 0:g}",
            )
        case asyncio.TimeoutError():
            seconds = f"{timeout.total or 0:g}"
            return say(
                "no whole answer from {where} within {seconds} s", where=where, seconds=seconds
            )
        case aiohttp.ClientConnectorDNSError():
            return say("cannot find {host}: no address is known for this name", host=error.host)
        case aiohttp.ClientConnectorCertificateError():
            return say(
                "the TLS certificate of {where} is not trusted: {why}",
                where=where,
                why=error.certificate_error,
            )
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return say(
                "no TLS with {where}: does its agent speak http, not https? ({why})",
                where=where,
                why=error,
            )
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return say("connection refused: is the agent running on {where}?", where=where)
        case aiohttp.ClientConnectorError():
            why = error.os_error.strerror or error.os_error
            return say("cannot connect to {where}: {why}", where=where, why=why)
        case aiohttp.ClientPayloadError():
            return say(
                "{where} closed the connection before its whole answer had come", where=where
            )
        case aiohttp.ServerDisconnectedError() | ConnectionResetError():
            return say("{where} closed the connection without an answer", where=where)
        case aiohttp.ClientResponseError():
            return _stranger(say("it does not speak HTTP"))
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return say("{url} is no address of an agent: write http://HOST:9838", url=repr(url))
        case _:
            why = str(error) or type(error).__name__
            return say("asking {where} failed: {why}", where=where, why=why)


def _stranger(why: str) -> str:
    return say("answers, but not as a Tierwatch agent: {why}", why=why)


def _refused(response: aiohttp.ClientResponse) -> str:
    if 300 <= response.status < 400:
        place = response.headers.get("Location") or say("somewhere else")
        return _stranger(say("it redirects to {place}", place=place))
    status = response.status
    if status >= 500:
        return say("answers with an error of its own: HTTP {status}", status=status)
    return _stranger(say("HTTP {status} for {path}", status=status, path=response.url.path))


async def _body(response: aiohttp.ClientResponse) -> bytes:
    document = bytearray()
    async for chunk in response.content.iter_any():
        document += chunk
        if len(document) > MAX_BYTES:
            most = f"{MAX_BYTES // 2**20} MiB"
            raise AgentError(_stranger(say("more than {size}", size=most)))
    return bytes(document)


def _decode(document: bytes) -> MachineSnapshot:
    try:
        return understood(decode(document))
    except SnapshotError as error:
        schema = _schema(document)
        if schema is not None and schema > SCHEMA:
            newer = say(
                "its agent is newer (schema {theirs}) than this dashboard can read (schema "
                "{ours}): update the dashboard",
                theirs=schema,
                ours=SCHEMA,
            )
            raise AgentError(newer) from error
        raise AgentError(_stranger(str(error))) from error


def _schema(document: bytes) -> int | None:
    try:
        return msgspec.json.decode(document, type=_Peek).schema
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
