"""A GPU's VRAM as a bar: what is available, who holds the rest, where the tier's floor lies.

Pure: shares are percentages of the bar's width.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tierwatch_agent.snapshot import GpuSample
from tierwatch_agent.tiers import Tier
from tierwatch_agent.wording import floor, gib
from tierwatch_agent.words import say, semicolons

Kind = Literal["own", "free", "others", "unknown", "reserved"]

NAMES: dict[Kind, str] = {
    "own": say("available, held by production's own"),
    "free": say("available, free"),
    "others": say("held by others"),
    "unknown": say("held, by whom is not known"),
    "reserved": say("reserved by the driver"),
}


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of the bar."""

    kind: Kind
    name: str
    size_bytes: int
    start: float
    width: float


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """The bar of one GPU, and the same in words for whoever does not see it."""

    parts: tuple[Part, ...]
    floor: float | None = None
    """Where the line of the assigned tier's floor stands; None: no line."""
    floor_name: str | None = None
    available: str
    """"9.7 of 16.0 GiB", or "at least 8.1 of 12.0 GiB" where it is a lower bound."""
    rest: str | None = None
    """Who holds the rest, short: "6.0 GiB others"."""
    words: str


def bar(gpu: GpuSample, tier: Tier | None) -> Bar | None:
    """The bar of a GPU against the tier that it is assigned to; None without figures of it."""
    memory, attribution = gpu.memory, gpu.attribution
    if memory is None or attribution is None or memory.total_bytes <= 0:
        return None
    total = memory.total_bytes
    reserved = memory.reserved_bytes or 0
    free = min(memory.free_bytes, attribution.available_bytes)
    others = attribution.others_bytes
    rest = max(0, total - reserved - attribution.available_bytes) if others is None else others
    sizes: dict[Kind, int] = {
        "own": attribution.available_bytes - free,
        "free": free,
        "unknown" if others is None else "others": rest,
        "reserved": reserved,
    }
    size = gib(attribution.available_bytes).removesuffix(" GiB")
    available = say("{size} of {total}", size=size, total=gib(total))
    if attribution.lower_bound:
        available = say("at least {share}", share=available)
    line = tier is not None and 0 < tier.floor_bytes <= total
    return Bar(
        parts=_parts(sizes, total),
        floor=_share(tier.floor_bytes, total) if tier and line else None,
        floor_name=floor(tier) if tier and line else None,
        available=available,
        rest=_rest(rest, known=others is not None),
        words=_words(sizes, available, tier, shared=memory.unified),
    )


def _parts(sizes: dict[Kind, int], total: int) -> tuple[Part, ...]:
    parts: list[Part] = []
    start = 0
    for kind, size in sizes.items():
        if size <= 0:
            continue
        parts.append(
            Part(
                kind=kind,
                name=NAMES[kind],
                size_bytes=size,
                start=_share(start, total),
                width=_share(size, total),
            )
        )
        start += size
    return tuple(parts)


def _share(size: int, total: int) -> float:
    return round(100 * size / total, 1)


def _rest(size: int, *, known: bool) -> str | None:
    if gib(size) == gib(0):
        return None
    if known:
        return say("{size} others", size=gib(size))
    return say("{size} unknown", size=gib(size))


def _words(sizes: dict[Kind, int], available: str, tier: Tier | None, *, shared: bool) -> str:
    said: list[str] = [
        say("{share} available, shared with the system", share=available)
        if shared
        else say("{share} available", share=available)
    ]
    said += [
        say("{size} {what}", size=gib(size), what=NAMES[kind])
        for kind, size in sizes.items()
        if size > 0 and kind in ("others", "unknown", "reserved")
    ]
    if tier is not None and tier.floor_bytes:
        said.append(say("floor of {floor}", floor=floor(tier)))
    return semicolons(said)
