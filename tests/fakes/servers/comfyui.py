"""A ComfyUI played by a real HTTP and websocket server, from documents that real ones gave.

Played after ComfyUI's server.py, execution.py and comfy_execution/jobs.py, 0.28.0 (with a jobs API)
and 0.3.64 (without); the documents were recorded from running servers, 0.27.0 and 0.3.64.
"""

from __future__ import annotations

import asyncio
import copy
import json
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from aiohttp import WSMsgType, web

DATA = Path(__file__).parents[2] / "agent" / "data"
ENDINGS = {
    "execution_success": "completed",
    "execution_error": "failed",
    "execution_interrupted": "cancelled",
}
Version = Literal["0.27.0", "0.3.64"]
Item = dict[str, Any]
T = TypeVar("T")


def recorded(version: Version, name: str) -> Any:
    """A document that a real server of that version gave."""
    return json.loads((DATA / f"comfyui_{version}" / f"{name}.json").read_text(encoding="utf-8"))


class Fault(msgspec.Struct, kw_only=True):
    """How one page answers instead of as it should."""

    status: int = 200
    body: bytes | None = None
    delay_seconds: float = 0.0


class FakeComfyUI:
    """One server on the loopback. A context manager: leaving it ends it."""

    def __init__(self, version: Version = "0.27.0") -> None:
        self.version: Version = version
        self.cancelled_is_known = True
        self.asked: list[str] = []
        """Method and path with query of every request."""
        self.faults: dict[str, Fault] = {}
        """By path without query."""
        self.history: dict[str, Item] = {}
        self.running: list[list[Any]] = []
        self.pending: list[list[Any]] = []
        self.stats: dict[str, Any] = recorded(version, "system_stats")
        self.log_subscribers: set[str] = set()
        self.sockets: dict[str, web.WebSocketResponse] = {}
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.start()

    def __enter__(self) -> FakeComfyUI:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listens, after a stop on the same port."""
        self._do(self._start())

    def stop(self) -> None:
        """Ends as a process does: connections break, and nothing listens any more."""
        self._do(self._stop())

    def restart(self) -> None:
        """As a new process on the same port: queue and history are gone."""
        self.stop()
        self.history, self.running, self.pending = {}, [], []
        self.start()

    def queue(self, prompt_id: str, graph: Item, created_at: float = 1000.0) -> None:
        """Takes a prompt; its turn comes with ``begin``."""
        extra = {"client_id": "the-artist", "create_time": int(created_at * 1000)}
        if self.version == "0.3.64":
            del extra["create_time"]
        self.pending.append([len(self.pending), prompt_id, graph, extra, ["3"]])
        self.tell_status()

    def begin(self) -> None:
        """The first that waits runs now."""
        self.running.append(self.pending.pop(0))
        self.tell_status()

    def finish(
        self,
        *,
        ended_at: float = 1010.0,
        seconds: float = 5.0,
        ending: str = "execution_success",
        outputs: Item | None = None,
        cached: tuple[str, ...] = (),
        **ending_fields: Any,
    ) -> None:
        """What runs is done."""
        prompt = self.running.pop(0)
        started, ended = int((ended_at - seconds) * 1000), int(ended_at * 1000)
        done = ending == "execution_success"
        self.history[prompt[1]] = {
            "prompt": prompt,
            "outputs": {"3": {"images": [image()]}} if outputs is None and done else outputs or {},
            "status": {
                "status_str": "success" if done else "error",
                "completed": done,
                "messages": [
                    ["execution_start", {"prompt_id": prompt[1], "timestamp": started}],
                    ["execution_cached", {"nodes": list(cached), "timestamp": started}],
                    [ending, {"prompt_id": prompt[1], **ending_fields, "timestamp": ended}],
                ],
            },
            "meta": {},
        }
        self.tell_status()

    def make(self, prompt_id: str, graph: Item, **how: Any) -> None:
        """Takes, runs and finishes a prompt."""
        self.queue(prompt_id, graph, how.pop("created_at", 1000.0))
        self.running.append(self.pending.pop())
        self.finish(**how)

    def tell_status(self) -> None:
        """Broadcasts the queue's length, as every change of it does."""
        self._do(self._broadcast("status", {"status": self._info()}))

    def tell(self, kind: str, data: Item) -> None:
        """Broadcasts a message."""
        self._do(self._broadcast(kind, data))

    def write(self, *lines: str) -> None:
        """Writes to the log, which goes to those who subscribed to it."""
        entries = [{"t": "2026-01-01T00:00:00", "m": line} for line in lines]
        self._do(self._broadcast("logs", {"entries": entries, "size": None}, self.log_subscribers))

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    async def _start(self) -> None:
        application = web.Application(middlewares=[self._note])
        application.router.add_get("/ws", self._socket)
        application.router.add_get("/system_stats", self._answer(lambda _: self.stats))
        application.router.add_get("/prompt", self._answer(lambda _: self._info()))
        application.router.add_get("/queue", self._answer(lambda _: self._queue()))
        application.router.add_get("/history", self._answer(self._history))
        application.router.add_patch("/internal/logs/subscribe", self._subscribe)
        if self.version == "0.27.0":
            application.router.add_get("/api/jobs", self._answer(self._jobs))
            application.router.add_get("/api/jobs/{id}", self._answer(self._one_job))
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        for socket in list(self.sockets.values()):
            await socket.close()
        await self._runner.cleanup()
        self.log_subscribers.clear()

    @web.middleware
    async def _note(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path_qs}")
        fault = self.faults.get(request.path)
        if fault is None:
            return await handler(request)
        await asyncio.sleep(fault.delay_seconds)
        if fault.body is None and fault.status == 200:
            return await handler(request)
        return web.Response(status=fault.status, body=fault.body, content_type="application/json")

    def _answer(self, page: Any) -> Any:
        async def answer(request: web.Request) -> web.Response:
            return web.json_response(page(request))

        return answer

    def _info(self) -> Item:
        return {"exec_info": {"queue_remaining": len(self.running) + len(self.pending)}}

    def _queue(self) -> Item:
        return {"queue_running": self.running, "queue_pending": self.pending}

    def _history(self, request: web.Request) -> Item:
        newest = int(request.query["max_items"])
        return dict(list(self.history.items())[-newest:])

    def _jobs(self, request: web.Request) -> Item:
        asked = request.query["status"].split(",")
        if "cancelled" in asked and not self.cancelled_is_known:
            raise web.HTTPBadRequest(text='{"error": "Invalid status value(s): cancelled"}')
        jobs = [
            {"id": p[1], "status": "in_progress", "create_time": p[3].get("create_time", 0)}
            for p in self.running
        ]
        jobs += [self._listed(key) for key in self.history]
        jobs = [job for job in jobs if job["status"] in asked]
        jobs.sort(key=lambda job: job["create_time"], reverse=True)
        limit = int(request.query["limit"])
        pages = {"offset": 0, "limit": limit, "total": len(jobs), "has_more": len(jobs) > limit}
        return {"jobs": jobs[:limit], "pagination": pages}

    def _one_job(self, request: web.Request) -> Item:
        key = request.match_info["id"]
        if key not in self.history:
            raise web.HTTPNotFound
        item = self.history[key]
        workflow = {"prompt": item["prompt"][2], "extra_data": item["prompt"][3]}
        return {
            **self._listed(key),
            "outputs": item["outputs"],
            "execution_status": item["status"],
            "workflow": workflow,
        }

    def _listed(self, key: str) -> Item:
        item = self.history[key]
        messages: dict[str, Item] = dict(map(tuple, item["status"]["messages"]))
        ending = next(kind for kind in ENDINGS if kind in messages)
        status = ENDINGS[ending]
        if status == "cancelled" and not self.cancelled_is_known:
            status = "failed"
        job = {
            "id": key,
            "status": status,
            "create_time": item["prompt"][3].get("create_time", 0),
            "execution_start_time": messages["execution_start"]["timestamp"],
            "execution_end_time": messages[ending]["timestamp"],
            "outputs_count": len(item["outputs"]),
        }
        if ending == "execution_error":
            job["execution_error"] = messages[ending]
        return job

    async def _subscribe(self, request: web.Request) -> web.Response:
        self.log_subscribers.add((await request.json())["clientId"])
        return web.Response()

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        client = request.query["clientId"]
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets[client] = socket
        await socket.send_json({"type": "status", "data": {"status": self._info(), "sid": client}})
        async for message in socket:
            if message.type is WSMsgType.ERROR:
                break
        self.sockets.pop(client, None)
        return socket

    async def _broadcast(self, kind: str, data: Item, to: set[str] | None = None) -> None:
        for client, socket in list(self.sockets.items()):
            if not socket.closed and (to is None or client in to):
                await socket.send_json({"type": kind, "data": data})


def image(name: str = "secret_00001_.png", kind: str = "output") -> Item:
    """One image as a node's output lists it."""
    return {"filename": name, "subfolder": "", "type": kind}


def text_to_image(**changed: Any) -> Item:
    """A graph as most are: a checkpoint, a prompt, a latent of some size, a sampler, an image."""
    graph: Item = {
        "1": node(
            "CheckpointLoaderSimple", ckpt_name="client-x\\secret\\juggernaut_xl.safetensors"
        ),
        "2": node("CLIPTextEncode", text="a secret castle", clip=["1", 1]),
        "4": node("EmptyLatentImage", width=1024, height=768, batch_size=4),
        "5": node("KSampler", model=["1", 0], positive=["2", 0], latent_image=["4", 0], steps=30),
        "6": node("VAEDecode", samples=["5", 0], vae=["1", 2]),
        "3": node("SaveImage", images=["6", 0], filename_prefix="secret-project"),
    }
    return copy.deepcopy({**graph, **changed})


def node(class_type: str, **inputs: Any) -> Item:
    """One node of a graph."""
    return {"class_type": class_type, "inputs": inputs}
