"""The production tiers: what a GPU must be, and what it must have available, to serve each.

A tier names the class of card as people buy it, in gigabytes of 10^9 bytes, and asks two different
questions: is it such a card (``total ≥ class_bytes``), and can it do the work now
(``available ≥ floor_bytes``). Cards sold as 16 GB report 15352 to 16384 MiB and 16 GB is
15259 MiB, so the first needs no fudge; the second forgives the driver and the desktop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache

import msgspec

from tierwatch_agent.snapshot import GpuSample
from tierwatch_agent.words import phrase

GIGABYTE = 10**9
DEFAULT_ALLOWANCE_GB = 1.0


class Tier(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A named production class. ``vram_gb`` and ``allowance_gb`` are gigabytes of 10^9 bytes."""

    name: str
    vram_gb: float
    purpose: str
    allowance_gb: float = DEFAULT_ALLOWANCE_GB

    @cached_property
    def class_bytes(self) -> int:
        """What a card of this class reports in total, at least."""
        return round(self.vram_gb * GIGABYTE)

    @cached_property
    def floor_bytes(self) -> int:
        """What must be available to production right now, at least."""
        return max(0, round((self.vram_gb - self.allowance_gb) * GIGABYTE))


DEFAULT_TIERS: tuple[Tier, ...] = (
    Tier(name="draft", vram_gb=0, purpose=phrase("rough work and ideas, with cloud models")),
    Tier(name="light", vram_gb=6, purpose=phrase("local generation at small sizes (512 px)")),
    Tier(
        name="production",
        vram_gb=12,
        purpose=phrase("fixed composition, 1024 px and up, many patterns"),
    ),
    Tier(name="mass", vram_gb=16, purpose=phrase("high resolution, mass generation, stability")),
)


def ladder(tiers: Iterable[Tier]) -> tuple[Tier, ...]:
    """The tiers from the lowest to the highest."""
    return _ladder(tuple(tiers))


def is_class(tier: Tier, total_bytes: int) -> bool:
    """Whether a card with this much memory in total is of the tier's class."""
    return total_bytes >= tier.class_bytes


def can_serve(tiers: Sequence[Tier], gpu: GpuSample | None) -> Tier | None:
    """The highest tier that a GPU serves now; without a GPU, the one that needs none.

    A GPU that does not answer (lost, unreadable) serves what a machine without one does.
    """
    if gpu is None or gpu.state != "ok" or gpu.memory is None or gpu.attribution is None:
        return _highest(tiers, 0, 0)
    return _highest(tiers, gpu.memory.total_bytes, gpu.attribution.available_bytes)


def could_serve(tiers: Sequence[Tier], gpu: GpuSample | None) -> Tier | None:
    """The highest tier that a GPU serves with nothing else on it."""
    if gpu is None or gpu.memory is None:
        return _highest(tiers, 0, 0)
    return _highest(tiers, gpu.memory.total_bytes, empty_bytes(gpu))


def empty_bytes(gpu: GpuSample) -> int:
    """What a GPU has available with nothing on it: its total less the driver's reserve."""
    if gpu.memory is None:
        return 0
    return gpu.memory.total_bytes - (gpu.memory.reserved_bytes or 0)


def _highest(tiers: Sequence[Tier], total_bytes: int, available_bytes: int) -> Tier | None:
    for tier in reversed(ladder(tiers)):
        if total_bytes >= tier.class_bytes and available_bytes >= tier.floor_bytes:
            return tier
    return None


@lru_cache(maxsize=16)
def _ladder(tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
    """Asked for each GPU of a fleet at each reading."""
    return tuple(sorted(tiers, key=lambda tier: (tier.vram_gb, tier.floor_bytes)))
