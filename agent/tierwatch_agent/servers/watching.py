"""All generation servers of the machine, and the jobs that scripts report: found, watched, told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from tierwatch_agent.evidence import Evidence
from tierwatch_agent.ledger import Ledger
from tierwatch_agent.servers import GenerationServer
from tierwatch_agent.servers.discovery import Discovery, Found
from tierwatch_agent.servers.judging import Judge
from tierwatch_agent.servers.reported import KIND as REPORTED
from tierwatch_agent.servers.reported import ReportedJobs
from tierwatch_agent.servers.step_reports import StepReports
from tierwatch_agent.servers.watch import ServerWatch, make_server
from tierwatch_agent.snapshot import (
    GpuSample,
    JobRecord,
    JobTotals,
    Process,
    ServerSample,
    SourceState,
)
from tierwatch_agent.words import phrase

SEARCH_SECONDS = 10.0
GONE_SECONDS = 300.0
"""How long a server is told as down whose process has ended."""


class _Gone(msgspec.Struct, frozen=True):
    """A server whose process has ended."""

    sample: ServerSample
    at: float


class Watching:
    """What the sampler asks each second, and gives its GPUs to. Never waits for a server."""

    def __init__(
        self,
        discovery: Discovery,
        ledger: Ledger,
        *,
        reported: ReportedJobs | None = None,
        steps: StepReports | None = None,
        judge: Judge | None = None,
        make: Callable[[Found], GenerationServer] = make_server,
        search_seconds: float = SEARCH_SECONDS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._discovery = discovery
        self._ledger = ledger
        self._reported = reported
        self._steps = steps
        self._judge = judge or Judge(now=now)
        self._make = make
        self._search_seconds = search_seconds
        self._now = now
        self._lock = threading.Lock()
        self._watches: dict[str, ServerWatch] = {}
        self._gone: dict[str, _Gone] = {}
        self._gpus: Sequence[GpuSample] = ()
        self._told: tuple[JobRecord, ...] = ()
        self._search = threading.Event()
        self._stopping = False

    def start(self) -> None:
        """Starts to search, in a thread of its own."""
        threading.Thread(target=self._run, name="discovery", daemon=True).start()

    def stop(self) -> None:
        """Ends search and watches without waiting for them."""
        self._stopping = True
        self._search.set()
        for watch in self._all():
            watch.stop()

    def state(self) -> SourceState | None:
        """How the search fares; None where there is none."""
        return self._discovery.state

    def claimed(self, gpu: GpuSample) -> GpuSample:
        """A GPU whose processes are named, those of reported jobs told as production's own."""
        if self._reported is None or not gpu.processes or not self._reported.pids():
            return gpu
        processes = tuple(map(self._claimed, gpu.processes))
        return msgspec.structs.replace(gpu, processes=processes)

    def note(self, gpus: Sequence[GpuSample]) -> None:
        """Takes in the GPUs with the processes on them, named: who holds what, and where."""
        self._gpus = gpus
        watches = self._all()
        if watches:
            held = _held_by_server(gpus)
            for watch in watches:
                by_gpu = held.get(watch.found.pid, {}) if watch.found.pid is not None else {}
                told = [size for size in by_gpu.values() if size is not None]
                order = sorted(by_gpu, key=lambda uuid: by_gpu[uuid] or 0, reverse=True)
                watch.note_vram(sum(told) if told else None, tuple(order))
        if self._reported is not None and self._reported.pids():
            self._reported.note_vram(*_held_by_process(gpus))

    def server_bytes(self, gpu: str) -> Mapping[int, int | None]:
        """By root process, what the servers that may use a GPU say that they hold of it.

        None where one does not say, or uses another as well: its figure is not of this one alone.
        """
        told: dict[int, int | None] = {}
        for watch in self._all():
            gpus, held = watch.holding()
            if watch.found.pid is not None and gpu in gpus:
                told[watch.found.pid] = held if gpus == (gpu,) else None
        return told

    def samples(self, gpus: Sequence[GpuSample]) -> tuple[ServerSample, ...]:
        """Every server, those included whose process has ended lately; then reported jobs.

        Once a second: how long jobs have not moved is judged by it. ``gpus``: with attribution.
        """
        now, watches = self._now(), self._all()
        with self._lock:
            self._gone = {i: g for i, g in self._gone.items() if now - g.at < GONE_SECONDS}
            gone = [server.sample for server in self._gone.values()]
        if not watches and not gone and self._reported is None:
            return ()
        by_uuid = {gpu.uuid: gpu for gpu in gpus}
        heard: list[ServerSample] = []
        for watch in watches:
            sample = watch.sample()
            if sample is not None:
                gpu = by_uuid.get(sample.gpus[0]) if sample.gpus else None
                heard.append(self._judge.judged(sample, watch.evidence(sample, gpu)))
        servers = sorted([*heard, *gone], key=lambda sample: sample.id)
        only = gpus[0] if len(gpus) == 1 else None
        return (*servers, *self._reported_sample(now, only))

    def wants_details(self) -> bool:
        """Whether a job is so slow that the GPUs' costlier figures are worth their time."""
        return self._judge.some_job_is_slow()

    def recent(self) -> tuple[JobRecord, ...]:
        """The finished jobs of the last hour, oldest first."""
        return self._ledger.recent()

    def follow(self) -> None:
        """Searches once: starts the watches of new servers, ends those of servers that are gone."""
        for watch in self._all():
            if watch.rejected:
                self._discovery.reject(watch.found)
            elif watch.is_down():
                self._discovery.look_anew(watch.found)
        found = {server.id: server for server in self._discovery.find(self._gpus)}
        for watch in self._all():
            successor = found.get(watch.found.id)
            if successor is not None and _same_run(watch.found, successor) and not watch.rejected:
                watch.note(successor)
            else:
                self._end(watch, successor)
        for server in found.values():
            if server.id not in self._watches and not self._stopping:
                self._begin(server)

    def _run(self) -> None:
        while not self._stopping:
            self._search.clear()
            self.follow()
            self._search.wait(self._search_seconds)

    def _all(self) -> list[ServerWatch]:
        with self._lock:
            return list(self._watches.values())

    def _begin(self, server: Found) -> None:
        watch = ServerWatch(
            server,
            self._ledger,
            make=self._make,
            steps=self._steps,
            troubled=self._search.set,
            now=self._now,
        )
        with self._lock:
            self._watches[server.id] = watch
            self._gone.pop(server.id, None)
        watch.start()

    def _end(self, watch: ServerWatch, successor: Found | None) -> None:
        watch.stop()
        last = watch.sample()
        if not watch.rejected:
            watch.close_book()
        with self._lock:
            del self._watches[watch.found.id]
            if successor is None and last is not None:
                self._gone[watch.found.id] = _Gone(_ended(last), self._now())

    def _claimed(self, process: Process) -> Process:
        if process.server is not None or self._reported is None:
            return process
        root = self._reported.root_of(process.pid)
        if root is None:
            return process
        return msgspec.structs.replace(process, server=REPORTED, server_pid=root, identified=True)

    def _reported_sample(self, now: float, gpu: GpuSample | None) -> tuple[ServerSample, ...]:
        """The reported jobs as a server of their own, once there was one."""
        if self._reported is None:
            return ()
        reading = self._reported.reading(now)
        fresh: list[JobRecord] = []
        if reading.finished != self._told:
            self._told = reading.finished
            fresh = self._ledger.unknown(REPORTED, reading.finished)
            self._ledger.count(REPORTED, fresh)
        totals = self._ledger.totals(REPORTED)
        if not reading.jobs and totals == JobTotals():
            return ()
        sample = ServerSample(
            id=REPORTED,
            kind=REPORTED,
            queue_running=reading.queue_running,
            jobs=reading.jobs,
            totals=totals,
        )
        evidence = Evidence(kind=REPORTED, jobs=reading.jobs, finished=tuple(fresh), gpu=gpu)
        return (self._judge.judged(sample, evidence),)


