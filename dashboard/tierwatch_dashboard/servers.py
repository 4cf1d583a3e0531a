"""Generation servers as people call them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tierwatch_agent.snapshot import ServerSample
from tierwatch_agent.words import known, phrase, say

TITLES: dict[str, str] = {
    "comfyui": "ComfyUI",
    "a1111": "A1111",
    "forge": "Forge",
    "sdnext": "SD.Next",
    "invokeai": "InvokeAI",
    "swarmui": "SwarmUI",
    "reported": phrase("Reported jobs"),
    "simulated": phrase("Simulated server"),
}
"""Kind to name."""

_COMMON = {"reported": phrase("the reported jobs"), "simulated": phrase("the simulated server")}

REPORTED = "reported"
"""The kind that is no server: what scripts report of themselves."""


def title(kind: str) -> str:
    """A kind's name; one that this version does not know goes by itself."""
    return known(TITLES[kind]) if kind in _COMMON else TITLES.get(kind, kind)


def name_of(server: ServerSample, servers: Sequence[ServerSample]) -> str:
    """Its name, with its port where its machine has another of its kind: "ComfyUI 8189"."""
    name = title(server.kind)
    if _is_one_of_several(server, servers):
        return _with_port(name, server)
    return name


def in_words(server: ServerSample, servers: Sequence[ServerSample]) -> str:
    """Its name within a sentence: what is no proper name has an article, and small letters."""
    if server.kind not in _COMMON:
        return name_of(server, servers)
    name = say(_COMMON[server.kind])
    return _with_port(name, server) if _is_one_of_several(server, servers) else name


def name_of_id(id_: str) -> str:
    """The name of a server of which only the id is kept: "comfyui-8188" is "ComfyUI"."""
    kind, dash, port = id_.rpartition("-")
    return title(kind if dash and port.isdecimal() else id_)


def _is_one_of_several(server: ServerSample, servers: Sequence[ServerSample]) -> bool:
    return sum(other.kind == server.kind for other in servers) > 1


def _with_port(name: str, server: ServerSample) -> str:
    return say("{name} {port}", name=name, port=server.id.removeprefix(f"{server.kind}-"))
