"""ComfyUI: the queue's length each time; what runs and what has finished when something changed.

Asked of it are ``/prompt`` (0.6 ms of its event loop) and, after a change of the queue, what runs
and a bounded page of what has finished: from ``/api/jobs`` or, where an older version has none,
from ``/queue`` and ``/history?max_items=N``. Never the whole history, which holds up the server for
as long as it takes to write it, and nothing that changes anything but the subscription to its log.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import msgspec

from tierwatch_agent.servers import NotThisServer, ServerError, ServerReading
from tierwatch_agent.servers.comfyui_finished import Finished
from tierwatch_agent.servers.comfyui_graph import Shape
from tierwatch_agent.servers.comfyui_jobs import Queued, in_progress, job_id, running
from tierwatch_agent.servers.comfyui_log import LogReader
from tierwatch_agent.servers.comfyui_socket import Listener
from tierwatch_agent.servers.fields import count, rows, table, text, whole
from tierwatch_agent.servers.http import Client, NoSuchPage, NotJson, TooLarge
from tierwatch_agent.servers.step_pace import StepPace
from tierwatch_agent.snapshot import RunningJob

VRAM_SECONDS = 5.0
DEEP_QUEUE = 20
"""A longer queue is not read for its graphs alone: it holds those of all that wait, too."""
MANY_RUNNING = 8


class _Run(msgspec.Struct):
    """A prompt that runs, as it was first seen."""

    shape: Shape
    started_at: float | None
    pace: StepPace
    """Of the messages that reach every client: those of prompts without a client of their own."""


class ComfyUI:
    """One ComfyUI at one address."""

    def __init__(self, server_id: str, url: str, *, now: Callable[[], float] = time.time) -> None:
        self._client = Client(url)
        self._url = url
        self._now = now
        self._finished = Finished(server_id, self._client)
        self._listener: Listener | None = None
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._log = LogReader()
        self._runs: dict[str, _Run] = {}
        self._stale = True
        """Whether what runs and what has finished may have changed since it was read."""
        self._remaining: int | None = None
        self._vram_bytes: int | None = None
        self._vram_read_at: float | None = None

    def identify(self) -> str | None:
        """Proves by ``/system_stats`` that it is ComfyUI; its version, where it tells one."""
        stats = self._stats()
        version = text(stats, "system", "comfyui_version")
        if version is None and text(stats, "system", "python_version") is None:
            raise NotThisServer("/system_stats is not ComfyUI's")
        return version

    def read(self) -> ServerReading:
        """The server now; after a change of its queue, what runs and what has finished as well."""
        if self._listener is None:
            self._listener = Listener(self._url, self._hear)
        if self._news.is_set() or not self._listener.connected or self._finished.wants_more:
            self._stale = True
        self._news.clear()
        remaining = self._read_remaining()
        if self._stale or remaining != self._remaining:
            self._stale = True
            self._look(remaining)
            self._stale = False
        self._remaining = remaining
        with self._lock:
            jobs = tuple(self._job(prompt_id, run) for prompt_id, run in self._runs.items())
            strained = self._log.strained if jobs else None
        return ServerReading(
            queue_running=len(jobs),
            queue_pending=max(0, remaining - len(jobs)),
            jobs=jobs,
            finished=self._finished.records,
            vram_bytes=self._read_vram(),
            strained=strained,
        )

    def wait(self, seconds: float) -> None:
        """Returns after so long, or as the queue changes."""
        self._news.wait(seconds)

    def close(self) -> None:
        """Leaves the websocket and closes the connection."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._client.close()

    def _hear(self, kind: str, data: object) -> None:
        """One message of the websocket, in its thread."""
        if kind == "status":
            self._news.set()
        elif kind == "logs":
            with self._lock:
                for entry in rows(data, "entries"):
                    written = table(entry).get("m")
                    if isinstance(written, str):
                        self._log.take(written, self._now())
        elif kind == "progress":
            step, steps = whole(data, "value"), whole(data, "max")
            with self._lock:
                run = self._runs.get(text(data, "prompt_id") or "")
                if run is not None and step is not None and steps is not None:
                    run.pace.advance(step, steps, self._now())

    def _look(self, remaining: int) -> None:
        """Reads what runs, then what has finished: so a job is in one of the two."""
        queued = self._read_running(remaining) if remaining else ()
        gone = self._runs.keys() - {prompt.id for prompt in queued}
        self._finished.look(gone)
        now = self._now()
        with self._lock:
            self._runs = {
                prompt.id: self._runs.get(prompt.id) or self._begin(prompt, now)
                for prompt in queued
            }

    def _begin(self, prompt: Queued, now: float) -> _Run:
        """A prompt seen to run for the first time.

        The server runs one after the other: it began when it was queued or as the one before it
        ended, whichever was later. Without the time of its queueing, it began just now, unless it
        ran already when the agent came.
        """
        if prompt.created_at is not None:
            started_at = min(now, max(prompt.created_at, self._finished.latest_end or 0.0))
        else:
            started_at = None if self._remaining is None else now
        return _Run(shape=prompt.shape, started_at=started_at, pace=StepPace())

    def _read_remaining(self) -> int:
        remaining = count(self._client.get("/prompt"), "exec_info", "queue_remaining")
        if remaining is None:
            raise ServerError("/prompt does not tell the length of the queue")
        return remaining

    def _read_running(self, remaining: int) -> tuple[Queued, ...]:
        if not self._finished.has_jobs_api:
            return self._read_queue()
        page = f"/api/jobs?status=in_progress&limit={MANY_RUNNING}"
        prompts = in_progress(self._client.get(page))
        known = all(prompt.id in self._runs for prompt in prompts)
        if known or remaining > DEEP_QUEUE:
            return prompts
        # Only the queue has the graph of what runs. It may be at the next one by now: what it does
        # not have is told without its size.
        described = {prompt.id: prompt for prompt in self._read_queue()}
        return tuple(described.get(prompt.id, prompt) for prompt in prompts)

    def _read_queue(self) -> tuple[Queued, ...]:
        try:
            return running(self._client.get("/queue"))
        except TooLarge:
            return ()

    def _job(self, prompt_id: str, run: _Run) -> RunningJob:
        told = run.pace.step is not None
        pace = run.pace if told else self._log.pace
        return RunningJob(
            id=job_id(prompt_id),
            started_at=run.started_at,
            model=run.shape.model,
            width=run.shape.width,
            height=run.shape.height,
            batch=run.shape.batch,
            step=pace.step,
            steps=pace.steps if pace.steps is not None else run.shape.steps,
            progressed_at=pace.progressed_at,
            seconds_per_step=(run.pace if told else self._log).seconds_per_step,
        )

    def _read_vram(self) -> int | None:
        """What torch holds of the first CUDA device: at least that much is the server's."""
        now = self._now()
        if self._vram_read_at is None or not 0 <= now - self._vram_read_at < VRAM_SECONDS:
            self._vram_read_at = now
            devices = rows(self._stats(), "devices")
            cuda = [device for device in devices if text(device, "type") == "cuda"]
            self._vram_bytes = count(cuda[0], "torch_vram_total") if cuda else None
        return self._vram_bytes

    def _stats(self) -> object:
        try:
            return self._client.get("/system_stats")
        except (NoSuchPage, NotJson) as error:
            raise NotThisServer(str(error)) from error
