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
from tierwatch_agent.wording import chief_evidence, gib, process
from tierwatch_agent.words import capital, phrase, say
from tierwatch_dashboard.reasons import because, sentence
from tierwatch_dashboard.servers import REPORTED, in_words

_SAID: dict[StallCause, str] = {
    "vram": phrase("{job} does not move"),
    "oom": "{name}",
    "spill": phrase("{job} crawls"),
    "hang": phrase("{job} does not move"),
    "unresponsive": phrase("{name} does not answer while its job runs"),
    "gpu": phrase("{job} is held up by its GPU"),
}
_CAUSES: dict[StallCause, str] = {
    "vram": phrase("Its GPU has no VRAM left for it to go on with."),
    "oom": phrase("It stopped: it asked for more VRAM than there was."),
    "spill": phrase("Its memory overflows into the system's RAM, which is many times slower."),
    "hang": phrase("It is not short of VRAM: the program itself is stuck."),
    "unresponsive": phrase("Its process lives, but what asks it gets no answer."),
    "gpu": phrase("The program is not at fault: what it runs on is."),
}
_SMALLER = phrase("Lower the resolution or the batch, or take a smaller model.")
_REMEDIES: dict[StallCause, str] = {
    "vram": _SMALLER,
    "oom": _SMALLER,
    "spill": _SMALLER,
    "hang": phrase("Interrupt the job; where that does nothing, restart {name}."),
    "unresponsive": phrase("Restart {name}."),
    "gpu": phrase(
        "Look at the GPU: its cooling, its power, its seat; if it is lost, restart the machine."
    ),
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
    chief, rest = chief_evidence(first.evidence)
    headline = because(_said(first, server, snapshot), chief)
    told = [sentence(rest)] if rest else []
    told += _advice(first, server, snapshot)
    for stall, server in found[1:]:
        told.append(sentence(because(_said(stall, server, snapshot), stall.evidence)))
        told += _advice(stall, server, snapshot)
    return headline, tuple(told)


def servers_down(snapshot: MachineSnapshot) -> tuple[str, ...]:
    """The generation servers that do not answer, those left out that stall by it: clauses."""
    return tuple(
        because(
            say("{server} does not answer", server=in_words(server, snapshot.servers)),
            server.reason,
        )
        for server in snapshot.servers
        if server.state == "down" and server.stall is None
    )


def _said(stall: Stall, server: ServerSample, snapshot: MachineSnapshot) -> str:
    name = in_words(server, snapshot.servers)
    reported = server.kind == REPORTED
    job = say("a reported job") if reported else say("{server}'s job", server=name)
    return capital(say(_SAID[stall.cause], name=name, job=job))


def _advice(stall: Stall, server: ServerSample, snapshot: MachineSnapshot) -> Iterator[str]:
    """The cause in words, and what would help."""
    yield say(_CAUSES[stall.cause])
    gpu = next((g for g in snapshot.gpus if g.uuid in server.gpus[:1]), None)
    if stall.cause in _MEMORY and gpu is not None and (holder := _foreign(gpu)):
        yield say(
            "Ending {who} would free {size} of GPU {gpu}.",
            who=process(holder),
            size=gib(holder.vram_bytes or 0),
            gpu=gpu.index,
        )
    reported = server.kind == REPORTED
    name = say("the script") if reported else in_words(server, snapshot.servers)
    yield say(_REMEDIES[stall.cause], name=name)


def _foreign(gpu: GpuSample) -> Process | None:
    """The largest program on a GPU that makes no images."""
    return next((p for p in others(gpu) if p.server is None and p.vram_bytes), None)
