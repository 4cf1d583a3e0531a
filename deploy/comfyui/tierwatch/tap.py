"""Listens to ComfyUI's own events: which prompt runs, and which step and node it is at.

ComfyUI tells a prompt's start and end through its queue, its steps through ``send_sync``; both are
called with what they were called with before, whatever happens here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

Report = dict[str, Any]


class Tap:
    """On one ComfyUI server. ``offer`` takes a report and returns at once."""

    def __init__(self, server: Any, offer: Callable[[Report], None]) -> None:
        self._server = server
        self._offer = offer
        self._running: dict[object, str] = {}
        self._at_node: tuple[object, ...] | None = None

    def install(self) -> None:
        """Puts itself between the server and those who call it."""
        server, queue = self._server, self._server.prompt_queue
        send_sync, get, task_done = server.send_sync, queue.get, queue.task_done

        def tapped_send_sync(event: Any, data: Any, *rest: Any, **more: Any) -> Any:
            self._quietly(self._heard, event, data)
            return send_sync(event, data, *rest, **more)

        def tapped_get(*arguments: Any, **more: Any) -> Any:
            got = get(*arguments, **more)
            if got is not None:
                self._quietly(self._started, got)
            return got

        def tapped_task_done(item_id: Any, *rest: Any, **more: Any) -> Any:
            self._quietly(self._ended, item_id)
            return task_done(item_id, *rest, **more)

        server.send_sync = tapped_send_sync
        queue.get, queue.task_done = tapped_get, tapped_task_done

    def _quietly(self, take: Callable[..., None], *what: Any) -> None:
        """Nothing that goes wrong here is ComfyUI's trouble."""
        with contextlib.suppress(Exception):
            take(*what)

    def _started(self, got: Any) -> None:
        item, item_id = got
        self._running[item_id] = item[1]
        self._at_node = None
        self._report("start", item[1])

    def _ended(self, item_id: object) -> None:
        prompt_id = self._running.pop(item_id, None)
        if prompt_id is not None:
            self._report("end", prompt_id)

    def _heard(self, event: Any, data: Any) -> None:
        if event == "progress":
            step, steps = int(data["value"]), int(data["max"])
            if steps > 0:
                self._report("step", data["prompt_id"], step=step, steps=steps)
        elif event == "progress_state":
            # Of the nodes, only that others run now: a node without steps is progress, too.
            nodes = data["nodes"].items()
            at_node = tuple(key for key, node in nodes if node["state"] == "running")
            if at_node and at_node != self._at_node:
                self._at_node = at_node
                self._report("step", data["prompt_id"])

    def _report(self, event: str, prompt_id: Any, **steps: int) -> None:
        port = getattr(self._server, "port", None)
        if port is not None and prompt_id is not None:
            self._offer({"server_port": port, "prompt_id": prompt_id, "event": event, **steps})
