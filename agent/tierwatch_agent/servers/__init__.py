"""Generation servers: one file per kind, registered here by name.

A server's file knows its API and nothing else: it proves that the server is there, and reads it
without changing anything. When to ask, what was counted already and whether a job stalls is not its
business.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from tierwatch_agent.snapshot import JobRecord, RunningJob

SERVERS: dict[str, str] = {
    "comfyui": "tierwatch_agent.servers.comfyui:ComfyUI",
    "a1111": "tierwatch_agent.servers.a1111:A1111",
    "forge": "tierwatch_agent.servers.a1111:A1111",
    "sdnext": "tierwatch_agent.servers.sdnext:SdNext",
    "invokeai": "tierwatch_agent.servers.invokeai:InvokeAI",
    "swarmui": "tierwatch_agent.servers.swarmui:SwarmUI",
    "simulated": "tierwatch_agent.servers.simulated:SimulatedServer",
}
"""Kind to ``module:Class``, imported when the first server of its kind is found."""


class ServerError(Exception):
    """A server does not answer as it should; the text says why, for people."""


class NotThisServer(Exception):
    """Something else answers at the address: no fault, and no reason to ask again soon."""


class ServerReading(msgspec.Struct, frozen=True, kw_only=True):
    """What one poll of a server told; None: it does not tell, or not this time."""

    version: str | None = None
    queue_pending: int | None = None
    queue_running: int | None = None
    paused: bool = False
    jobs: tuple[RunningJob, ...] = ()
    """Running now; moments by the agent's clock."""
    finished: tuple[JobRecord, ...] = ()
    """Finished lately, those told before included: whoever counts knows them by id."""
    vram_bytes: int | None = None
    """What its process holds of its GPU."""
    out_of_memory_total: int | None = None
    """Its own counter of out-of-memory errors, caught ones included."""
    strained: str | None = None
    """That it makes do with too little memory right now, in words ("decodes in tiles")."""


class GenerationServer(Protocol):
    """One kind's API at one address; made as ``Class(id, url)`` and used by one thread alone."""

    def identify(self) -> str | None:
        """Proves that it is this kind; its version. Raises NotThisServer, ServerError."""
        ...

    def read(self) -> ServerReading:
        """The server now: few, small, bounded requests, none of which changes anything.

        Raises ServerError.
        """
        ...

    def wait(self, seconds: float) -> None:
        """Returns after so long, or sooner where the server says that something happened."""
        ...

    def close(self) -> None:
        """Lets go of connections; never raises."""
        ...
