"""Plays agents of eight GPUs that both a dashboard and a Prometheus can ask, in one process.

    python -m tests.bench.big_fleet.scraped 200

What an agent says is made once, with real code, and only its moments and figures move from then on,
so that playing costs the machine little beside what asks. It prints the ports as JSON, takes
``begin`` and ``end`` on its standard input, and prints what it was asked in between.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import subprocess
import sys
import threading
import time
from typing import Any

import msgspec

from tests.bench.big_fleet.machines import name, said
from tierwatch_agent.exposition import TEXT_TYPE, render
from tierwatch_agent.snapshot import MachineSnapshot, encode

GPUS_EACH = 8
KINDS = 16
"""Machines that say something of their own; the others say the same under another name."""
_EPOCH = 1_700_000_000.0
"""Stands for the moment in what is made beforehand; as many digits as the real one."""
_VARIANTS = 4
"""What a machine says by turns, so that no two polls in a row find the same figures."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the machines were asked over a while."""

    answers: int
    longest_seconds: float
    """The longest that any machine waited between two questions."""
    p99_seconds: float


class ScrapedFleet:
    """The process that plays; ``with ScrapedFleet(200) as fleet: fleet.addresses[0]``."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.addresses: list[str] = []

    def __enter__(self) -> ScrapedFleet:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.big_fleet.scraped", str(self._count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.addresses = [
            f"127.0.0.1:{port}" for port in json.loads(self.process.stdout.readline())
        ]
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.communicate()

    def begin(self) -> None:
        """Counts from now on."""
        self._tell("begin")

    def end(self) -> Asked:
        """What it was asked since."""
        self._tell("end")
        assert self.process.stdout is not None
        return msgspec.json.decode(self.process.stdout.readline(), type=Asked)

    def _tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()


class _Counted:
    """When each machine was asked last, and how long each waited in between."""

    def __init__(self, count: int) -> None:
        self._last: list[float | None] = [None] * count
        self._waits: list[float] = []
        self._counts = False

    def asked(self, number: int) -> None:
        now, before = time.monotonic(), self._last[number]
        self._last[number] = now
        if self._counts and before is not None:
            self._waits.append(now - before)

    def begin(self) -> None:
        self._waits.clear()
        self._counts = True

    def end(self) -> Asked:
        self._counts = False
        waits = sorted(self._waits)
        return Asked(
            answers=len(waits),
            longest_seconds=waits[-1],
            p99_seconds=waits[len(waits) * 99 // 100],
        )


class _Agent(asyncio.Protocol):
    """One connection to one machine; requests come whole and one after another."""

    def __init__(self, number: int, documents: dict[str, list[bytes]], counted: _Counted) -> None:
        self._number = number
        self._counted = counted
        self._id = name(number).encode()
        self._documents = documents
        self._turn = number

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._turn += 1
        self._counted.asked(self._number)
        wants_metrics = data.startswith(b"GET /metrics")
        variants = self._documents["metrics" if wants_metrics else "snapshot"]
        body = variants[self._turn % len(variants)]
        moment = f"{time.time():.6f}".encode()
        body = body.replace(b"render-0000", self._id).replace(b"1700000000.000001", moment)
        packed = gzip.compress(body, 1)
        kind = TEXT_TYPE if wants_metrics else "application/json"
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Encoding: gzip\r\n"
            f"Content-Length: {len(packed)}\r\n\r\n"
        )
        self._transport.write(head.encode() + packed)


def _snapshot(kind: int, turn: int) -> MachineSnapshot:
    """A machine of eight GPUs, at a moment that stands for any."""
    pairs = [
        said(kind * 1000 + pair, _EPOCH + 11.0 * turn + pair) for pair in range(GPUS_EACH // 2)
    ]
    gpus = tuple(
        msgspec.structs.replace(gpu, index=str(index), uuid=f"GPU-{kind:04}-{index}")
        for index, gpu in enumerate(gpu for each in pairs for gpu in each.gpus)
    )
    sources = tuple(
        msgspec.structs.replace(source, last_success_at=_EPOCH + 1e-6)
        for source in pairs[0].sources
    )
    jobs = tuple(
        msgspec.structs.replace(job, ended_at=_EPOCH + 1e-6, started_at=None)
        for job in pairs[0].jobs
    )
    server = msgspec.structs.replace(pairs[0].servers[0], gpus=(gpus[0].uuid,), stall=None)
    return msgspec.structs.replace(
        pairs[0],
        machine="render-0000",
        taken_at=_EPOCH + 1e-6,
        gpus=gpus,
        sources=sources,
        servers=(server,),
        jobs=jobs,
    )


def _documents(kind: int) -> dict[str, list[bytes]]:
    said_by_turns = [_snapshot(kind, turn) for turn in range(_VARIANTS)]
    return {
        "snapshot": [encode(each) for each in said_by_turns],
        "metrics": [render(each) for each in said_by_turns],
    }


async def _serve(count: int) -> None:
    loop = asyncio.get_running_loop()
    kinds = [_documents(kind) for kind in range(min(KINDS, count))]
    counted = _Counted(count)
    servers = [
        await loop.create_server(
            lambda n=number: _Agent(n, kinds[n % len(kinds)], counted), "127.0.0.1", 0, backlog=8
        )
        for number in range(count)
    ]
    print(json.dumps([each.sockets[0].getsockname()[1] for each in servers]), flush=True)
    ended = asyncio.Event()

    def obey(word: str) -> None:
        if word == "begin":
            counted.begin()
        else:
            print(msgspec.json.encode(counted.end()).decode(), flush=True)

    def listen() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(obey, line.strip())
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=listen, daemon=True).start()
    await ended.wait()


if __name__ == "__main__":
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_serve(int(sys.argv[1])))
