"""A machine whose jobs stall or do not: a fake driver, a server that is played, a real agent."""

from __future__ import annotations

import itertools
import json
import time
import urllib.request
from pathlib import Path
from typing import Any, get_args

from tests.fakes.nvml import Card, Driver, FakeNvml
from tests.fakes.plain_comfyui import PlainComfyUI
from tests.fakes.servers import Clock
from tests.fakes.servers.comfyui import FakeComfyUI, text_to_image
from tests.fakes.servers.sdnext import FakeSdNext
from tests.processes import RunningAgent, free_port
from tierwatch_agent.snapshot import MachineSnapshot, ServerSample, Stall, StallCause

STEP_SECONDS = 0.2
STEPS = 400
"""Of every job: more than any scenario takes, so that none is at its last step unawares."""
LOOK_SECONDS = 0.5
OUT_OF_MEMORY: dict[str, Any] = {
    "exception_type": "torch.OutOfMemoryError",
    "exception_message": "Allocation on device",
}


class Server:
    """A generation server whose one job a scenario plays; not every kind can do everything."""

    kind: str
    found: bool = False
    """Whether the agent finds it by its process, rather than being told of it."""
    port: int

    def hears(self) -> bool:
        """Whether the agent listens to it."""
        return True

    def begin(self, agent: RunningAgent) -> None:
        """A job begins."""
        raise NotImplementedError

    def step(self, step: int) -> None:
        """The job is at this step."""
        raise NotImplementedError

    def end(self, outcome: str = "success") -> None:
        """It ends: "success", "interrupted", or "error" for want of memory."""
        raise NotImplementedError

    def decode_in_tiles(self) -> None:
        """It says in its log that memory is short."""
        raise NotImplementedError

    def pause(self, *, paused: bool) -> None:
        """Its user has it pause, or go on."""
        raise NotImplementedError

    def fall_silent(self) -> None:
        """It does not answer any more, though its process lives."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends it."""
        raise NotImplementedError


class ToldByLog(Server):
    """ComfyUI 0.27.0 without the extension: its log tells the steps."""

    kind = "comfyui"

    def __init__(self, _folder: Path) -> None:
        self._comfyui = FakeComfyUI()
        self._began_at = 0.0
        self._numbers = itertools.count(1)
        self.port = self._comfyui.port

    def hears(self) -> bool:
        return bool(self._comfyui.log_subscribers)

    def begin(self, agent: RunningAgent) -> None:
        self._began_at = time.time()
        self._comfyui.queue(f"prompt-{next(self._numbers)}", text_to_image(), self._began_at)
        self._comfyui.begin()

    def step(self, step: int) -> None:
        self._comfyui.write(f"\r{step / STEPS:4.0%}|####      | {step}/{STEPS} [00:02<00:06]")

    def end(self, outcome: str = "success") -> None:
        took = time.time() - self._began_at
        fields = OUT_OF_MEMORY if outcome == "error" else {}
        self._comfyui.finish(
            ended_at=time.time(), seconds=took, ending=f"execution_{outcome}", **fields
        )
        self._comfyui.write(f"Prompt executed in {took:.2f} seconds")

    def decode_in_tiles(self) -> None:
        self._comfyui.write(
            "Warning: Ran out of memory when regular VAE decoding, retrying with tiled VAE decoding"
        )

    def close(self) -> None:
        self._comfyui.__exit__()


class ToldByExtension(Server):
    """A process that plays ComfyUI 0.3.64; its extension tells the agent the steps."""

    kind = "comfyui"
    found = True

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._comfyui = PlainComfyUI(folder, self.port)
        self._agent: RunningAgent | None = None

    def begin(self, agent: RunningAgent) -> None:
        self._agent = agent
        self._comfyui.play(start="prompt-1")

    def step(self, step: int) -> None:
        assert self._agent is not None
        told = {"server_port": self.port, "prompt_id": "prompt-1", "step": step, "steps": STEPS}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._agent.port}/api/v1/servers/steps",
            json.dumps(told).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()

    def fall_silent(self) -> None:
        self._comfyui.play(silent=True)

    def close(self) -> None:
        self._comfyui.end()


class ToldByStatus(Server):
    """SD.Next: its status tells steps and whether it is paused. This one keeps no history."""

    kind = "sdnext"

    def __init__(self, _folder: Path) -> None:
        self._sdnext = FakeSdNext(Clock(time.time()), history=False)
        self._job = ""
        self.port = self._sdnext.port

    def hears(self) -> bool:
        return "GET /sdapi/v1/status" in self._sdnext.asked

    def begin(self, agent: RunningAgent) -> None:
        self._sdnext.clock.now = time.time()
        self._job = self._sdnext.begin("API-TXT")

    def step(self, step: int) -> None:
        self._sdnext.sample(step, STEPS)

    def end(self, outcome: str = "success") -> None:
        self._sdnext.oom += outcome == "error"
        self._sdnext.end(self._job)

    def pause(self, *, paused: bool) -> None:
        self._sdnext.paused = paused

    def close(self) -> None:
        self._sdnext.stop()


class Machine:
    """One card, one server, one agent; notes the first stall that the agent tells of."""

    def __init__(self, fake: FakeNvml, server: Server, agent: RunningAgent) -> None:
        self.server = server
        self.agent = agent
        self.stall: Stall | None = None
        self.stalled_at = 0.0
        self.began_at: float | None = None
        """When the trouble began."""
        self._fake = fake
        self._step = 0
        self._looked_at = 0.0

    def show(self, card: Card) -> None:
        """Has the driver tell of the card."""
        self._fake.write(Driver(cards=(card,)))

    def begin(self) -> None:
        """The server begins a job, and the agent sees it."""
        self._step = 0
        self.server.begin(self.agent)
        self.agent.until(lambda told: (s := self._sample(told)) and s.jobs, "a job that runs")

    def work(self, seconds: float, pace: float = STEP_SECONDS) -> None:
        """It steps for so long, or until a stall is told of."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.stall is None:
            self._step += 1
            self.server.step(self._step)
            self.wait(pace)

    def finish_steps(self) -> None:
        """It takes its last step."""
        self._step = STEPS
        self.server.step(STEPS)

    def trouble(self) -> None:
        """From now on it ought to be noticed."""
        self.began_at = time.time()

    def wait(self, seconds: float) -> None:
        """Waits so long, or until a stall is told of."""
        until = time.monotonic() + seconds
        while self.stall is None:
            if time.monotonic() - self._looked_at >= LOOK_SECONDS:
                self._look()
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, LOOK_SECONDS))

    def stalled(self) -> dict[str, float | None]:
        """The causes that its metric names, with what it says of each."""
        return {
            cause: self.agent.sample("tierwatch_job_stalled", server=self._id(), cause=cause)
            for cause in get_args(StallCause)
        }

    def is_watched(self, snapshot: MachineSnapshot) -> bool:
        """Whether the agent knows server and card, and that they belong together."""
        sample = self._sample(snapshot)
        tied = sample is not None and (sample.gpus or self.server.found)
        return bool(tied and snapshot.gpus and self.server.hears())

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        sample = self._sample(self.agent.snapshot())
        if sample is not None and sample.stall is not None:
            self.stall, self.stalled_at = sample.stall, time.time()

    def _sample(self, snapshot: MachineSnapshot) -> ServerSample | None:
        return next((each for each in snapshot.servers if each.id == self._id()), None)

    def _id(self) -> str:
        return f"{self.server.kind}-{self.server.port}"
