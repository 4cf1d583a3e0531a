"""Watches one generation server: a thread that asks it, and all that is known of it.

It asks each second while jobs run or wait, each five seconds otherwise, and at once where the
server says that something happened; never twice at a time. A failure of any kind costs this
server's figures alone.
"""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import cast
from urllib.parse import urlsplit

import msgspec
import psutil

from tierwatch_agent.evidence import Evidence
from tierwatch_agent.ledger import Ledger
from tierwatch_agent.servers import (
    SERVERS,
    GenerationServer,
    NotThisServer,
    ServerError,
    ServerReading,
)
from tierwatch_agent.servers.course import Courses, lost
from tierwatch_agent.servers.discovery import Found
from tierwatch_agent.servers.step_reports import StepReports
from tierwatch_agent.snapshot import GpuSample, JobRecord, ServerSample

BUSY_SECONDS = 1.0
IDLE_SECONDS = 5.0
SHORTEST_SECONDS = 0.2
"""Between two readings, however often the server says that something happened."""
LONGEST_RETRY_SECONDS = 30.0

_log = logging.getLogger(__name__)


def make_server(found: Found) -> GenerationServer:
    """The object that speaks a server's API."""
    module, _, attribute = SERVERS[found.kind].partition(":")
    made = getattr(importlib.import_module(module), attribute)(found.id, found.url)
    return cast("GenerationServer", made)


