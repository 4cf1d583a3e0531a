"""Answers as a browser gets them: how long they take and how many bytes, one at a time or many."""

from __future__ import annotations

import asyncio
import gzip
import re
import time
from dataclasses import dataclass, field

import aiohttp

from tests.bench.big_fleet.timed import seconds_in

EVERY_SECONDS = 2.0
_HEADERS = {"Accept-Encoding": "gzip, br, zstd", "HX-Request": "true"}
_TOKEN = re.compile(rb'name="since" value="([^"]*)"')


@dataclass
class Seen:
    """Answers to one address."""

    seconds: list[float] = field(default_factory=list[float])
    """From the request to the last byte."""
    cpu_seconds: list[float] = field(default_factory=list[float])
    """Of the thread that answered."""
    sizes: list[int] = field(default_factory=list[int])
    """Bytes as they came over the wire, without the head."""
    changed: int = 0
    """Answers that had something to say."""
    failed: int = 0


class Viewer:
    """One browser's connection, which stays open; ``since`` is what it has of the page."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self.since = ""

    async def get(self, address: str, seen: Seen) -> None:
        """Asks for a page and notes what came."""
        began = time.perf_counter()
        async with self._session.get(self._url + address) as answer:
            body = await answer.read()
            took = time.perf_counter() - began
            if answer.status >= 400:
                seen.failed += 1
                return
            seen.seconds.append(took)
            timing = answer.headers.get("Server-Timing")
            if timing is not None:
                seen.cpu_seconds.append(seconds_in(timing))
            seen.sizes.append(int(answer.headers.get("Content-Length", len(body))))
            seen.changed += answer.status == 200
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            await self._follow(answer, body)

    async def update(self, live: str, seen: Seen) -> None:
        """Asks for the live update as its page would."""
        await self.get(re.sub(r"\bsince=[^&]*", f"since={self.since}", live), seen)

    async def _follow(self, answer: aiohttp.ClientResponse, body: bytes) -> None:
        if answer.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        found = _TOKEN.search(body)
        if found:
            self.since = found[1].decode()


def _session() -> aiohttp.ClientSession:
    """A client that leaves answers as compressed as they came."""
    return aiohttp.ClientSession(
        headers=_HEADERS,
        auto_decompress=False,
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
        timeout=aiohttp.ClientTimeout(total=60),
    )


async def one_after_another(
    url: str, addresses: list[str], rounds: int, pause: float
) -> list[Seen]:
    """Each address ``rounds`` times, alone."""
    found = [Seen() for _ in addresses]
    async with _session() as client:
        viewer = Viewer(client, url)
        for _ in range(rounds):
            for address, seen in zip(addresses, found, strict=True):
                await viewer.get(address, seen)
            await asyncio.sleep(pause)
    return found


async def one_viewer(url: str, page: str, live: str, rounds: int) -> Seen:
    """A page that is open alone: its live updates."""
    seen = Seen()
    async with _session() as client:
        viewer = Viewer(client, url)
        await viewer.get(page, Seen())
        for _ in range(rounds):
            await asyncio.sleep(EVERY_SECONDS)
            await viewer.update(live, seen)
    return seen


async def many_viewers(url: str, page: str, live: str, count: int, seconds: float) -> Seen:
    """Many open pages, each asking for its update every 2 s, their turns spread over these."""
    seen = Seen()
    async with _session() as client:
        viewers = [Viewer(client, url) for _ in range(count)]
        for viewer in viewers:
            await viewer.get(page, Seen())
        until = time.monotonic() + seconds

        async def look(viewer: Viewer, first: float) -> None:
            turn = time.monotonic() + first
            while turn < until:
                await asyncio.sleep(turn - time.monotonic())
                await viewer.update(live, seen)
                turn = max(turn + EVERY_SECONDS, time.monotonic())

        spread = (EVERY_SECONDS * place / count for place in range(count))
        await asyncio.gather(*(look(v, first) for v, first in zip(viewers, spread, strict=True)))
    return seen
