"""The embedded way to get snapshots: asks every machine's agent over HTTP, round by round.

Everything runs in one asyncio loop in a thread of its own. A machine that does not answer costs one
of the slots until its timeout, and nobody else's turn. Machines are asked in beats, a tenth of a
round's together: what a processor has at hand for one answer serves the next, which is more than
half of what an answer costs that comes alone.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import aiohttp

from tierwatch_dashboard.fleet import Reading, SourceHealth
from tierwatch_dashboard.fleet.agent_client import AgentError, fetch
from tierwatch_dashboard.inventory import Machine

_log = logging.getLogger(__name__)

CONNECT_SECONDS = 2.0
TOTAL_SECONDS = 4.0
SLOTS = 512
"""Polls under way at once: 500 dead machines of 2,000 keep some 200 of them busy."""
BEATS = 10
"""Times in a round at which machines are asked."""
_AT_ONCE = 2
"""Beats over which those are spread that were never heard."""
_NAME_LOOKUPS = 32
"""The system's name lookup blocks a thread each, for long where the name server is away."""
_STOP_SECONDS = 2.0


def turn(machine_id: str, beats: int = BEATS) -> int:
    """The beat of a round at which a machine is asked: always the same, even over a fleet."""
    return beats * zlib.crc32(machine_id.encode()) >> 32


class PollingFleet:
    """Asks the agents of ``machines()`` once a round and hands each answer to ``deliver``.

    ``deliver`` is called in the polling thread. ``interval`` in seconds: a round is spread over
    it, and a poll may take at most four fifths of it.
    """

    def __init__(
        self,
        machines: Callable[[], Iterable[Machine]],
        deliver: Callable[[Reading], None],
        *,
        interval: float = 5.0,
        now: Callable[[], float] = time.time,
        slots: int = SLOTS,
    ) -> None:
        self._machines = machines
        self._deliver = deliver
        self._interval = interval
        self._now = now
        self._slots = slots
        self._thread = threading.Thread(target=self._run, name="polling", daemon=True)
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stopped = False
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way: set[str] = set()
        self._succeeded = self._failed = self._skipped = 0
        self._last: dict[str, Reading] = {}
        self._last_fault = ""

    def start(self) -> None:
        """Starts the polling thread; nothing is asked before the first round."""
        self._thread.start()
        self._ready.wait()

    def poll_round(self) -> None:
        """Begins one round over every machine of the inventory and returns at once."""
        if not self._stopped:
            self._loop.call_soon_threadsafe(self._begin_round, tuple(self._machines()))

    def stop(self) -> None:
        """Ends the polls under way and the thread; no reading is delivered afterwards."""
        self._stopped = True
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(_STOP_SECONDS)

    def health(self) -> SourceHealth:
        """Counts since the start and the last reading of each machine."""
        return SourceHealth(
            succeeded=self._succeeded,
            failed=self._failed,
            skipped=self._skipped,
            last=self._last.copy(),
        )

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._loop.set_default_executor(ThreadPoolExecutor(_NAME_LOOKUPS, "name-lookup"))
        self._free_slots = asyncio.Semaphore(self._slots)
        timeout = aiohttp.ClientTimeout(
            connect=min(CONNECT_SECONDS, self._interval * 0.4),
            total=min(TOTAL_SECONDS, self._interval * 0.8),
        )
        connector = aiohttp.TCPConnector(
            limit=self._slots, keepalive_timeout=self._interval * 3, ttl_dns_cache=60
        )
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=headers
        ) as session:
            self._session = session
            self._ready.set()
            await self._stopping.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin_round(self, machines: tuple[Machine, ...]) -> None:
        if self._stopping.is_set():
            return
        gone = self._last.keys() - {machine.id for machine in machines}
        self._last = {id_: last for id_, last in self._last.items() if id_ not in gone}
        beats: dict[int, list[Machine]] = {}
        for machine in machines:
            # Whoever starts the dashboard or adds a machine shall see it at once.
            beat = turn(machine.id) if machine.id in self._last else turn(machine.id, _AT_ONCE)
            beats.setdefault(beat, []).append(machine)
        for beat, asked in beats.items():
            self._loop.call_later(beat * self._interval / BEATS, self._begin_beat, asked)

    def _begin_beat(self, machines: Iterable[Machine]) -> None:
        if self._stopping.is_set():
            return
        for machine in machines:
            if machine.id in self._under_way:
                self._skipped += 1
                continue
            self._under_way.add(machine.id)
            task = self._loop.create_task(self._poll(machine))
            self._tasks.add(task)
            task.add_done_callback(self._finished)

    async def _poll(self, machine: Machine) -> None:
        try:
            async with self._free_slots:
                reading = await self._ask(machine)
        finally:
            self._under_way.discard(machine.id)
        if reading.error is None:
            self._succeeded += 1
        else:
            self._failed += 1
        self._last[machine.id] = reading
        self._deliver(reading)

    async def _ask(self, machine: Machine) -> Reading:
        began = time.perf_counter()
        snapshot, error = None, None
        try:
            snapshot = await fetch(self._session, machine.url)
        except AgentError as failure:
            error = failure.words
        return Reading(
            machine=machine.id,
            at=self._now(),
            snapshot=snapshot,
            error=error,
            duration_seconds=time.perf_counter() - began,
        )

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        fault = task.exception()
        if fault is not None and repr(fault) != self._last_fault:
            self._last_fault = repr(fault)
            _log.error("a reading could not be taken in", exc_info=fault)
