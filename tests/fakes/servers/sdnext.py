"""Plays SD.Next.

After modules/shared_state.py (``begin``, ``end``, ``clear``, ``status``, ``history``),
modules/api/server.py, modules/api/models.py (``ResStatus``, ``ResHistory``), modules/progress.py
and installer.py (``version``) of vladmandic/sdnext 058a7f0.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

from tests.fakes.servers import Clock, FakeServer
from tests.fakes.servers.torch_memory import memory_answer


class FakeSdNext(FakeServer):
    """Its methods are what happens in it; phases of a job begin and end as jobs do."""

    def __init__(self, clock: Clock, *, history: bool = True) -> None:
        self.clock = clock
        self.reserved = 7 * 2**30
        self.model = "flux1-dev-fp8"
        self.overlay: dict[str, Any] = {}
        self._numbers = itertools.count(1)
        self.restart()
        super().__init__()
        self.version: object = {
            "app": "sd.next",
            "updated": "2026-07-23",
            "commit": "058a7f0cf",
            "branch": "master",
        }
        self.pages = {
            "GET /sdapi/v1/version": lambda query, body: self.version,
            "GET /sdapi/v1/status": lambda query, body: self._status() | self.overlay,
            "GET /sdapi/v1/memory": lambda query, body: memory_answer(self.reserved, self.oom),
            "GET /sdapi/v1/options": lambda query, body: {"sd_model_checkpoint": self.model},
        }
        if history:
            self.pages["GET /sdapi/v1/history"] = lambda query, body: self.events

    def restart(self) -> None:
        """A new process: its events are gone and its counters begin anew."""
        self.events: list[dict[str, Any]] = []
        self.pending = 0
        self.oom = 0
        self.total = 0
        self.current = ""
        self.interrupted = False
        self.step = 0
        self.steps = 0
        self._clear()

    def begin(self, title: str, task_id: str | None = None) -> str:
        self._clear()
        self.interrupted = self.interrupted if title.startswith("Save") else False
        self.total += 1
        self.id = task_id or f"{next(self._numbers):015x}"
        self.job, self.jobs = title, 1
        self.step = self.steps = 0
        self._write("begin", self.clock.now, None)
        return self.id

    def sample(self, step: int, steps: int) -> None:
        self.step, self.steps = step, steps

    def save(self, path: str) -> None:
        """An image is saved, in a phase of its own."""
        phase = self.begin("Save image")
        self._write("output", self.clock.now, None, [path])
        self.end(phase)

    def end(self, key: str) -> None:
        begun = [e for e in self.events if e["id"] == key]
        self.id, self.job = key, begun[-1]["job"] if begun else self.job
        since = begun[-1]["timestamp"] if begun else self.clock.now
        self._write("end", self.clock.now, round(self.clock.now - since, 3))
        self._clear()

    def pause(self) -> None:
        self.paused = True

    def run(self, title: str = "API-TXT", seconds: float = 2.0, *, saved: int = 0) -> None:
        """A whole job at once."""
        key = self.begin(title)
        self.clock.advance(seconds)
        for number in range(saved):
            self.save(f"/outputs/a secret prompt {number}.png")
        self.end(key)

    def _clear(self) -> None:
        self.id, self.job, self.jobs, self.paused = "", "", 0, False

    def _write(
        self, op: str, at: float, duration: float | None, outputs: list[str] | None = None
    ) -> None:
        self.events.append(
            {
                "id": self.id,
                "job": self.job.lower(),
                "op": op,
                "timestamp": at,
                "duration": duration,
                "outputs": outputs or [],
            }
        )
        del self.events[:-10_000]

    def _status(self) -> dict[str, Any]:
        status = "running" if self.job else "idle"
        status = "interrupted" if self.interrupted else status
        began = time.strftime("%Y%m%d%H%M%S", time.localtime(self.clock.now))
        steps = self.steps * self.jobs
        return {
            "status": "paused" if self.paused else status,
            "task": self.job,
            "timestamp": began if self.job else None,
            "current": self.current,
            "id": self.id,
            "job": 0,
            "jobs": self.jobs,
            "total": self.total,
            "step": self.step,
            "steps": steps,
            "queued": self.pending,
            "uptime": 3600,
            "elapsed": 2.1,
            "eta": None,
            "progress": round(min(1, self.step / steps), 2) if steps else 0,
        }
