"""A ComfyUI as its API was before the jobs API (0.3.64), whose jobs a test starts and ends.

    with PlainComfyUI(tmp_path) as comfyui:
        comfyui.play(start="a")                 # POST /play, which no real one has
        comfyui.play(finish="a")

The process is ``python main.py --port N`` in a folder ComfyUI, as a real one's is. The documents
are formed as /system_stats, /prompt, /queue and /history?max_items=N of 0.3.64 are.
"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

GRAPH: dict[str, Any] = {
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sdxl.safetensors"}},
    "5": {
        "class_type": "EmptyLatentImage",
        "inputs": {"width": 1024, "height": 768, "batch_size": 2},
    },
    "3": {
        "class_type": "KSampler",
        "inputs": {"steps": 20, "model": ["4", 0], "latent_image": ["5", 0]},
    },
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}},
}
ENDINGS = {
    "success": "execution_success",
    "error": "execution_error",
    "interrupted": "execution_interrupted",
}


class State:
    """The queue and the history of one run of the server."""

    def __init__(self, stats: Mapping[str, Any]) -> None:
        self.stats = stats
        self.running: dict[str, float] = {}
        self.history: dict[str, Any] = {}
        self.asked: list[str] = []
        self.silent = False

    def play(self, order: Mapping[str, Any]) -> None:
        """Does what a test asks for."""
        if "start" in order:
            self.running[order["start"]] = time.time()
        if "finish" in order:
            self._finish(order["finish"], order.get("outcome", "success"))
        if order.get("clear"):
            self.history.clear()
        self.silent = bool(order.get("silent"))

    def _finish(self, job: str, outcome: str) -> None:
        started = self.running.pop(job, time.time())
        last: dict[str, Any] = {"prompt_id": job, "timestamp": round(time.time() * 1000)}
        if outcome == "error":
            last |= {
                "exception_type": "torch.OutOfMemoryError",
                "exception_message": "Allocation on device",
            }
        begun = {"prompt_id": job, "timestamp": round(started * 1000)}
        pictures = [{"filename": f"{i}.png", "subfolder": "", "type": "output"} for i in range(2)]
        self.history[job] = {
            "prompt": [1, job, GRAPH, {"client_id": "somebody"}, ["9"]],
            "outputs": {"9": {"images": pictures}} if outcome == "success" else {},
            "status": {
                "status_str": "success" if outcome == "success" else "error",
                "completed": outcome == "success",
                "messages": [
                    ["execution_start", begun],
                    ["execution_cached", {**begun, "nodes": []}],
                    [ENDINGS[outcome], last],
                ],
            },
            "meta": {},
        }

    def page(self, path: str) -> Any:
        """The document of a page; None where there is no such page."""
        address = urlsplit(path)
        match address.path:
            case "/system_stats":
                return self.stats
            case "/prompt":
                return {"exec_info": {"queue_remaining": len(self.running)}}
            case "/queue":
                running = [
                    [1, job, GRAPH, {"client_id": "somebody"}, ["9"]] for job in self.running
                ]
                return {"queue_running": running, "queue_pending": []}
            case "/history":
                limit = int(parse_qs(address.query).get("max_items", ["0"])[0])
                return dict(list(self.history.items())[-limit:])
            case "/asked":
                return self.asked
            case _:
                return None


class Handler(BaseHTTPRequestHandler):
    """One request."""

    state: State
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        while self.state.silent:
            time.sleep(0.05)
        self.state.asked.append(self.path)
        document = self.state.page(self.path)
        self._answer(404 if document is None else 200, document)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.state.play(json.loads(body))
        self._answer(200, {})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        pass

    def _answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class PlainComfyUI:
    """The process. A context manager: leaving it ends it."""

    def __init__(
        self,
        folder: Path,
        port: int,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        home: str = "ComfyUI",
    ) -> None:
        self.port = port
        self._home = folder / home
        self._home.mkdir(exist_ok=True)
        shutil.copy(__file__, self._home / "main.py")
        self._command = [sys.executable, "main.py", "--port", str(port), *arguments]
        self._environment = environment
        self.process = self._start()

    def __enter__(self) -> PlainComfyUI:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def id(self) -> str:
        """As the agent names it."""
        return f"comfyui-{self.port}"

    def play(self, **order: Any) -> None:
        """Has it start or finish a job, clear its history, or fall silent."""
        self._ask("POST", "/play", json.dumps(order))

    def asked(self) -> list[str]:
        """Every page that it was asked for so far."""
        return self._ask("GET", "/asked")

    def restart(self) -> None:
        """Ends it and starts it anew, with an empty history."""
        self.end()
        self.process = self._start()

    def end(self) -> None:
        """Ends it at once."""
        self.process.kill()
        self.process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self._command,
            cwd=self._home,
            env=None if self._environment is None else dict(self._environment),
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"To see the GUI\n"
        process.stdout.close()
        return process

    def _ask(self, method: str, path: str, body: str | None = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


def stats(arguments: list[str]) -> dict[str, Any]:
    """What /system_stats says; ``--holds BYTES`` and ``--something-else`` are the tests' own."""
    if "--something-else" in arguments:
        return {}
    system = {"comfyui_version": "0.3.64", "python_version": "3.12.3", "argv": arguments}
    if "--holds" not in arguments:
        return {"system": system, "devices": []}
    held = int(arguments[arguments.index("--holds") + 1])
    device = {"name": "cuda:0", "type": "cuda", "index": 0, "torch_vram_total": held}
    return {"system": system, "devices": [device]}


def main() -> None:
    port = int(sys.argv[sys.argv.index("--port") + 1])
    Handler.state = State(stats(sys.argv))
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever).start()
    print("To see the GUI", flush=True)


if __name__ == "__main__":
    main()
