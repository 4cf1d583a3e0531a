"""Generation servers as people call them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tierwatch_agent.snapshot import ServerSample

TITLES: dict[str, str] = {
    "comfyui": "ComfyUI",
    "a1111": "A1111",
    "forge": "Forge",
    "sdnext": "SD.Next",
    "invokeai": "InvokeAI",
    "swarmui": "SwarmUI",
    "reported": "Reported jobs",
    "simulated": "Simulated server",
}
"""Kind to name."""

_COMMON = frozenset({"reported", "simulated"})

REPORTED = "reported"
"""The kind that is no server: what scripts report of themselves."""


def title(kind: str) -> str:
    """A kind's name; one that this version does not know goes by itself."""
    return TITLES.get(kind, kind)


def name_of(server: ServerSample, servers: Sequence[ServerSample]) -> str:
    """Its name, with its port where its machine has another of its kind: "ComfyUI 8189"."""
    name = title(server.kind)
    if sum(other.kind == server.kind for other in servers) > 1:
        return f"{name} {server.id.removeprefix(f'{server.kind}-')}"
    return name


def in_words(server: ServerSample, servers: Sequence[ServerSample]) -> str:
    """Its name within a sentence: what is no proper name has an article, and small letters."""
    name = name_of(server, servers)
    return f"the {name[:1].lower()}{name[1:]}" if server.kind in _COMMON else name


def name_of_id(id_: str) -> str:
    """The name of a server of which only the id is kept: "comfyui-8188" is "ComfyUI"."""
    kind, dash, port = id_.rpartition("-")
    return title(kind if dash and port.isdecimal() else id_)
