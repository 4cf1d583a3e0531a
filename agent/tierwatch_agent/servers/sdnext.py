"""SD.Next: one page tells its status, one torch's memory, and now and then its history of events.

It tells: up, version, queue, the running job's step and steps of its current pass, its model by the
options, finished jobs with exact moments, VRAM as torch reserves it, torch's count of out-of-memory
errors. It does not tell: width, height, batch size, and why a job failed (see sdnext_jobs.py). The
history can be some megabytes, so it is read when work begins and ends, and every half minute
between; versions before October 2024 have none, and then no finished jobs are told.
Sources: modules/api/api.py, api/server.py, shared_state.py, installer.py of SD.Next 058a7f0.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import msgspec

from tierwatch_agent.servers import NotThisServer, ServerError, ServerReading, fields
from tierwatch_agent.servers.http import TIMEOUT_SECONDS, Client, NoSuchPage, TooLarge
from tierwatch_agent.servers.sdapi import Sdapi
from tierwatch_agent.servers.sdnext_jobs import Job, Signs, jobs, left_at, record
from tierwatch_agent.snapshot import JobRecord, RunningJob

HISTORY_SECONDS = 30.0
LOOK_BACK_SECONDS = 3600.0
"""Jobs that ended so long before the agent came are told: a fresh agent may have missed some."""
KEPT = 100
LEFT_SECONDS = 30.0
"""Idle for so long, a job that has not ended never will."""
TOO_OLD = "has no status page: it is older than November 2024, update it"


class _Seen(msgspec.Struct):
    """What the status told of the job that runs, or ran last."""

    name: str
    model: str | None
    place: tuple[str | None, int | None]
    steps: int | None = None
    moved_at: float | None = None


class SdNext:
    """One SD.Next."""

    def __init__(
        self,
        server_id: str,
        url: str,
        *,
        clock: Callable[[], float] = time.time,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._id = server_id
        self._client = Client(url, timeout_seconds)
        self._sdapi = Sdapi(self._client)
        self._clock = clock
        self._closed = threading.Event()
        self._since = clock() - LOOK_BACK_SECONDS
        self._has_history = True
        self._read_at: float | None = None
        self._jobs: list[Job] = []
        self._settled: set[str] = set()
        self._finished: deque[JobRecord] = deque(maxlen=KEPT)
        self._busy = False
        self._idle_since: float | None = None
        self._begun: int | None = None
        self._interrupted_at: deque[float] = deque(maxlen=KEPT)
        self._oom_between: deque[tuple[float, float]] = deque(maxlen=KEPT)
        self._oom: tuple[float, int] | None = None
        self._seen: _Seen | None = None

    def identify(self) -> str | None:
        """Proves that it is an SD.Next; its date and commit."""
        try:
            told = self._client.get("/sdapi/v1/version")
        except NoSuchPage as missing:
            raise NotThisServer("it has no version page, as A1111") from missing
        commit, updated = fields.text(told, "commit"), fields.text(told, "updated")
        if commit is None and updated is None:
            raise NotThisServer("its version is none of SD.Next's")
        return " ".join(part for part in (updated, commit) if part not in (None, "unknown")) or None

    def read(self) -> ServerReading:
        """Its status; memory and history when they are due."""
        try:
            status = self._client.get("/sdapi/v1/status")
        except NoSuchPage as missing:
            raise ServerError(TOO_OLD) from missing
        except ServerError:
            # It may come back as a new process that has begun just as many.
            self._begun = None
            raise
        now = self._clock()
        state = fields.text(status, "status")
        if state is None:
            raise ServerError("its status has no state")
        busy = bool(fields.text(status, "task") or fields.text(status, "current"))
        changed = self._changed(busy, fields.count(status, "total"))
        self._idle_since = None if busy else self._idle_since or now
        if state in ("interrupted", "skipped") and (busy or changed):
            self._interrupted_at.append(now)
        memory = self._sdapi.memory(now, at_once=changed and not busy)
        self._note_oom(memory.read_at, memory.out_of_memory_total)
        if changed or (busy and now - (self._read_at or 0.0) >= HISTORY_SECONDS):
            self._read_history(now)
        self._settle(now)
        return ServerReading(
            queue_pending=fields.count(status, "queued"),
            queue_running=int(busy),
            paused=state == "paused",
            jobs=self._running(status, now) if busy or self._open() else (),
            finished=tuple(self._finished),
            vram_bytes=memory.vram_bytes,
            out_of_memory_total=memory.out_of_memory_total,
        )

    def wait(self, seconds: float) -> None:
        """Waits so long; the server has no way to say that something happened."""
        self._closed.wait(seconds)

    def close(self) -> None:
        """Lets go of the connection and of whoever waits."""
        self._closed.set()
        self._client.close()

    def _changed(self, busy: bool, begun: int | None) -> bool:
        """Whether work began or ended, or both, since the last look."""
        changed = busy != self._busy or (not busy and begun != self._begun)
        self._busy, self._begun = busy, begun
        return changed

    def _note_oom(self, at: float | None, total: int | None) -> None:
        if at is None or total is None:
            return
        if self._oom is not None and total > self._oom[1]:
            self._oom_between.append((self._oom[0], at))
        self._oom = at, total

    def _read_history(self, now: float) -> None:
        if not self._has_history:
            return
        try:
            events = self._client.get("/sdapi/v1/history")
        except (NoSuchPage, TooLarge):
            self._has_history = False
            return
        self._read_at = now
        self._jobs = jobs(fields.rows({"events": events}, "events"))

    def _settle(self, now: float) -> None:
        """Makes records of jobs that have ended, once each."""
        signs = Signs(interrupted_at=self._interrupted_at, oom_between=self._oom_between)
        rests = self._idle_since is not None and now - self._idle_since >= LEFT_SECONDS
        for job in self._jobs:
            ended = job.ended_at
            if ended is None:
                ended = left_at(job, self._jobs, self._idle_since if rests else None)
            if ended is None or ended < self._since or job.id in self._settled:
                continue
            made = record(job, self._jobs, signs, self._id, ended)
            if self._seen is not None and self._seen.name == job.id:
                made = msgspec.structs.replace(made, model=self._seen.model, steps=self._seen.steps)
            self._finished.append(made)
            self._settled.add(job.id)
        self._settled &= {job.id for job in self._jobs}

    def _open(self) -> Job | None:
        last = self._jobs[-1] if self._jobs else None
        return last if last and last.ended_at is None and last.id not in self._settled else None

    def _running(self, status: object, now: float) -> tuple[RunningJob, ...]:
        job = self._open()
        if job is None and self._has_history:
            return ()
        name = job.id if job else f"{self._id}:{fields.token(status, 'timestamp')}"
        step, steps = fields.count(status, "step"), fields.count(status, "steps") or None
        place = (fields.text(status, "id"), step)
        seen = self._seen
        if seen is None or seen.name != name:
            seen = self._seen = _Seen(name, self._sdapi.model(), place)
        elif seen.place != place:
            seen.place, seen.moved_at = place, now
        # Each phase counts steps of its own, and only sampling has many.
        seen.steps = max(steps, seen.steps or 0) if steps else seen.steps
        progress = fields.number(status, "progress")
        return (
            RunningJob(
                id=name,
                started_at=job.started_at if job else None,
                model=seen.model,
                step=step if step and steps and step <= steps else None,
                steps=steps,
                progress_ratio=progress if progress and 0 < progress <= 1 and steps else None,
                progressed_at=seen.moved_at,
            ),
        )
