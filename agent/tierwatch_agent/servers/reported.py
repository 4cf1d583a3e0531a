"""Jobs that scripts report of themselves, read like a generation server of kind "reported"."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import msgspec
import psutil
from msgspec import Meta

from tierwatch_agent.servers import ServerReading
from tierwatch_agent.servers.step_pace import StepPace
from tierwatch_agent.snapshot import JobRecord, Outcome, RunningJob
from tierwatch_agent.words import phrase

KIND = "reported"
MOST_RUNNING = 256
MOST_FINISHED = 500
KEPT_SECONDS = 3600.0
"""How long a finished job is told."""
ANCESTRY_SECONDS = 5.0
"""How long is relied upon whose child a process is."""
LONGEST_PAST_SECONDS = 7 * 86400.0
DIED = phrase("its process ended without finishing the job")

Text = Annotated[str, Meta(max_length=200)]
Pid = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Pixels = Annotated[int, Meta(ge=1, le=2**17)]
Count = Annotated[int, Meta(ge=0, le=10**6)]
Some = Annotated[int, Meta(ge=1, le=10**6)]


class JobStart(msgspec.Struct, frozen=True, kw_only=True):
    """What a script tells as its job starts. Fields of newer reporters are ignored."""

    pid: Pid
    """The process that does it; its children count as its own."""
    model: Text | None = None
    width: Pixels | None = None
    height: Pixels | None = None
    batch: Some | None = None
    """Images that it makes."""
    steps: Some | None = None
    gpu: Text | None = None
    """UUID of its GPU, or its index as the driver counts."""
    started_at: float | None = None
    """Unix seconds; None: now."""


class JobProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a job is."""

    step: Count
    """Steps done."""
    steps: Some | None = None


