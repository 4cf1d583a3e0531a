"""Plays AUTOMATIC1111's web UI and Forge.

After modules/shared_state.py (``State``), modules/call_queue.py (``wrap_gradio_call``),
modules/progress.py and modules/api/api.py of AUTOMATIC1111/stable-diffusion-webui and of
lllyasviel/stable-diffusion-webui-forge dfdcbab.
"""

from __future__ import annotations

import time
from typing import Any

from tests.fakes.servers import Clock, FakeServer
from tests.fakes.servers.torch_memory import memory_answer


class FakeA1111(FakeServer):
    """Its methods are what happens in it: ``begin``, ``plan``, ``step`` and so on to ``end``."""

    def __init__(self, clock: Clock, *, api: bool = True, user_interface: bool = True) -> None:
        self.clock = clock
        self.model: object = "sdxl/juggernautXL.safetensors [aeb7e9e689]"
        self.reserved = 6 * 2**30
        self.memory: object = None
        """What the memory page answers instead of figures."""
        self.overlay: dict[str, Any] = {}
        """Fields of the state that are not as they should be."""
        self.restart()
        super().__init__()
        if user_interface:
            self.pages["GET /internal/ping"] = lambda query, body: {}
            self.pages["GET /internal/pending-tasks"] = lambda query, body: {
                "size": len(self.pending),
                "tasks": self.pending,
            }
        if api:
            self.pages["GET /sdapi/v1/progress"] = lambda query, body: self._progress()
            self.pages["GET /sdapi/v1/memory"] = lambda query, body: (
                self.memory or memory_answer(self.reserved, self.oom)
            )
            self.pages["GET /sdapi/v1/options"] = lambda query, body: {
                "sd_model_checkpoint": self.model,
                "outdir_samples": "/home/artist/secret",
            }

    def restart(self) -> None:
        """A new process: its state and torch's counters begin anew."""
        self.pending: list[str] = []
        self.oom = 0
        self.state: dict[str, Any] = {
            "skipped": False,
            "interrupted": False,
            "stopping_generation": False,
            "job": "",
            "job_count": 0,
            "job_timestamp": "0",
            "job_no": 0,
            "sampling_step": 0,
            "sampling_steps": 0,
        }

    def begin(self, job: str = "task(txt2img-ABC1234)") -> None:
        self.state |= {
            "skipped": False,
            "interrupted": False,
            "stopping_generation": False,
            "job": job,
            "job_count": -1,
            "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.localtime(self.clock.now)),
            "job_no": 0,
            "sampling_step": 0,
        }

    def plan(self, passes: int, steps: int) -> None:
        """Sampling begins: it is known how many passes there will be."""
        self.state |= {"job_count": passes, "sampling_steps": steps, "sampling_step": 0}

    def step(self, step: int) -> None:
        self.state["sampling_step"] = step

    def finish_pass(self) -> None:
        self.state["job_no"] += 1
        self.state["sampling_step"] = 0

    def end(self, *, of_page: bool = True) -> None:
        """A job ends, well or by an error; one of the page clears the flags, one of the API not."""
        self.state |= {"job": "", "job_count": 0}
        if of_page:
            self.state |= {"skipped": False, "interrupted": False, "stopping_generation": False}

    def run(self, *, passes: int = 1, steps: int = 20, job: str = "task(txt2img-ABC1234)") -> None:
        """A whole job at once."""
        self.begin(job)
        self.plan(passes, steps)
        for _ in range(passes):
            self.finish_pass()
        self.end()

    def _progress(self) -> dict[str, object]:
        state = self.state
        progress = 0.0
        if state["job_count"] != 0:
            progress = 0.01
            if state["job_count"] > 0:
                progress += state["job_no"] / state["job_count"]
            if state["sampling_steps"] > 0:
                part = state["sampling_step"] / state["sampling_steps"]
                progress += 1 / state["job_count"] * part
        return {
            "progress": min(progress, 1),
            "eta_relative": 3.2,
            "state": state | self.overlay,
            "current_image": None,
            "textinfo": None,
        }
