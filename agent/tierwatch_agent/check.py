"""``tierwatch-agent check``: one screen for whoever sits at the machine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import msgspec

from tierwatch_agent.config import Config
from tierwatch_agent.gpus.windows_pdh import WindowsMemory
from tierwatch_agent.run import make_sampler
from tierwatch_agent.snapshot import GpuSample, MachineSnapshot, others
from tierwatch_agent.tiers import DEFAULT_TIERS, Tier, can_serve, could_serve, ladder
from tierwatch_agent.wording import class_of, gib, lift, process

ANSWER_SECONDS = 15.0
"""How long the sources get to answer at first: a driver that nobody uses takes its time to wake."""
SETTLE_SECONDS = 1.0
"""Between two samples, so that there is a CPU figure."""


def check(config: Config, *, as_json: bool) -> str:
    """Samples this machine once and says what it can make, for people or as JSON."""
    sampler = make_sampler(config)
    sampler.start_sources()
    sampler.sample(ANSWER_SECONDS)
    time.sleep(SETTLE_SECONDS)
    snapshot = sampler.sample(ANSWER_SECONDS)
    sampler.stop()
    if as_json:
        return as_document(snapshot)
    screen = as_screen(snapshot)
    return windows_plea(screen) if snapshot.os == "windows" else screen


def as_document(snapshot: MachineSnapshot, tiers: Sequence[Tier] = DEFAULT_TIERS) -> str:
    """The snapshot, and per GPU the tiers that it can and could serve, as JSON."""
    document = {
        "snapshot": snapshot,
        "tiers": {
            gpu.index: {
                "can_serve": _name(can_serve(tiers, gpu)),
                "could_serve": _name(could_serve(tiers, gpu)),
            }
            for gpu in snapshot.gpus
            if not gpu.partitioned
        },
    }
    return msgspec.json.format(msgspec.json.encode(document)).decode()


def windows_plea(screen: str, memory: WindowsMemory | None = None) -> str:
    """The screen, and what it takes to learn whether Windows' own count is read rightly."""
    return "\n".join(
        [
            screen,
            "",
            "Windows' count of GPU memory by process is read as documented, and untested there.",
            "Please send us all of this, with the dedicated and shared GPU memory that the details",
            "of the Task Manager show for the same processes (pid):",
            *(f"  {line}" for line in (memory or WindowsMemory()).report()),
        ]
    )


def as_screen(snapshot: MachineSnapshot, tiers: Sequence[Tier] = DEFAULT_TIERS) -> str:
    """What the cards are, what is available, who holds the rest, what they can and could serve."""
    return "\n".join(_lines(snapshot, tiers))


def _lines(snapshot: MachineSnapshot, tiers: Sequence[Tier]) -> Iterator[str]:
    simulated = ", simulated" if snapshot.simulated else ""
    yield f"{snapshot.machine} ({snapshot.os}{simulated}), agent {snapshot.agent_version}"
    if snapshot.host is not None:
        host = snapshot.host
        yield (
            f"  {host.cpu_count} CPUs, {gib(host.memory_total_bytes)} RAM, "
            f"{gib(host.memory_available_bytes)} available"
        )
    for gpu in snapshot.gpus:
        yield ""
        yield from _gpu(gpu, tiers)
    if not snapshot.gpus:
        yield ""
        yield "No GPU that this agent can read."
        yield f"  serves now   {_described(can_serve(tiers, None))}"
    troubles = [source for source in snapshot.sources if source.state == "down"]
    if troubles or not snapshot.gpus:
        yield ""
    for source in snapshot.sources:
        if source in troubles or not snapshot.gpus:
            reason = f": {source.reason}" if source.reason else ""
            yield f"source {source.name} is {source.state}{reason}"


def _gpu(gpu: GpuSample, tiers: Sequence[Tier]) -> Iterator[str]:
    driver = f", driver {gpu.driver_version}" if gpu.driver_version else ""
    model = f" ({gpu.driver_model.upper()})" if gpu.driver_model else ""
    yield f"GPU {gpu.index}  {gpu.name}{driver}{model}"
    if gpu.state != "ok":
        yield f"  {gpu.state}: {gpu.detail or 'the driver does not say why'}"
    if gpu.partitioned:
        yield "  split into MIG instances, each judged on its own"
        return
    if gpu.memory is not None:
        yield from _memory(gpu)
    now, empty = can_serve(tiers, gpu), could_serve(tiers, gpu)
    yield f"  serves now   {_described(now)}"
    yield f"  could serve  {_described(empty)}, with nothing else on it"
    yield from _next_tier(gpu, tiers, now, empty)


def _memory(gpu: GpuSample) -> Iterator[str]:
    memory, attribution = gpu.memory, gpu.attribution
    if memory is None:
        return
    kind = "shared with the system" if memory.unified else "VRAM"
    reserved = f", {gib(memory.reserved_bytes)} kept by the driver" if memory.reserved_bytes else ""
    yield f"  total        {gib(memory.total_bytes)} {kind}{reserved}"
    if attribution is not None:
        least = "at least " if attribution.lower_bound else ""
        own = attribution.available_bytes - memory.free_bytes
        kept = f" (of it {gib(own)} held by its generation server)" if own > 0 else ""
        yield f"  available    {least}{gib(attribution.available_bytes)}{kept}"
        if attribution.why:
            yield f"               {attribution.why}"
    for holder in others(gpu):
        size = "unknown" if holder.vram_bytes is None else gib(holder.vram_bytes)
        yield f"  {size:>11}  held by {process(holder)}"
    if attribution is not None and attribution.unseen_bytes:
        yield f"  {gib(attribution.unseen_bytes):>11}  held by processes that this agent cannot see"


def _next_tier(
    gpu: GpuSample, tiers: Sequence[Tier], now: Tier | None, empty: Tier | None
) -> Iterator[str]:
    higher = [tier for tier in ladder(tiers) if now is None or tier.vram_gb > now.vram_gb]
    if not higher or gpu.memory is None or gpu.attribution is None:
        return
    tier = higher[0]
    if empty is None or tier.vram_gb > empty.vram_gb:
        yield f"  for {tier.name}, another card: it asks the {class_of(tier)} class"
        return
    missing = tier.floor_bytes - gpu.attribution.available_bytes
    remedy = lift(gpu, tier)
    would_do = f": {remedy} would do" if remedy else ""
    asks = f"it asks {gib(tier.floor_bytes)}"
    yield f"  for {tier.name}, {gib(missing)} more must be available ({asks}){would_do}"


def _described(tier: Tier | None) -> str:
    return f"{tier.name}: {tier.purpose}" if tier else "no tier"


def _name(tier: Tier | None) -> str | None:
    return tier.name if tier else None
