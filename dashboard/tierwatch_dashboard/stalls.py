"""What a verdict says of generation servers: a job that does not move, and what would help.

Pure. What is measured was judged by the agent and comes as evidence in words; here it is said to
whoever must do something. A headline is one sentence without a full stop.
"""

from __future__ import annotations

from collections.abc import Iterator

from tierwatch_agent.snapshot import (
    GpuSample,
    MachineSnapshot,
    Process,
    ServerSample,
    Stall,
    StallCause,
    others,
)
from tierwatch_agent.wording import gib, process
from tierwatch_dashboard.reasons import sentence
from tierwatch_dashboard.servers import REPORTED, in_words

_SAID: dict[StallCause, str] = {
    "vram": "{job} does not move",
    "oom": "{name}",
    "spill": "{job} crawls",
    "hang": "{job} does not move",
    "unresponsive": "{name} does not answer while its job runs",
    "gpu": "{job} is held up by its GPU",
}
_CAUSES: dict[StallCause, str] = {
    "vram": "Its GPU has no VRAM left for it to go on with.",
    "oom": "It stopped: it asked for more VRAM than there was.",
    "spill": "Its memory overflows into the system's RAM, which is many times slower.",
    "hang": "It is not short of VRAM: the program itself is stuck.",
    "unresponsive": "Its process lives, but what asks it gets no answer.",
    "gpu": "The program is not at fault: what it runs on is.",
}
_SMALLER = "Lower the resolution or the batch, or take a smaller model."
_REMEDIES: dict[StallCause, str] = {
    "vram": _SMALLER,
    "oom": _SMALLER,
    "spill": _SMALLER,
    "hang": "Interrupt the job; where that does nothing, restart {name}.",
    "unresponsive": "Restart {name}.",
    "gpu": "Look at the GPU: its cooling, its power, its seat; if it is lost, restart the machine.",
}
_MEMORY: frozenset[StallCause] = frozenset({"vram", "oom", "spill"})


def stalled(snapshot: MachineSnapshot) -> tuple[str | None, tuple[str, ...]]:
    """A headline and the reasons of the jobs that do not move, the oldest first; None: all do."""
    found = sorted(
        ((server.stall, server) for server in snapshot.servers if server.stall is not None),
        key=lambda each: each[0].since,
    )
    if not found:
        return None, ()
    first, server = found[0]
    headline = f"{_said(first, server, snapshot)}: {first.evidence.partition('; ')[0]}"
    rest = first.evidence.partition("; ")[2]
    told = [sentence(rest)] if rest else []
    told += _advice(first, server, snapshot)
    for stall, server in found[1:]:
        told.append(sentence(f"{_said(stall, server, snapshot)}: {stall.evidence}"))
        told += _advice(stall, server, snapshot)
    return headline, tuple(told)


def servers_down(snapshot: MachineSnapshot) -> tuple[str, ...]:
    """The generation servers that do not answer, those left out that stall by it: clauses."""
    return tuple(
        f"{in_words(server, snapshot.servers)} does not answer"
        f"{f': {server.reason}' if server.reason else ''}"
        for server in snapshot.servers
        if server.state == "down" and server.stall is None
    )


def _said(stall: Stall, server: ServerSample, snapshot: MachineSnapshot) -> str:
    name = in_words(server, snapshot.servers)
    job = "A reported job" if server.kind == REPORTED else f"{name}'s job"
    said = _SAID[stall.cause].format(name=name, job=job)
    return said[:1].upper() + said[1:]


def _advice(stall: Stall, server: ServerSample, snapshot: MachineSnapshot) -> Iterator[str]:
    """The cause in words, and what would help."""
    yield _CAUSES[stall.cause]
    gpu = next((g for g in snapshot.gpus if g.uuid in server.gpus[:1]), None)
    if stall.cause in _MEMORY and gpu is not None and (holder := _foreign(gpu)):
        yield (
            f"Ending {process(holder)} would free {gib(holder.vram_bytes or 0)} of GPU {gpu.index}."
        )
    name = "the script" if server.kind == REPORTED else in_words(server, snapshot.servers)
    yield _REMEDIES[stall.cause].format(name=name)


def _foreign(gpu: GpuSample) -> Process | None:
    """The largest program on a GPU that makes no images."""
    return next((p for p in others(gpu) if p.server is None and p.vram_bytes), None)
