"""The dashboard's background jobs, run by APScheduler, each with its health for all to see."""

# APScheduler 3 bears no types:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone

import msgspec
from apscheduler.events import EVENT_JOB_MAX_INSTANCES, JobSubmissionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

_log = logging.getLogger(__name__)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Something to do every so often; its name is a label of the metrics."""

    name: str
    every_seconds: float
    run: Callable[[], object]
    at_leisure: bool = False
    """Whether a run that is due while the last is under way is left out, and no failure."""


class JobHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How a job fares. ``last_success_at`` in Unix seconds, None before the first."""

    last_success_at: float | None = None
    failures: int = 0
    """Runs that raised, or were due while the last was still under way."""
    error: str | None = None
    """Why the last run failed; None: it did not."""


class Background:
    """Runs the jobs from ``start`` to ``stop``. A job that fails is run again when it is due."""

    def __init__(self, jobs: Sequence[Job], now: Callable[[], float] = time.time) -> None:
        self._jobs = {job.name: job for job in jobs}
        self._now = now
        self._health = {name: JobHealth() for name in self._jobs}
        self._lock = threading.Lock()
        # A thread for each job, so that one that hangs keeps none of the others waiting.
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(max(1, len(jobs)))}, timezone=timezone.utc
        )
        self._scheduler.add_listener(self._overrun, EVENT_JOB_MAX_INSTANCES)

    def start(self) -> None:
        """Runs every job at once, and then whenever it is due."""
        for job in self._jobs.values():
            self._scheduler.add_job(
                self._run,
                "interval",
                args=(job,),
                seconds=job.every_seconds,
                id=job.name,
                next_run_time=datetime.now(timezone.utc),
                # After the machine has slept, or was busy: once, late, rather than never or in
                # a burst; and never beside itself.
                coalesce=True,
                misfire_grace_time=None,
                max_instances=1,
            )
        self._scheduler.start()

    def stop(self) -> None:
        """Starts no job any more; one under way is not waited for."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def health(self) -> dict[str, JobHealth]:
        """Each job's health by its name."""
        with self._lock:
            return dict(self._health)

    def _run(self, job: Job) -> None:
        try:
            job.run()
        except Exception as error:  # noqa: BLE001  the one runner: a job that fails must not end
            self._failed(job.name, f"{type(error).__name__}: {error}", error)
            return
        with self._lock:
            before = self._health[job.name]
            self._health[job.name] = msgspec.structs.replace(
                before, last_success_at=self._now(), error=None
            )
        if before.error is not None:
            _log.info("background job %s works again", job.name)

    def _overrun(self, event: JobSubmissionEvent) -> None:
        name = str(event.job_id)
        if not self._jobs[name].at_leisure:
            self._failed(name, "its last run is still under way", None)

    def _failed(self, name: str, why: str, error: Exception | None) -> None:
        with self._lock:
            before = self._health[name]
            self._health[name] = msgspec.structs.replace(
                before, failures=before.failures + 1, error=why
            )
        if before.error != why:
            _log.error("background job %s failed: %s", name, why, exc_info=error)
