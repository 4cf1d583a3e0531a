"""One question to one agent: its snapshot, or in words for people why there is none."""

from __future__ import annotations

import asyncio
import ssl

import aiohttp
import msgspec

from tierwatch_agent.snapshot import SCHEMA, MachineSnapshot, SnapshotError, decode

MAX_BYTES = 8 * 2**20
"""A snapshot is some tens of KiB; what is larger than this is something else."""

_STRANGER = "answers, but not as a Tierwatch agent: "


class AgentError(Exception):
    """An agent gave no snapshot; the text says why and, where it is known, the mend."""


class _Peek(msgspec.Struct):
    schema: int


async def fetch(session: aiohttp.ClientSession, url: str) -> MachineSnapshot:
    """The snapshot of the agent at ``url``; AgentError says why there is none.

    The session's own timeout holds; redirects are not followed.
    """
    try:
        address = f"{url.rstrip('/')}/api/v1/snapshot"
        async with session.get(address, allow_redirects=False) as response:
            if response.status != 200:
                raise AgentError(_refused(response))
            return _decode(await _body(response))
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
        raise AgentError(explain(error, url, session.timeout)) from error


def explain(error: BaseException, url: str, timeout: aiohttp.ClientTimeout) -> str:
    """Says to people why asking ``url`` failed."""
    where = url.split("://", 1)[-1].rstrip("/")
    match error:
        case aiohttp.ConnectionTimeoutError():
            return (
                f"no connection to {where} within {timeout.connect or 0:g} s: "
                "is the machine on, and does its firewall let the port through?"
            )
        case asyncio.TimeoutError():
            return f"no whole answer from {where} within {timeout.total or 0:g} s"
        case aiohttp.ClientConnectorDNSError():
            return f"cannot find {error.host}: no address is known for this name"
        case aiohttp.ClientConnectorCertificateError():
            return f"the TLS certificate of {where} is not trusted: {error.certificate_error}"
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return f"no TLS with {where}: does its agent speak http, not https? ({error})"
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return f"connection refused: is the agent running on {where}?"
        case aiohttp.ClientConnectorError():
            return f"cannot connect to {where}: {error.os_error.strerror or error.os_error}"
        case aiohttp.ClientPayloadError():
            return f"{where} closed the connection before its whole answer had come"
        case aiohttp.ServerDisconnectedError() | ConnectionResetError():
            return f"{where} closed the connection without an answer"
        case aiohttp.ClientResponseError():
            return f"{_STRANGER}it does not speak HTTP"
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return f"{url!r} is no address of an agent: write http://HOST:9838"
        case _:
            return f"asking {where} failed: {error or type(error).__name__}"


def _refused(response: aiohttp.ClientResponse) -> str:
    if 300 <= response.status < 400:
        return f"{_STRANGER}it redirects to {response.headers.get('Location', 'somewhere else')}"
    if response.status >= 500:
        return f"answers with an error of its own: HTTP {response.status}"
    return f"{_STRANGER}HTTP {response.status} for {response.url.path}"


async def _body(response: aiohttp.ClientResponse) -> bytes:
    document = bytearray()
    async for chunk in response.content.iter_any():
        document += chunk
        if len(document) > MAX_BYTES:
            raise AgentError(f"{_STRANGER}more than {MAX_BYTES // 2**20} MiB")
    return bytes(document)


def _decode(document: bytes) -> MachineSnapshot:
    try:
        return decode(document)
    except SnapshotError as error:
        schema = _schema(document)
        if schema is not None and schema > SCHEMA:
            raise AgentError(
                f"its agent is newer (schema {schema}) than this dashboard can read "
                f"(schema {SCHEMA}): update the dashboard"
            ) from error
        raise AgentError(f"{_STRANGER}{error}") from error


def _schema(document: bytes) -> int | None:
    try:
        return msgspec.json.decode(document, type=_Peek).schema
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
