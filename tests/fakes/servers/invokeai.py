"""Plays InvokeAI.

After api/routers/session_queue.py, api/routers/app_info.py, services/session_queue/
session_queue_common.py (``SessionQueueStatus``, ``SessionQueueItem``), services/shared/graph.py
(``GraphExecutionState``) and migration_1.py (numbers, moments) of invoke-ai/InvokeAI 8e71a8a.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from typing import Any

from tests.fakes.servers import Answer, Clock, FakeServer

QUEUE = "/api/v1/queue/default"


class FakeInvokeAI(FakeServer):
    """Its methods are what happens to the items of its queue."""

    def __init__(self, clock: Clock, *, lists_numbers: bool = True) -> None:
        self.clock = clock
        self.items: dict[int, dict[str, Any]] = {}
        self.last = 0
        self.version: object = {"version": "6.3.0"}
        self.is_started = True
        self.overlay: dict[str, Any] = {}
        self.status: object = None
        """What the status page answers instead of the status."""
        self._lists_numbers = lists_numbers
        super().__init__()

    def answer(self, asked: str, query: dict[str, str], body: dict[str, Any]) -> Answer:
        """Its pages by number are as many as it has items."""
        self.pages = {
            "GET /api/v1/app/version": lambda query, body: self.version,
            f"GET {QUEUE}/status": lambda query, body: self.status or self._status(),
        } | {f"GET {QUEUE}/i/{number}": self._page(number) for number in self.items}
        if self._lists_numbers:
            self.pages[f"GET {QUEUE}/item_ids"] = lambda query, body: {
                "item_ids": sorted(self.items, reverse=query["order_dir"] == "DESC"),
                "total_count": len(self.items),
            }
        return super().answer(asked, query, body)

    def enqueue(self, *, width: int = 1024, height: int = 1024, steps: int = 30) -> int:
        self.last += 1
        self.items[self.last] = {
            "item_id": self.last,
            "status": "pending",
            "priority": 0,
            "batch_id": "batch",
            "session_id": str(uuid.uuid4()),
            "error_type": None,
            "created_at": self._moment(),
            "updated_at": self._moment(),
            "started_at": None,
            "completed_at": None,
            "queue_id": "default",
            "session": {"graph": {"nodes": _nodes(width, height, steps)}, "results": {}},
        }
        return self.last

    def start_item(self, number: int) -> None:
        self.items[number] |= {"status": "in_progress", "started_at": self._moment()}

    def complete(self, number: int) -> None:
        noise = self.items[number]["session"]["graph"]["nodes"]["noise"]
        self.items[number]["session"] |= {
            "execution_graph": {"nodes": {"p1": {"type": "l2i", "is_intermediate": False}}},
            "results": {
                "p0": {"type": "latents_output", "width": 1, "height": 1},
                "p1": {
                    "type": "image_output",
                    "image": {"image_name": "secret.png"},
                    "width": noise["width"],
                    "height": noise["height"],
                },
            },
        }
        self._end(number, "completed")

    def fail(self, number: int, error_type: str | None, message: str = "") -> None:
        self.items[number] |= {"error_type": error_type, "error_message": message}
        self._end(number, "failed")

    def cancel(self, number: int) -> None:
        self._end(number, "canceled")

    def prune(self) -> None:
        """Its user empties the list of what has ended."""
        ended = ("completed", "failed", "canceled")
        self.items = {n: i for n, i in self.items.items() if i["status"] not in ended}

    def _end(self, number: int, status: str) -> None:
        self.items[number] |= {"status": status, "completed_at": self._moment()}

    def _page(self, number: int) -> Any:
        return lambda query, body: self.items[number]

    def _moment(self) -> str:
        moment = datetime.fromtimestamp(self.clock.now, timezone.utc)
        return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}"

    def _status(self) -> dict[str, Any]:
        statuses = [item["status"] for item in self.items.values()]
        running = [i for i in self.items.values() if i["status"] == "in_progress"]
        current = running[0] if running else {}
        names = ("pending", "in_progress", "waiting", "completed", "failed", "canceled")
        return {
            "queue": {
                "queue_id": "default",
                "item_id": current.get("item_id"),
                "batch_id": current.get("batch_id"),
                "session_id": current.get("session_id"),
                **{name: statuses.count(name) for name in names},
                "total": len(statuses),
            }
            | self.overlay,
            "processor": {"is_started": self.is_started, "is_processing": bool(running)},
        }


def _nodes(width: int, height: int, steps: int) -> dict[str, Any]:
    model = {"key": "k", "hash": "h", "name": "Juggernaut XL v9", "base": "sdxl", "type": "main"}
    return {
        "refiner": {"type": "sdxl_refiner_model_loader", "model": {"name": "refiner"}},
        "loader": {"type": "sdxl_model_loader", "model": model},
        "prompt": {"type": "sdxl_compel_prompt", "prompt": "a secret"},
        "noise": {"type": "noise", "seed": 1, "width": width, "height": height},
        "denoise": {"type": "denoise_latents", "steps": steps, "cfg_scale": 7.5},
        "decode": {"type": "l2i", "is_intermediate": False},
    }