def _same_run(one: Found, other: Found) -> bool:
    """Whether it is the same run of a server; one whose process was not known before is."""
    same_process = (one.pid, one.created) == (other.pid, other.created)
    return one.url == other.url and (one.pid is None or same_process)


def _ended(last: ServerSample) -> ServerSample:
    """A server's last sample, now that it is no more."""
    return ServerSample(
        id=last.id,
        kind=last.kind,
        state="down",
        reason=phrase("it has ended: nothing listens there any more"),
        version=last.version,
        gpus=last.gpus,
        totals=last.totals,
    )


def _held_by_server(gpus: Sequence[GpuSample]) -> dict[int, dict[str, int | None]]:
    """Root process to GPU to the bytes that the server's processes hold there, where told."""
    held: dict[int, dict[str, int | None]] = {}
    for gpu, process in _processes(gpus):
        if process.server_pid is not None:
            by_gpu = held.setdefault(process.server_pid, {})
            before = by_gpu.get(gpu.uuid)
            known = [size for size in (before, process.vram_bytes) if size is not None]
            by_gpu[gpu.uuid] = sum(known) if known else None
    return held


def _held_by_process(gpus: Sequence[GpuSample]) -> tuple[dict[int, int], dict[int, str]]:
    """Process to what it holds, and to the GPU that it holds most on."""
    held: dict[int, int] = {}
    most: dict[int, tuple[int, str]] = {}
    for gpu, process in _processes(gpus):
        size = process.vram_bytes
        if size is not None:
            held[process.pid] = held.get(process.pid, 0) + size
            most[process.pid] = max(most.get(process.pid, (0, "")), (size, gpu.uuid))
    return held, {pid: uuid for pid, (_, uuid) in most.items()}


def _processes(gpus: Sequence[GpuSample]) -> list[tuple[GpuSample, Process]]:
    return [(gpu, process) for gpu in gpus for process in gpu.processes or ()]
