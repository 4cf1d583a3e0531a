"""What the agent sees of one server's running jobs, where the server itself does not tell it. Pure.

Moments are Unix seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec

from tierwatch_agent.servers.step_reports import StepReport
from tierwatch_agent.snapshot import JobRecord, RunningJob
from tierwatch_agent.words import phrase

ORPHAN_SECONDS = 10.0
"""How long a server that fell silent gets to tell how the job ended that it ran before."""
VRAM_SAMPLES = 120
"""Of a server's memory, for jobs that were too short to be seen running."""
ENDED = phrase("its server ended while it ran")


class _Course(msgspec.Struct):
    """One running job."""

    job: RunningJob
    first_seen_at: float | None
    """None: it ran already when the server was first read."""
    moved: tuple[object, ...] = (None, None, None)
    progressed_at: float | None = None
    peak_vram_bytes: int | None = None


class Courses:
    """A server's running jobs: since when, when each last moved, what it held at most."""

    def __init__(self) -> None:
        self._running: dict[str, _Course] = {}
        self._orphans: dict[str, tuple[float, _Course]] = {}
        self._vram: deque[tuple[float, int]] = deque(maxlen=VRAM_SAMPLES)

    def follow(
        self, jobs: Iterable[RunningJob], now: float, *, first: bool, after_silence: bool
    ) -> list[RunningJob]:
        """Takes in what runs now; the jobs that a silence of their server has swallowed.

        Args:
            jobs: Those that it runs.
            now: The moment.
            first: Nothing was heard of the server before.
            after_silence: It did not answer since the last time.
        """
        gone = dict(self._running)
        self._running = {}
        for job in jobs:
            course = gone.pop(job.id, None) or _Course(job, None if first else now)
            course.job = job
            self._running[job.id] = course
            self._orphans.pop(job.id, None)
        if after_silence:
            self._orphans |= {name: (now, course) for name, course in gone.items()}
        overdue = [n for n, (since, _) in self._orphans.items() if now - since >= ORPHAN_SECONDS]
        return [self._orphans.pop(name)[1].job for name in overdue]

    def end(self) -> list[RunningJob]:
        """The jobs that end with their server."""
        orphans = [course.job for _, course in self._orphans.values()]
        return [*orphans, *(course.job for course in self._running.values())]

    def note_vram(self, vram_bytes: int, now: float) -> None:
        """Takes in what the server's processes hold now."""
        self._vram.append((now, vram_bytes))
        for course in self._running.values():
            course.peak_vram_bytes = max(vram_bytes, course.peak_vram_bytes or 0)

    def peak(self, record: JobRecord) -> int | None:
        """The most that the server's processes held while a job ran; None: nobody saw it."""
        course = self._running.get(record.id)
        if course is not None and course.peak_vram_bytes is not None:
            return course.peak_vram_bytes
        if record.started_at is None:
            return None
        started, ended = record.started_at, record.ended_at
        return max((held for at, held in self._vram if started <= at <= ended), default=None)

    def seen(self, job: RunningJob, report: StepReport | None, now: float) -> RunningJob:
        """A running job with what its server does not tell: what was reported, and what was seen.

        ``report``: of the server's extension, of this job or another.
        """
        if report is not None and report.job == job.id:
            job = _with_report(job, report)
        course = self._running.get(job.id)
        if course is None:
            return job
        moved = (job.step, job.steps, job.progress_ratio)
        if moved != course.moved:
            if job.step or job.progress_ratio:
                course.progressed_at = now
            course.moved = moved
        started_at, progressed_at = job.started_at, job.progressed_at
        return msgspec.structs.replace(
            job,
            started_at=course.first_seen_at if started_at is None else started_at,
            progressed_at=course.progressed_at if progressed_at is None else progressed_at,
            peak_vram_bytes=job.peak_vram_bytes or course.peak_vram_bytes,
        )


def lost(job: RunningJob, server: str, now: float) -> JobRecord:
    """The record of a job that ended with its server."""
    return JobRecord(
        id=job.id,
        server=server,
        outcome="error",
        ended_at=now,
        started_at=job.started_at,
        model=job.model,
        width=job.width,
        height=job.height,
        batch=job.batch,
        steps=job.steps,
        error=ENDED,
    )


def _with_report(job: RunningJob, report: StepReport) -> RunningJob:
    return msgspec.structs.replace(
        job,
        step=job.step if report.step is None else report.step,
        steps=job.steps if report.steps is None else report.steps,
        progressed_at=report.at,
        seconds_per_step=report.seconds_per_step or job.seconds_per_step,
    )
