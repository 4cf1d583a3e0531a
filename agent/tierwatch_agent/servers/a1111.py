"""AUTOMATIC1111's web UI and Forge: asked for their progress, their queue and torch's memory.

They tell: up, queue, the running job's step and steps, its model by the options, VRAM as torch
reserves it, torch's count of out-of-memory errors. They do not tell: a version (only a page that
runs pip and git), width, height and batch size, finished jobs (inferred, see a1111_jobs.py).
Sources: modules/api/api.py, progress.py, shared_state.py, ui.py of A1111 1.10 and Forge dfdcbab.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tierwatch_agent.servers import NotThisServer, ServerError, ServerReading, fields
from tierwatch_agent.servers.a1111_jobs import InferredJobs, state_of
from tierwatch_agent.servers.http import TIMEOUT_SECONDS, Client, NoSuchPage
from tierwatch_agent.servers.sdapi import Sdapi

PROGRESS = "/sdapi/v1/progress?skip_current_image=true"
API_OFF = "answers, but its API is off: start it with --api"


class A1111:
    """One A1111 or Forge. Jobs are known as well as it is asked often: once a second while busy."""

    def __init__(
        self,
        server_id: str,
        url: str,
        *,
        clock: Callable[[], float] = time.time,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._client = Client(url, timeout_seconds)
        self._sdapi = Sdapi(self._client)
        self._clock = clock
        self._jobs = InferredJobs(server_id)
        self._lists_pending = True
        self._closed = threading.Event()

    def identify(self) -> None:
        """Proves that it is an A1111 or Forge; neither tells a version cheaply."""
        if "state" not in fields.table(self._progress()):
            raise NotThisServer("its progress has no state")
        if self._has("/sdapi/v1/version"):
            raise NotThisServer("an SD.Next answers")

    def read(self) -> ServerReading:
        """Its progress, its queue, and its memory when that is due."""
        answer = self._progress()
        if "state" not in fields.table(answer):
            raise ServerError("its progress has no state")
        state, now = state_of(answer), self._clock()
        memory = self._sdapi.memory(now, at_once=self._jobs.is_over(state))
        self._jobs.see(state, now, memory.out_of_memory_total)
        if self._jobs.needs_model():
            self._jobs.note_model(self._sdapi.model())
        return ServerReading(
            queue_pending=self._pending(),
            queue_running=int(state.running),
            jobs=self._jobs.running(),
            finished=self._jobs.finished(),
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

    def _progress(self) -> object:
        try:
            return self._client.get(PROGRESS)
        except NoSuchPage as missing:
            if self._has("/internal/ping"):
                raise ServerError(API_OFF) from missing
            raise NotThisServer("neither its API nor its ping is there") from missing

    def _pending(self) -> int | None:
        if not self._lists_pending:
            return None
        try:
            return fields.count(self._client.get("/internal/pending-tasks"), "size")
        except NoSuchPage:
            # Before A1111 1.8, and where it runs without its pages (--nowebui).
            self._lists_pending = False
        return None

    def _has(self, path: str) -> bool:
        try:
            self._client.get(path)
        except NoSuchPage:
            return False
        return True
