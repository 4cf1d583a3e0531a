"""What A1111, Forge and SD.Next tell alike under ``/sdapi/v1``: torch's memory, the model chosen.

Both pages are small work for the server, and asked seldom: the memory every ten seconds and when a
job ends, the model once a job.
"""

from __future__ import annotations

import re

import msgspec

from tierwatch_agent.servers import ServerError, fields
from tierwatch_agent.servers.http import Client, NoSuchPage

MEMORY_SECONDS = 10.0


class TorchMemory(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of torch's allocator in the server's process."""

    read_at: float | None = None
    vram_bytes: int | None = None
    """Reserved from the driver; the CUDA context, some hundred MiB, is not in it."""
    out_of_memory_total: int | None = None
    """Out-of-memory errors since the process started, caught ones included."""


class Sdapi:
    """The pages that the three servers have in common, asked through one client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._memory = TorchMemory()
        self._asked_at: float | None = None
        self._missing: set[str] = set()

    def memory(self, now: float, *, at_once: bool = False) -> TorchMemory:
        """The memory as it was at most ten seconds ago, or now if ``at_once``.

        A page that fails costs these figures, not the server: it has answered another one.
        """
        fresh = self._asked_at is not None and 0 <= now - self._asked_at < MEMORY_SECONDS
        if at_once or not fresh:
            self._asked_at = now
            cuda = fields.table(self._page("/sdapi/v1/memory"), "cuda")
            self._memory = TorchMemory(
                read_at=now,
                vram_bytes=fields.count(cuda, "reserved", "current"),
                out_of_memory_total=fields.count(cuda, "events", "oom"),
            )
        return self._memory

    def model(self) -> str | None:
        """The checkpoint that is chosen; nothing else is kept of the options."""
        title = fields.text(self._page("/sdapi/v1/options"), "sd_model_checkpoint")
        return model_name(title) if title else None

    def _page(self, path: str) -> object:
        if path in self._missing:
            return None
        try:
            return self._client.get(path)
        except NoSuchPage:
            self._missing.add(path)
        except ServerError:
            return None
        return None


def model_name(title: str) -> str | None:
    """A checkpoint's name without folder and short hash: "sdxl/base.safetensors [31e35c80fc]"."""
    name = re.sub(r"\s*\[[0-9a-fA-F]{6,}\]$", "", title).replace("\\", "/").rsplit("/", 1)[-1]
    return name or None
