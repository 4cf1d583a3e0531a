"""Whether a tier asks for what its jobs need, by the jobs of the machines assigned to it. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence

import msgspec

from tierwatch_agent.tiers import GIGABYTE, Tier, empty_bytes, ladder
from tierwatch_dashboard.envelope import Envelope, Load, Spot
from tierwatch_dashboard.inventory import Inventory, Machine
from tierwatch_dashboard.possible import View
from tierwatch_dashboard.quantiles import quantile

ENOUGH = 50
"""Jobs from which on another class is proposed."""
CLASSES_GB = (4, 6, 8, 12, 16, 24, 32, 48, 80, 96, 141, 192)
"""Classes of card that a tier is proposed to ask for."""
MET = 0.95
"""The share of its jobs that a tier's floor is to fit."""


class MachineShare(msgspec.Struct, frozen=True, kw_only=True):
    """What part of its tier's jobs a machine's card can run with nothing else on it."""

    machine: str
    ratio: float


class TierEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """A tier beside what was made on its machines."""

    tier: Tier
    jobs: int
    """Those whose need is known, or that ran out of memory with the floor available."""
    fit_ratio: float | None
    """The share of them that fits the floor; None: there are none."""
    p95_bytes: int | None
    proposed_gb: float | None
    """The class of card that would do, in GB; None: the tier's own does, or too little is known."""
    machines: tuple[MachineShare, ...]
    """Those that could not run all of them, the worst first."""


def tiers_by_evidence(
    envelope: Envelope, inventory: Inventory, views: Sequence[View]
) -> tuple[TierEvidence, ...]:
    """Each tier that asks for a GPU, the highest first."""
    spots = _spots(envelope.loads, views)
    return tuple(
        _evidence(
            tier, [envelope.loads[spot] for spot, its in spots.items() if its == tier.name], views
        )
        for tier in reversed(ladder(inventory.tiers))
        if tier.floor_bytes
    )


def _evidence(tier: Tier, loads: Sequence[Load], views: Sequence[View]) -> TierEvidence:
    peaks = sorted(peak for load in loads for peak in load.peaks)
    # What ran out of memory with less than the floor available says nothing of the floor.
    beyond = sum(
        len(load.exceeded) - bisect_left(load.exceeded, tier.floor_bytes) for load in loads
    )
    jobs = len(peaks) + beyond
    return TierEvidence(
        tier=tier,
        jobs=jobs,
        fit_ratio=bisect_right(peaks, tier.floor_bytes) / jobs if jobs else None,
        p95_bytes=round(quantile(peaks, MET)) if peaks else None,
        proposed_gb=_proposed(tier, peaks, jobs),
        machines=tuple(_shares(tier, peaks, views)) if peaks else (),
    )


def _proposed(tier: Tier, peaks: Sequence[int], jobs: int) -> float | None:
    """The smallest class of card whose floor fits 95 of 100 jobs."""
    place = MET * jobs
    if jobs < ENOUGH or place > len(peaks):
        return None
    needed = quantile(peaks, place / len(peaks))
    allowance = tier.allowance_gb * GIGABYTE
    size = next((gb for gb in CLASSES_GB if gb * GIGABYTE - allowance >= needed), None)
    return None if size is None or size == tier.vram_gb else float(size)


def _shares(tier: Tier, peaks: Sequence[int], views: Sequence[View]) -> list[MachineShare]:
    found: list[MachineShare] = []
    for view in views:
        gpus = view.snapshot.gpus if view.snapshot else ()
        rooms = [
            empty_bytes(gpu)
            for gpu in gpus
            if gpu.memory and not gpu.partitioned and _tier_of(view.machine, gpu.index) == tier.name
        ]
        if rooms:
            ratio = bisect_right(peaks, max(rooms)) / len(peaks)
            if ratio < 1:
                found.append(MachineShare(machine=view.machine.id, ratio=ratio))
    return sorted(found, key=lambda each: (each.ratio, each.machine))


def _spots(loads: Mapping[Spot, Load], views: Sequence[View]) -> dict[Spot, str | None]:
    """The tier of each spot, by what its machine is assigned to now."""
    by_id = {view.machine.id: view for view in views}
    found: dict[Spot, str | None] = {}
    for machine, uuid in loads:
        view = by_id.get(machine)
        if view is None:
            continue
        gpus = view.snapshot.gpus if view.snapshot else ()
        index = next((gpu.index for gpu in gpus if gpu.uuid == uuid), None)
        found[machine, uuid] = view.machine.tier if index is None else _tier_of(view.machine, index)
    return found


def _tier_of(machine: Machine, index: str) -> str | None:
    return (
        machine.gpu_tiers.get(index)
        or machine.gpu_tiers.get(index.partition(":")[0])
        or machine.tier
    )