class ServerWatch:
    """One found server. Everything but its own thread may call it, and never waits for long."""

    def __init__(
        self,
        found: Found,
        ledger: Ledger,
        *,
        make: Callable[[Found], GenerationServer] = make_server,
        steps: StepReports | None = None,
        troubled: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``steps``: what servers' extensions report. ``troubled``: called as it turns down."""
        self.found = found
        self._ledger = ledger
        self._make = make
        self._steps = steps
        self._troubled = troubled
        self._now = now
        self._port = urlsplit(found.url).port or 0
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._heard = False
        self._reason: str | None = None
        self._version: str | None = None
        self._reading: ServerReading | None = None
        self._silent_since: float | None = None
        self._process = _process(found)
        self._told: tuple[JobRecord, ...] = ()
        self._finished: list[JobRecord] = []
        """Since the last judgement."""
        self._courses = Courses()
        self._gpus = found.gpus
        self._gpu: str | None = None
        self.rejected = False
        """Whether something else answers at its address."""

    def start(self) -> None:
        """Starts its thread."""
        threading.Thread(target=self._run, name=f"watch-{self.found.id}", daemon=True).start()

    def stop(self) -> None:
        """Ends its thread without waiting for it."""
        self._stopping.set()

    def note(self, found: Found) -> None:
        """Takes in what discovery knows by now of the same server."""
        process = _process(found)
        with self._lock:
            self.found, self._process = found, process

    def note_vram(self, vram_bytes: int | None, on_gpus: tuple[str, ...]) -> None:
        """Takes in what its processes hold now, and the GPUs they hold it on, most held first."""
        with self._lock:
            told = self.found.gpus
            held = tuple(uuid for uuid in on_gpus if not told or uuid in told)
            self._gpus = (*held, *(uuid for uuid in told if uuid not in held))
            certain = held or (self._gpus if len(self._gpus) == 1 else ())
            self._gpu = certain[0] if certain else None
            if vram_bytes is not None:
                self._courses.note_vram(vram_bytes, self._now())

    def is_down(self) -> bool:
        """Whether it does not answer, or not as it should."""
        with self._lock:
            return self._reason is not None

    def holding(self) -> tuple[tuple[str, ...], int | None]:
        """UUIDs of the GPUs that it may use, and what it holds of them by its own figures."""
        with self._lock:
            answers = self._reading is not None and self._reason is None
            return self._gpus, self._reading.vram_bytes if answers and self._reading else None

    def sample(self) -> ServerSample | None:
        """The server as it was last heard; None while it has not been asked yet.

        The jobs of a server that no longer answers are told as they were last known to run.
        """
        with self._lock:
            if not self._heard:
                return None
            found, reading = self.found, self._reading or ServerReading()
            report = self._steps.get(self._port) if self._steps is not None else None
            now = self._now()
            sample = ServerSample(
                id=found.id,
                kind=found.kind,
                state="up" if self._reason is None else "down",
                reason=self._reason,
                version=reading.version or self._version,
                pid=found.pid,
                gpus=self._gpus,
                jobs=tuple(self._courses.seen(job, report, now) for job in reading.jobs),
                totals=self._ledger.totals(found.id),
            )
            if self._reason is not None:
                return sample
            return msgspec.structs.replace(
                sample,
                queue_pending=reading.queue_pending,
                queue_running=reading.queue_running,
                paused=reading.paused,
                vram_bytes=reading.vram_bytes,
            )

    def evidence(self, sample: ServerSample, gpu: GpuSample | None) -> Evidence:
        """What its jobs are judged by, besides; ``gpu``: the one that it uses, where known."""
        with self._lock:
            reading = self._reading or ServerReading()
            finished, self._finished = tuple(self._finished), []
            silent = self._silent_since
        alive = psutil.pid_exists(sample.pid) if silent and sample.pid is not None else None
        return Evidence(
            kind=sample.kind,
            pid=sample.pid,
            alive=alive,
            silent_since=silent,
            paused=sample.paused,
            jobs=sample.jobs,
            finished=finished,
            out_of_memory_total=reading.out_of_memory_total,
            strained=reading.strained if silent is None else None,
            gpu=gpu,
        )

    def close_book(self) -> None:
        """Its process has ended: what it ran did so too, unless it was told to be finished."""
        self.stop()
        with self._lock:
            ended = self._courses.end()
        self._count(lost(job, self.found.id, self._now()) for job in ended)

    def _run(self) -> None:
        server: GenerationServer | None = None
        identified, failures = False, 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                if server is None:
                    server, identified = self._make(self.found), False
                if not identified:
                    self._version = server.identify()
                    self._ledger.meet(self.found.id)
                    identified = True
                self._take(server.read())
                failures = 0
                server.wait(BUSY_SECONDS if self._is_busy() else IDLE_SECONDS)
                self._stopping.wait(max(0.0, began + SHORTEST_SECONDS - time.monotonic()))
                continue
            except NotThisServer as other:
                if not self.found.configured:
                    self._reject(str(other))
                    break
                self._fail(f"something else answers there: {other}")
                identified = False
            except ServerError as error:
                self._fail(str(error))
                identified = False
            # A second broad except beside the worker's, for the same reason: a server's answers are
            # other people's software, and what its file did not foresee must cost that server
            # alone. It cannot be in the worker, since this runs in a thread of the agent.
            except Exception as error:  # noqa: BLE001
                self._fail(f"unexpected {type(error).__name__}: {error}")
                if server is not None:
                    server.close()
                server = None
            failures += 1
            self._stopping.wait(min(2.0 ** (failures - 1), LONGEST_RETRY_SECONDS))
        if server is not None:
            server.close()

    def _take(self, reading: ServerReading) -> None:
        if self._stopping.is_set():
            return
        if self._process is not None and not self._process.is_running():
            # Another run of the server may answer by now, which knows nothing of this one's jobs.
            raise ServerError("its process has ended")
        if reading.finished != self._told:
            self._count(reading.finished)
            self._told = reading.finished
        now = self._now()
        with self._lock:
            swallowed = self._courses.follow(
                reading.jobs,
                now,
                first=self._reading is None,
                after_silence=self._reason is not None,
            )
            if self._reason is not None or not self._heard:
                _log.info("server %s is up: %s", self.found.id, self.found.url)
            self._reading, self._silent_since = reading, None
            self._heard, self._reason = True, None
        if swallowed:
            self._count(lost(job, self.found.id, now) for job in swallowed)

    def _fail(self, reason: str) -> None:
        with self._lock:
            if self._reason != reason:
                _log.warning("server %s is down: %s", self.found.id, reason)
            news = self._reason is None
            self._heard, self._reason = True, reason
            if self._silent_since is None:
                self._silent_since = self._now()
        if news:
            self._troubled()

    def _reject(self, reason: str) -> None:
        _log.info("%s is no %s: %s", self.found.url, self.found.kind, reason)
        with self._lock:
            self._heard = False
            self.rejected = True
        self._troubled()

    def _is_busy(self) -> bool:
        with self._lock:
            reading = self._reading or ServerReading()
            return bool(reading.jobs or reading.queue_running or reading.queue_pending)

    def _count(self, records: Iterable[JobRecord]) -> None:
        """Enters finished jobs into the ledger, with what their server does not know."""
        fresh = self._ledger.unknown(self.found.id, records)
        with self._lock:
            completed = [
                msgspec.structs.replace(
                    record,
                    gpu=record.gpu or self._gpu,
                    peak_vram_bytes=record.peak_vram_bytes or self._courses.peak(record),
                )
                for record in fresh
            ]
        if completed:
            self._ledger.count(self.found.id, completed)
            with self._lock:
                self._finished += completed


def _process(found: Found) -> psutil.Process | None:
    """The server's root process; None where it is not known, or gone already."""
    if found.pid is None:
        return None
    try:
        return psutil.Process(found.pid)
    except psutil.NoSuchProcess:
        return None
