"""Agents played by real sockets: right ones, slow ones, dead ones and things that are none.

All of them live in one asyncio loop in a thread; each has a port of its own.
"""

from __future__ import annotations

import asyncio
import gzip
import ssl
import threading
import time
from collections.abc import Awaitable, Callable

from tierwatch_agent.snapshot import (
    SCHEMA,
    Attribution,
    GpuMemory,
    GpuSample,
    HostSample,
    MachineSnapshot,
    Process,
    SourceState,
    encode,
)

GIB = 2**30
Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]
"""Given the request's head, writes an answer of whatever kind."""


def gpu(index: int = 0, *, available: int = 15 * GIB, total: int = 16 * GIB) -> GpuSample:
    used = total - available
    return GpuSample(
        index=str(index),
        uuid=f"GPU-{index}",
        name="NVIDIA GeForce RTX 4080",
        vendor="nvidia",
        source="nvml",
        driver_version="560.35.03",
        memory=GpuMemory(total_bytes=total, free_bytes=available, used_bytes=used),
        attribution=Attribution(
            available_bytes=available, basis="process", others_bytes=used, lower_bound=False
        ),
        processes=(
            Process(pid=4711, name="game.exe", vram_bytes=used // 2),
            Process(pid=99, name="python train.py", vram_bytes=used - used // 2),
        ),
        utilization_ratio=0.5,
        temperature_celsius=60.0,
        power_watts=200.0,
    )


def snapshot(
    machine: str, *, taken_at: float | None = None, gpus: tuple[GpuSample, ...] | None = None
) -> MachineSnapshot:
    taken_at = time.time() if taken_at is None else taken_at
    return MachineSnapshot(
        schema=SCHEMA,
        machine=machine,
        agent_version="0.1.0",
        taken_at=taken_at,
        started_at=1_000.0,
        interval_seconds=1.0,
        os="linux",
        host=HostSample(
            cpu_count=16,
            cpu_ratio=0.1,
            memory_total_bytes=64 * GIB,
            memory_available_bytes=32 * GIB,
        ),
        gpus=(gpu(),) if gpus is None else gpus,
        sources=(SourceState(name="nvml", state="up", last_success_at=taken_at),),
    )


def http(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def says(document: bytes | Callable[[], bytes], **how: str) -> Answer:
    """Answers each request with one document, compressed where that is accepted."""

    async def answer(head: str, writer: asyncio.StreamWriter) -> None:
        body = document() if callable(document) else document
        headers = how.get("headers", "Content-Type: application/json\r\n")
        if "accept-encoding: gzip" in head.lower():
            body, headers = gzip.compress(body, 1), headers + "Content-Encoding: gzip\r\n"
        writer.write(http(body, status=how.get("status", "200 OK"), headers=headers))

    return answer


def healthy(machine: str) -> Answer:
    return says(lambda: encode(snapshot(machine)))


def raw(data: bytes, *, then_close: bool = True) -> Answer:
    """Sends these bytes as they are; without closing, it then hangs."""

    async def answer(head: str, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        if then_close:
            await writer.drain()
            writer.close()

    return answer


class Agents:
    """The loop that plays them; ``with Agents() as agents: url = agents.play(healthy("a"))``."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers: dict[str, asyncio.Server] = {}
        self._writers: dict[str, set[asyncio.StreamWriter]] = {}
        self.requests: dict[str, int] = {}
        """Requests so far by url."""
        self.connections: dict[str, int] = {}

    def __enter__(self) -> Agents:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for url in list(self._servers):
            self.end(url)
        asyncio.run_coroutine_threadsafe(_settled(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def play(self, answer: Answer, *, port: int = 0) -> str:
        """Starts one agent and returns its url."""
        return asyncio.run_coroutine_threadsafe(self._play(answer, port), self._loop).result()

    def end(self, url: str) -> None:
        """Closes an agent's port and every connection to it."""
        asyncio.run_coroutine_threadsafe(self._end(url), self._loop).result()

    async def _play(self, answer: Answer, port: int) -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if url not in self._servers:
                # Accepted in the very moment in which the agent ended.
                writer.transport.abort()
                return
            self.connections[url] += 1
            self._writers[url].add(writer)
            try:
                while not writer.is_closing() and (head := await reader.read(65536)):
                    self.requests[url] += 1
                    await answer(head.decode(errors="replace"), writer)
            except ConnectionError:
                pass
            finally:
                self._writers[url].discard(writer)
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=self._tls)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self.requests[url] = self.connections[url] = 0
        self._writers[url] = set()
        self._servers[url] = server
        return url

    async def _end(self, url: str) -> None:
        server = self._servers.pop(url)
        server.close()
        for writer in list(self._writers[url]):
            writer.transport.abort()
        await asyncio.sleep(0)
        await server.wait_closed()


async def _settled() -> None:
    """Until what was accepted at the end has been closed again: some turns of the loop."""
    for _ in range(10):
        await asyncio.sleep(0)
