"""Whether one GPU fits its tier at one moment, without regard to time. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from tierwatch_agent.snapshot import GpuSample
from tierwatch_agent.tiers import Tier, empty_bytes, is_class

Kind = Literal["never", "dead", "short", "unsure", "unknown", "tight", "fits"]
"""How a GPU stands to its tier:

- ``never``: with nothing else on it, it would still not serve the tier
- ``dead``: it does not answer, or is not there
- ``short``: headroom is negative, and known to be
- ``unsure``: a lower bound is under the floor
- ``unknown``: the driver tells no memory
- ``tight``: it serves the tier with less than the margin to spare
"""


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """How one GPU stands to the tier it is assigned to. Bytes; unknown is None."""

    index: str
    """The GPU's index; empty: the machine itself, which has no GPU."""
    gpu: GpuSample | None
    """None where it is not there."""
    tier: Tier
    kind: Kind
    available_bytes: int | None
    headroom_bytes: int | None
    lower_bound: bool
    troubles: tuple[str, ...] = ()
    """What is wrong with the GPU itself, whatever it is assigned to: clauses, no full stops."""


def assess(
    index: str,
    gpu: GpuSample | None,
    tier: Tier,
    *,
    margin_bytes: int = 0,
    troubles: tuple[str, ...] = (),
) -> Fit:
    """How a GPU stands to a tier. Without a GPU only a tier that needs none is served."""
    available = available_bytes(gpu)
    headroom = None if available is None else available - tier.floor_bytes
    return Fit(
        index=index,
        gpu=gpu,
        tier=tier,
        kind=_kind(gpu, tier, headroom, margin_bytes),
        available_bytes=available,
        headroom_bytes=headroom,
        lower_bound=is_lower_bound(gpu),
        troubles=troubles,
    )


def needs_nothing(tier: Tier) -> bool:
    """Whether a tier is served without a GPU."""
    return tier.class_bytes == 0 and tier.floor_bytes == 0


def available_bytes(gpu: GpuSample | None) -> int | None:
    """What production can have of a GPU; None where that is not known.

    The driver is not asked about a GPU that sleeps, since asking wakes it: there is nothing on it.
    """
    if gpu is None or gpu.memory is None:
        return None
    if gpu.state == "asleep":
        return empty_bytes(gpu)
    if gpu.state != "ok" or gpu.attribution is None:
        return None
    return gpu.attribution.available_bytes


def is_lower_bound(gpu: GpuSample | None) -> bool:
    """Whether what is available may be more than is known."""
    return bool(gpu and gpu.state == "ok" and gpu.attribution and gpu.attribution.lower_bound)


def _kind(gpu: GpuSample | None, tier: Tier, headroom: int | None, margin_bytes: int) -> Kind:
    if needs_nothing(tier):
        return "fits"
    if gpu is None or gpu.state in ("lost", "unreadable"):
        return "dead"
    if gpu.memory is None or headroom is None:
        return "unknown"
    if not is_class(tier, gpu.memory.total_bytes) or empty_bytes(gpu) < tier.floor_bytes:
        return "never"
    if headroom < 0:
        return "unsure" if is_lower_bound(gpu) else "short"
    return "tight" if headroom < margin_bytes else "fits"