class JobFinish(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended."""

    outcome: Outcome
    images: Count | None = None
    """Made; None: the batch, where the job succeeded."""
    error: Text | None = None
    """The class of the error, never its text."""
    ended_at: float | None = None
    """Unix seconds; None: now."""


class ReportError(Exception):
    """A report that cannot be taken; the text says why, for people."""


class NotRunning(ReportError):
    """There is no such job, or the agent was restarted since it started."""


class FinishedAlready(ReportError):
    """The job was finished before."""


class TooManyJobs(ReportError):
    """As many jobs run as the agent keeps."""


class UnknownProcess(ReportError):
    """The agent does not see the process that is said to do the job."""


class _Job:
    """A running job. Moments are Unix seconds."""

    def __init__(self, start: JobStart, started_at: float, process_created_at: float) -> None:
        self.id = uuid.uuid4().hex
        self.start = start
        self.started_at = started_at
        self.process_created_at = process_created_at
        self.steps = start.steps
        self.pace = StepPace()
        self.gpu = start.gpu
        self.peak_vram_bytes: int | None = None

    def advance(self, progress: JobProgress, now: float) -> None:
        """Takes in how far it is; a step that was told before is no progress."""
        self.steps = progress.steps or self.steps
        # Without a known end it is a bar all the same, of a length that stays as it is.
        self.pace.advance(progress.step, self.steps or 0, now)

    def running(self) -> RunningJob:
        """As the snapshot has it."""
        step, steps = self.pace.step, self.steps
        return RunningJob(
            id=self.id,
            started_at=self.started_at,
            model=self.start.model,
            width=self.start.width,
            height=self.start.height,
            batch=self.start.batch,
            step=step,
            steps=steps,
            progress_ratio=min(1.0, step / steps) if step is not None and steps else None,
            progressed_at=self.pace.progressed_at,
            seconds_per_step=self.pace.seconds_per_step,
            peak_vram_bytes=self.peak_vram_bytes,
        )

    def record(self, finish: JobFinish, now: float) -> JobRecord:
        """As it is kept."""
        start, images = self.start, finish.images
        ended_at = min(max(finish.ended_at or now, self.started_at), now)
        if images is None and finish.outcome == "success":
            images = start.batch
        return JobRecord(
            id=self.id,
            server=KIND,
            outcome=finish.outcome,
            started_at=self.started_at,
            ended_at=ended_at,
            duration_seconds=max(0.0, ended_at - self.started_at),
            model=start.model,
            width=start.width,
            height=start.height,
            batch=start.batch,
            steps=self.steps,
            images=images,
            pixels=_pixels(images, start.width, start.height),
            gpu=self.gpu,
            peak_vram_bytes=self.peak_vram_bytes,
            error=None if finish.outcome == "success" else finish.error,
        )


def _pixels(images: int | None, width: int | None, height: int | None) -> int | None:
    return None if images is None or not width or not height else images * width * height


def process_created_at(pid: int) -> float | None:
    """When a process was created, in Unix seconds; None: it is not there, or ended already."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def ancestors(pid: int) -> tuple[int, ...]:
    """The parents of a process, the nearest first, as far as the system tells."""
    try:
        return tuple(parent.pid for parent in psutil.Process(pid).parents())
    except psutil.Error:
        return ()


class ReportedJobs:
    """The jobs that scripts reported. Safe to call from several threads."""

    def __init__(
        self,
        *,
        now: Callable[[], float] = time.time,
        created_at: Callable[[int], float | None] = process_created_at,
        ancestors_of: Callable[[int], Sequence[int]] = ancestors,
    ) -> None:
        self._now = now
        self._created_at = created_at
        self._ancestors_of = ancestors_of
        self._lock = threading.Lock()
        self._running: dict[str, _Job] = {}
        self._finished: deque[JobRecord] = deque(maxlen=MOST_FINISHED)
        self._ancestry: dict[int, Sequence[int]] = {}
        self._ancestry_due = 0.0

    def start(self, start: JobStart) -> str:
        """The id of a job that starts. Raises TooManyJobs, UnknownProcess."""
        created = self._created_at(start.pid)
        if created is None:
            raise UnknownProcess(
                f"pid: this machine has no process {start.pid}"
                " (from a container, report to an agent that shares its processes)"
            )
        now = self._now()
        told = start.started_at or now
        job = _Job(start, told if now - LONGEST_PAST_SECONDS <= told <= now else now, created)
        with self._lock:
            if len(self._running) >= MOST_RUNNING:
                raise TooManyJobs(f"{MOST_RUNNING} reported jobs run already: finish some first")
            self._running[job.id] = job
        return job.id

    def progress(self, job_id: str, progress: JobProgress) -> RunningJob:
        """Takes in how far a job is. Raises NotRunning, FinishedAlready."""
        with self._lock:
            job = self._find(job_id)
            job.advance(progress, self._now())
            return job.running()

    def finish(self, job_id: str, finish: JobFinish) -> JobRecord:
        """The record of a job that ended. Raises NotRunning, FinishedAlready."""
        with self._lock:
            return self._end(self._find(job_id), finish)

    def reading(self, now: float) -> ServerReading:
        """The jobs now, those included that finished within the last hour."""
        self._end_abandoned()
        with self._lock:
            running = tuple(job.running() for job in self._running.values())
            finished = tuple(r for r in self._finished if now - r.ended_at <= KEPT_SECONDS)
        return ServerReading(queue_running=len(running), jobs=running, finished=finished)

    def pids(self) -> frozenset[int]:
        """The processes that do the running jobs; their children belong to them."""
        with self._lock:
            return frozenset(job.start.pid for job in self._running.values())

    def root_of(self, pid: int) -> int | None:
        """The process of a running job that a process is, or is a child of; None: of none."""
        roots = self.pids()
        if not roots:
            return None
        return next((p for p in (pid, *self._ancestors(pid)) if p in roots), None)

    def note_vram(
        self, by_pid: Mapping[int, int], gpu_by_pid: Mapping[int, str] | None = None
    ) -> None:
        """Takes in what each process holds now, for the peaks of the running jobs.

        Args:
            by_pid: Bytes of VRAM by process.
            gpu_by_pid: UUID of the GPU that each is on, for jobs that named none.
        """
        roots = self.pids()
        if not roots:
            return
        held: dict[int, int] = {}
        gpus: dict[int, str] = {}
        for pid, vram_bytes in by_pid.items():
            root = next((p for p in (pid, *self._ancestors(pid)) if p in roots), None)
            if root is not None:
                held[root] = held.get(root, 0) + vram_bytes
                if gpu_by_pid and pid in gpu_by_pid:
                    gpus.setdefault(root, gpu_by_pid[pid])
        with self._lock:
            for job in self._running.values():
                now_held = held.get(job.start.pid)
                if now_held is not None:
                    job.peak_vram_bytes = max(now_held, job.peak_vram_bytes or 0)
                    job.gpu = job.gpu or gpus.get(job.start.pid)

    def _find(self, job_id: str) -> _Job:
        job = self._running.get(job_id)
        if job is not None:
            return job
        if any(record.id == job_id for record in self._finished):
            raise FinishedAlready("the job is finished already")
        raise NotRunning("no such job runs: the agent may have been restarted since it started")

    def _end(self, job: _Job, finish: JobFinish) -> JobRecord:
        record = job.record(finish, self._now())
        del self._running[job.id]
        self._finished.append(record)
        return record

    def _end_abandoned(self) -> None:
        """Ends the jobs whose process is gone, or whose pid is another process's by now."""
        with self._lock:
            jobs = list(self._running.values())
        created = {pid: self._created_at(pid) for pid in {job.start.pid for job in jobs}}
        with self._lock:
            for job in jobs:
                gone = created[job.start.pid] != job.process_created_at
                if gone and job.id in self._running:
                    self._end(job, JobFinish(outcome="error", error=DIED))

    def _ancestors(self, pid: int) -> Sequence[int]:
        if self._now() >= self._ancestry_due:
            self._ancestry, self._ancestry_due = {}, self._now() + ANCESTRY_SECONDS
        if pid not in self._ancestry:
            self._ancestry[pid] = self._ancestors_of(pid)
        return self._ancestry[pid]
