"""A real ComfyUI: started from its folder, or running already; given prompts over its own API."""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.processes import eventually, free_port

REPOSITORY = Path(__file__).parents[2]
PROBE = Path(__file__).with_name("comfyui_probe.py")
EXTENSION = REPOSITORY / "deploy" / "comfyui" / "tierwatch"
START_SECONDS = 120.0


class RealComfyUI:
    """Its API, and its process where this program started it."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def id(self) -> str:
        return f"comfyui-{urlsplit(self.url).port}"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.loads(answer.read())

    def post(self, path: str, body: dict[str, Any]) -> bytes:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    def submit(self, graph: dict[str, Any]) -> str:
        """Queues a prompt as a browser does, under a client id; the prompt's id."""
        return json.loads(self.post("/prompt", {"prompt": graph, "client_id": "artist"}))[
            "prompt_id"
        ]

    def runs(self, prompt_id: str) -> bool:
        return any(item[1] == prompt_id for item in self.get("/queue")["queue_running"])

    def drain(self) -> None:
        """Waits until nothing runs and nothing waits."""
        eventually(
            lambda: self.get("/prompt")["exec_info"]["queue_remaining"],
            lambda remaining: remaining == 0,
            "an empty queue",
        )

    def milliseconds(self, prompt_id: str) -> float:
        """How long a prompt took, by its own history."""
        messages = dict(self.get(f"/history/{prompt_id}")[prompt_id]["status"]["messages"])
        ended = messages["execution_success"]["timestamp"]
        return ended - messages["execution_start"]["timestamp"]

    def timed(self, graphs: list[dict[str, Any]]) -> list[float]:
        """How long each of some prompts took, one after the other."""
        prompts = []
        for graph in graphs:
            prompts.append(self.submit(graph))
            self.drain()
        return [self.milliseconds(prompt) for prompt in prompts]


class StartedComfyUI(RealComfyUI):
    """Started from a folder, with the probe's nodes in it until it is closed."""

    def __init__(self, folder: Path, python: str, scratch: Path, agent_url: str) -> None:
        self._port = free_port()
        super().__init__(f"http://127.0.0.1:{self._port}")
        self._folder = folder
        self._python = python
        self._scratch = scratch
        self._environment = {**os.environ, "TIERWATCH_AGENT_URL": agent_url}
        self._process: subprocess.Popen[bytes] | None = None
        self._nodes = folder / "custom_nodes"
        shutil.copy(PROBE, self._nodes / PROBE.name)

    def start(self, *, extension: bool) -> None:
        installed = self._nodes / EXTENSION.name
        shutil.rmtree(installed, ignore_errors=True)
        if extension:
            shutil.copytree(EXTENSION, installed, ignore=shutil.ignore_patterns("__pycache__"))
        options = ["--cpu", "--listen", "127.0.0.1", "--port", str(self._port)]
        options += ["--output-directory", str(self._scratch / "output")]
        (self._scratch / "user").mkdir(exist_ok=True)
        options += ["--user-directory", str(self._scratch / "user")]
        with (self._scratch / "comfyui.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._python, "main.py", *options],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                said = (self._scratch / "comfyui.log").read_text(errors="replace")
                raise SystemExit(f"ComfyUI does not start; it says:\n{said[-2000:]}")
            time.sleep(0.3)

    def end(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=30)
            self._process = None

    def close(self) -> None:
        self.end()
        (self._nodes / PROBE.name).unlink(missing_ok=True)
        shutil.rmtree(self._nodes / EXTENSION.name, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            self.get("/prompt")
        except (OSError, urllib.error.URLError):
            return False
        return True


def graph(
    color: int,
    *,
    size: int = 256,
    batch: int = 1,
    steps: int = 0,
    delay: float = 0.1,
    told_in: str = "bar",
    failure: str = "",
) -> dict[str, Any]:
    """EmptyImage, steps or a failure, ImageScale to twice the size, SaveImage; no model."""
    nodes: dict[str, Any] = {
        "1": ("EmptyImage", {"width": size, "height": size, "batch_size": batch, "color": color}),
        "3": (
            "ImageScale",
            {
                "image": ["1", 0],
                "upscale_method": "lanczos",
                "width": 2 * size,
                "height": 2 * size,
                "crop": "disabled",
            },
        ),
        "4": ("SaveImage", {"images": ["3", 0], "filename_prefix": "tierwatch"}),
    }
    if steps:
        of_steps = {"image": ["1", 0], "steps": steps, "delay": delay, "told_in": told_in}
        nodes["2"] = ("TierwatchSteps", of_steps)
    if failure:
        nodes["2"] = ("TierwatchFailure", {"image": ["1", 0], "kind": failure, "salt": color})
    if "2" in nodes:
        nodes["3"][1]["image"] = ["2", 0]
    return {key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in nodes.items()}


def described(times: list[float]) -> str:
    """Median and middle half of some times."""
    low, middle, high = statistics.quantiles(times, n=4)
    return f"{middle:7.1f} ms  ({low:.1f} to {high:.1f}, {len(times)} jobs)"
