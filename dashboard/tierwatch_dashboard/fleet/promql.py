"""One PromQL engine, asked over Prometheus' HTTP API: Prometheus, VictoriaMetrics, Thanos, Mimir.

One event loop in a thread of its own carries every question, so that each has a deadline that
holds whatever the engine or the network does.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import threading
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import msgspec

from tierwatch_agent.words import say
from tierwatch_dashboard.fleet.promql_settings import PromqlSettings
from tierwatch_dashboard.fleet.samples import Course, Sample, courses, samples

_T = TypeVar("_T")
AT_ONCE = 8
"""Questions under way at once."""
_STOP_SECONDS = 2.0


class PromqlError(Exception):
    """The engine gave no answer; the text says why and, where it is known, the mend."""


_ALWAYS = {
    # VictoriaMetrics otherwise answers as of half a minute ago.
    "nocache": "1",
    # Thanos otherwise leaves out what a store of it that is away would have told.
    "partial_response": "false",
}


class _Refusal(msgspec.Struct):
    error: str = ""


_refusals = msgspec.json.Decoder(_Refusal)


class Promql:
    """Questions to one engine. ``start`` before the first, ``close`` after the last."""

    def __init__(self, settings: PromqlSettings) -> None:
        self._settings = settings
        self.where = settings.url.split("://", 1)[1]
        """The engine's address for people."""
        self.timeout_seconds = settings.timeout_seconds
        self._tls = _tls(settings)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="promql", daemon=True)
        self._ready = threading.Event()
        self._session: aiohttp.ClientSession
        self._stopping = asyncio.Event()

    def start(self) -> None:
        """Starts the thread; nothing is asked yet."""
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        """Ends what is under way, and the thread. Safe to repeat."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(_STOP_SECONDS)

    def submit(self, work: Coroutine[Any, Any, None]) -> None:
        """Lets work run in the engine's thread and returns at once; from any thread."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(work, self._loop)
        else:
            work.close()

    def wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        """What work in the engine's thread comes to; from any other thread."""
        if not self._thread.is_alive():
            work.close()
            raise PromqlError(say("{where} is not asked any more", where=self.where))
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def instant(self, query: str, at: float | None = None) -> list[Sample]:
        """What holds at a moment, the engine's own now unless one is given."""
        moment = {} if at is None else {"time": repr(at)}
        body = await self._ask("query", {"query": query, **moment})
        return self._decoded(samples, body)

    async def span(self, query: str, start: float, end: float, step: float) -> list[Course]:
        """What held from ``start`` to ``end``, each ``step`` seconds."""
        asked = {"query": query, "start": repr(start), "end": repr(end), "step": repr(step)}
        return self._decoded(courses, await self._ask("query_range", asked))

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        connector = aiohttp.TCPConnector(limit=AT_ONCE, ssl=self._tls, ttl_dns_cache=60)
        timeout = aiohttp.ClientTimeout(connect=self.timeout_seconds, total=self.timeout_seconds)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers={**self._settings.headers}
        ) as session:
            self._session = session
            self._ready.set()
            await self._stopping.wait()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    async def _ask(self, what: str, parameters: Mapping[str, str]) -> bytes:
        url = f"{self._settings.url}/api/v1/{what}"
        try:
            async with self._session.post(
                url,
                data={**parameters, **_ALWAYS},
                headers=self._signature(),
                # Whom it redirects to would be told our name and password.
                allow_redirects=False,
            ) as response:
                body = await response.read()
                if response.status != 200:
                    raise PromqlError(self._refused(response, body))
                return body
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise PromqlError(self._unreached(error)) from error

    def _signature(self) -> dict[str, str]:
        """What signs a question; a secret's file is read anew."""
        settings = self._settings
        bearer = settings.bearer or _secret(settings.bearer_file)
        if bearer:
            return {"Authorization": f"Bearer {bearer}"}
        if settings.user:
            password = settings.password or _secret(settings.password_file) or ""
            pair = base64.b64encode(f"{settings.user}:{password}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        return {}

    def _unreached(self, error: BaseException) -> str:
        where = self.where
        match error:
            case asyncio.TimeoutError():
                seconds = f"{self.timeout_seconds:g}"
                return say(
                    "no answer from {where} within {seconds} s", where=where, seconds=seconds
                )
            case aiohttp.ClientConnectorDNSError():
                return say("cannot find {host}: no address is known for it", host=error.host)
            case aiohttp.ClientConnectorCertificateError():
                why = error.certificate_error
                return say("the certificate of {where} is not trusted: {why}", where=where, why=why)
            case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
                return say("{where} refuses the connection: does it run?", where=where)
            case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError():
                return say("{where} broke off its answer", where=where)
            case _:
                why = str(error) or type(error).__name__
                return say("asking {where} failed: {why}", where=where, why=why)

    def _refused(self, response: aiohttp.ClientResponse, body: bytes) -> str:
        status = response.status
        if status in (401, 403):
            return say(
                "{where} refuses the dashboard (HTTP {status}): mend user, bearer or headers "
                "under [dashboard.fleet]",
                where=self.where,
                status=status,
            )
        if 300 <= status < 400:
            target = response.headers.get("Location", "…")
            return say(
                "{where} redirects to {target}: give that as url", where=self.where, target=target
            )
        if status in (404, 405):
            return say(
                "{where} has no query API there (HTTP {status}): the url must be what "
                "/api/v1/query follows",
                where=self.where,
                status=status,
            )
        try:
            said = _refusals.decode(body).error
        except (msgspec.DecodeError, UnicodeDecodeError):
            said = ""
        return say(
            "{where} answers with an error: {said}",
            where=self.where,
            said=said or f"HTTP {status}",
        )

    def _decoded(self, read: Callable[[bytes], _T], body: bytes) -> _T:
        try:
            return read(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            words = say(
                "{where} answers, but not as Prometheus does: {said}", where=self.where, said=error
            )
            raise PromqlError(words) from error


def _secret(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        words = say("the secret in {file} cannot be read: {said}", file=file, said=error)
        raise PromqlError(words) from error


def _tls(settings: PromqlSettings) -> ssl.SSLContext | bool:
    """ValueError where a certificate or key is none."""
    if not settings.url.startswith("https://"):
        return True
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except (ssl.SSLError, OSError) as error:
        files = [settings.ca_file, settings.cert_file, settings.key_file]
        named = ", ".join(str(file) for file in files if file)
        raise ValueError(f"no certificates can be read from {named}: {error}") from error
    return context
