"""What the machine page shows of each GPU. Pure: samples and verdicts to panels of words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from tierwatch_agent.snapshot import GpuSample, Process
from tierwatch_agent.tiers import Tier
from tierwatch_agent.wording import gib
from tierwatch_agent.words import say
from tierwatch_dashboard.servers import title
from tierwatch_dashboard.verdict import GpuVerdict
from tierwatch_dashboard.web.bars import Bar, Kind, bar
from tierwatch_dashboard.web.gpu_facts import Fact, chief_facts, further_facts
from tierwatch_dashboard.web.rows import note

if TYPE_CHECKING:
    from tierwatch_dashboard.fleet.state import MachineView

_WORTH_SAYING = 32 * 2**20
"""What a driver keeps for itself beside its processes is less, in bytes."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """Who has one part of the GPU's memory; what is known of all of them adds up to its total."""

    kind: Kind
    """As the bar draws it."""
    name: str
    pid: int | None = None
    size: str | None
    """None: the system does not tell."""
    what: str | None = None


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU of the page."""

    gpu: GpuSample
    verdict: GpuVerdict | None
    bar: Bar | None
    note: str | None
    shares: tuple[Share, ...]
    """The largest process first, then what is free."""
    told: bool
    """Whether the system lists the processes on it."""
    chief: tuple[Fact, ...]
    further: tuple[Fact, ...]
    instances: int
    """How many MIG instances the card is split into."""


def panels(view: MachineView, tiers: Sequence[Tier]) -> tuple[Panel, ...]:
    """The panels of a machine's GPUs, in the driver's order."""
    gpus = view.snapshot.gpus if view.snapshot else ()
    by_index = {verdict.gpu: verdict for verdict in view.verdict.gpus}
    by_name = {tier.name: tier for tier in tiers}
    made: list[Panel] = []
    for gpu in gpus:
        verdict = by_index.get(gpu.index)
        tier = by_name.get(verdict.tier) if verdict and verdict.tier else None
        drawn = None if gpu.partitioned else bar(gpu, tier)
        made.append(
            Panel(
                gpu=gpu,
                verdict=verdict,
                bar=drawn,
                note=None if drawn or gpu.partitioned else note(gpu),
                shares=(*_processes(gpu), *(_parts(drawn, gpu) if drawn else ())),
                told=gpu.processes is not None,
                chief=chief_facts(gpu),
                further=further_facts(gpu),
                instances=sum(other.parent_uuid == gpu.uuid for other in gpus),
            )
        )
    return tuple(made)


def _processes(gpu: GpuSample) -> tuple[Share, ...]:
    largest_first = sorted(gpu.processes or (), key=lambda p: p.vram_bytes or 0, reverse=True)
    own = gpu.attribution.server_pid if gpu.attribution else None
    return tuple(_process(each, own) for each in largest_first)


def _process(process: Process, own: int | None) -> Share:
    mine = own is not None and process.server_pid == own
    return Share(
        kind="own" if mine else "others",
        name=process.name,
        pid=process.pid,
        size=None if process.vram_bytes is None else gib(process.vram_bytes),
        what=_what(process, mine=mine),
    )


def _what(process: Process, *, mine: bool) -> str:
    if not process.server:
        return say("other work") if process.identified else say("not known to the agent")
    server = title(process.server)
    if mine:
        return say("{server}, production's own", server=server)
    return say("{server}, another generation server", server=server)


def _parts(drawn: Bar, gpu: GpuSample) -> Iterator[Share]:
    """What of the bar no listed process explains."""
    own = gpu.attribution.server_pid if gpu.attribution else None
    listed = {"own": 0, "others": 0}
    for process in gpu.processes or ():
        mine = own is not None and process.server_pid == own
        listed["own" if mine else "others"] += process.vram_bytes or 0
    for part in drawn.parts:
        rest = part.size_bytes - listed.get(part.kind, 0)
        if part.kind in listed and rest < _WORTH_SAYING:
            continue
        name = say("held by none that is listed") if listed.get(part.kind) else part.name
        yield Share(kind=part.kind, name=name, size=gib(rest))
