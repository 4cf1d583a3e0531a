"""What ComfyUI's extension tells of the running prompts' steps, on its way to whoever watches."""

from __future__ import annotations

import threading

import msgspec

from tierwatch_agent.servers.comfyui_jobs import job_id
from tierwatch_agent.servers.step_pace import StepPace

LARGEST_COUNT = 64
"""Servers remembered: a port that nobody listens on any more makes room for a new one."""


class StepReport(msgspec.Struct, frozen=True, kw_only=True):
    """The latest of one server: where its running prompt is."""

    job: str
    """The id of its job."""
    at: float
    """When it last advanced: a step, or another node."""
    step: int | None = None
    steps: int | None = None
    seconds_per_step: float | None = None


class StepReports:
    """One per agent: the HTTP server puts, the watch of each server gets. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: dict[int, StepReport] = {}
        self._paces: dict[int, StepPace] = {}

    def put(
        self, port: int, prompt_id: str, step: int | None, steps: int | None, at: float
    ) -> None:
        """One report of the server on a port; without a step: its prompt began, or went on."""
        with self._lock:
            before = self._latest.pop(port, None)
            if before is None and len(self._latest) >= LARGEST_COUNT:
                oldest = next(iter(self._latest))
                del self._latest[oldest], self._paces[oldest]
            job = job_id(prompt_id)
            if before is None or before.job != job:
                self._paces[port] = StepPace()
            pace = self._paces[port]
            pace.advance(step, steps, at)
            self._latest[port] = StepReport(
                job=job,
                at=at,
                step=pace.step,
                steps=pace.steps,
                seconds_per_step=pace.seconds_per_step,
            )

    def get(self, port: int) -> StepReport | None:
        """The latest of the server on a port; None: it never reported."""
        with self._lock:
            return self._latest.get(port)
