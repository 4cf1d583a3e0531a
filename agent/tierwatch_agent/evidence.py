"""What is known of a generation server and its GPU at a moment, and what it shows, in words (pure).

A job's memory overflows into the system's where a driver lends it that instead of failing, or where
a server moves parts of its model there. Nothing measures it directly. What shows it: the shared
memory of the server's processes, the PCIe link, and what the server itself reports.
"""

from __future__ import annotations

import msgspec

from tierwatch_agent.snapshot import GpuSample, JobRecord, RunningJob
from tierwatch_agent.wording import holders, size
from tierwatch_agent.words import known, say

SHARED_BYTES = 512 * 2**20
"""How much more system memory than at its usual pace a server's GPU work must use."""
LINK_BYTES = 1e9
"""Per second: a PCIe link that is busy. Sampling from VRAM leaves it nearly idle."""

_NEAR_ZERO_BYTES = 256 * 2**20
_NEAR_ZERO_SHARE = 0.03
_NEARLY_FULL = 0.1
_BUSY = 0.9
_LOW_POWER = 0.6
_WORKING = 0.5
_WORKING_POWER = 0.4


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one server at a moment; None: it is not known."""

    kind: str
    pid: int | None = None
    """Its root process, as in ``Process.server_pid``."""
    alive: bool | None = None
    """Whether that process runs."""
    silent_since: float | None = None
    """Since when its API does not answer; None: it answers."""
    paused: bool = False
    jobs: tuple[RunningJob, ...] = ()
    finished: tuple[JobRecord, ...] = ()
    """Those that finished since the last judgement."""
    out_of_memory_total: int | None = None
    strained: str | None = None
    gpu: GpuSample | None = None
    """The GPU that it uses, with attribution."""


def pressed(evidence: Evidence) -> bool:
    """Whether memory is short: hardly any is free, or the server says that it makes do."""
    memory = evidence.gpu.memory if evidence.gpu is not None else None
    if evidence.strained or memory is None:
        return bool(evidence.strained)
    return memory.free_bytes <= max(_NEAR_ZERO_BYTES, _NEAR_ZERO_SHARE * memory.total_bytes)


def overflow(evidence: Evidence, ordinary: int | None) -> tuple[str, ...]:
    """What shows that a job's memory overflows into the system's, in words; empty: nothing."""
    words: list[str] = []
    shared = shared_bytes(evidence)
    if shared is not None:
        more = shared - (ordinary or 0)
        if more >= SHARED_BYTES and _may_overflow(evidence, known=ordinary is not None):
            words.append(_in_shared_memory(shared, None if ordinary is None else more))
    if evidence.strained:
        words.append(say("the server {does}", does=known(evidence.strained)))
    gpu = evidence.gpu
    if gpu is not None and (gpu.pcie_bytes_per_second or 0) >= LINK_BYTES:
        power, limit = gpu.power_watts, gpu.power_limit_watts
        weak = power < _LOW_POWER * limit if power and limit else pressed(evidence)
        if weak and (gpu.utilization_ratio or 0) >= _BUSY:
            link = (gpu.pcie_bytes_per_second or 0) / 1e9
            carries = say("the PCIe link carries {rate} GB/s while it samples", rate=f"{link:.1f}")
            words.append(carries)
            words += work_words(gpu)
    return tuple(words)


def _may_overflow(evidence: Evidence, *, known: bool) -> bool:
    """Whether a card is full enough for it: Windows moves memory out a little before the end."""
    if pressed(evidence):
        return True
    memory = evidence.gpu.memory if evidence.gpu is not None else None
    return known and memory is not None and memory.free_bytes <= _NEARLY_FULL * memory.total_bytes


def at_work(gpu: GpuSample) -> bool:
    """Whether the GPU computes: busy, and at a power that a waiting kernel does not draw."""
    power, limit = gpu.power_watts, gpu.power_limit_watts
    draws = power >= _WORKING_POWER * limit if power and limit else True
    return draws and (gpu.utilization_ratio or 0) >= _WORKING


def memory_words(evidence: Evidence, *, with_holders: bool) -> tuple[str, ...]:
    """What is free and what overflows; on demand, who holds what production cannot have."""
    words = list(free_words(evidence.gpu))
    if shared := shared_bytes(evidence):
        words.append(_in_shared_memory(shared, None))
    if evidence.strained:
        words.append(say("the server {does}", does=known(evidence.strained)))
    if with_holders and evidence.gpu is not None and (held := holders(evidence.gpu)):
        words.append(held)
    return tuple(words)


def free_words(gpu: GpuSample | None) -> tuple[str, ...]:
    """How much of the GPU is free."""
    if gpu is None or gpu.memory is None:
        return ()
    free, total = size(gpu.memory.free_bytes), size(gpu.memory.total_bytes)
    return (say("{free} free of {total}", free=free, total=total),)


def work_words(gpu: GpuSample | None) -> tuple[str, ...]:
    """How busy the GPU is, and at which power."""
    if gpu is None or gpu.utilization_ratio is None:
        return ()
    watts, limit = gpu.power_watts, gpu.power_limit_watts
    busy = say("GPU {share} busy", share=f"{gpu.utilization_ratio:.0%}")
    if watts is None:
        return (busy,)
    if limit is None:
        return (say("{busy} at {watts} W", busy=busy, watts=f"{watts:.0f}"),)
    drawn, most = f"{watts:.0f}", f"{limit:.0f}"
    return (say("{busy} at {watts} W of {limit} W", busy=busy, watts=drawn, limit=most),)


def _in_shared_memory(shared: int, more: int | None) -> str:
    if more is None:
        return say("{size} in shared memory", size=size(shared))
    return say(
        "{size} in shared memory, {more} more than at its usual pace",
        size=size(shared),
        more=size(more),
    )


def shared_bytes(evidence: Evidence) -> int | None:
    """System memory that the GPU uses for the server's processes."""
    processes = evidence.gpu.processes if evidence.gpu is not None else None
    told = [
        process.shared_bytes
        for process in processes or ()
        if process.shared_bytes is not None
        and process.server == evidence.kind
        and evidence.pid in (None, process.server_pid)
    ]
    return sum(told) if told else None
