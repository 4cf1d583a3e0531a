"""A snapshot as an agent sends it, with the sentences in it as words. Pure.

What an agent says of how a sentence is made is believed where that is the English beside it.
"""

from __future__ import annotations

from msgspec.structs import replace

from tierwatch_agent.snapshot import GpuSample, MachineSnapshot, ServerSample, SourceState
from tierwatch_agent.words import Packed, known, unpack


def understood(snapshot: MachineSnapshot) -> MachineSnapshot:
    """The same snapshot, which can be said in another language."""
    return replace(
        snapshot,
        gpus=tuple(map(_gpu, snapshot.gpus)),
        servers=tuple(map(_server, snapshot.servers)),
        sources=tuple(map(_source, snapshot.sources)),
    )


def _gpu(gpu: GpuSample) -> GpuSample:
    attribution = gpu.attribution
    if attribution is not None and attribution.why:
        why = known(_words(attribution.why, attribution.said))
        gpu = replace(gpu, attribution=replace(attribution, why=why))
    return replace(gpu, detail=known(gpu.detail)) if gpu.detail else gpu


def _server(server: ServerSample) -> ServerSample:
    stall = server.stall
    if stall is not None:
        evidence = _words(stall.evidence, stall.said)
        server = replace(server, stall=replace(stall, evidence=evidence))
    return replace(server, reason=known(server.reason)) if server.reason else server


def _source(source: SourceState) -> SourceState:
    return replace(source, reason=known(source.reason)) if source.reason else source


def _words(english: str, said: Packed | None) -> str:
    if said is None:
        return english
    try:
        words = unpack(said)
    except ValueError:
        return english
    return words if words == english else english
