"""Which GPU is judged against which tier: what the team assigned, laid over what is there. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tierwatch_agent.snapshot import GpuSample, MachineSnapshot
from tierwatch_dashboard.fitness import needs_nothing
from tierwatch_dashboard.inventory import Inventory, Machine
from tierwatch_dashboard.reasons import absence, sources_down


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to judge: a GPU, or the place where one should be."""

    key: str
    """What its memory goes by: the GPU's uuid, or the empty place's index."""
    index: str
    """Empty: the machine itself, which has no GPU."""
    gpu: GpuSample | None
    tier: str | None
    own_tier: bool = False
    """Whether the tier is assigned to this very GPU, not to its machine."""
    absence: tuple[str, ...] = ()
    """Why there is no GPU, where that is a fault: clauses, no full stops."""


def slots(
    machine: Machine, inventory: Inventory, snapshot: MachineSnapshot | None
) -> Iterator[Slot]:
    """What there is to judge: each GPU, each that is assigned and not there, or the bare machine.

    A MIG instance has its own assignment, or its parent's. A GPU that shares the system's memory
    and sits beside a real card is not what the machine was assigned for: it is judged only by a
    tier of its own.
    """
    if snapshot is None:
        return
    gpus = [gpu for gpu in snapshot.gpus if not gpu.partitioned]
    missing = dict(machine.gpu_tiers)
    for gpu in gpus:
        parent = gpu.index.partition(":")[0]
        own = machine.gpu_tiers.get(gpu.index) or machine.gpu_tiers.get(parent)
        missing.pop(gpu.index, None)
        missing.pop(parent, None)
        spare = _is_unified(gpu) and not all(_is_unified(other) for other in gpus)
        yield Slot(
            key=gpu.uuid,
            index=gpu.index,
            gpu=gpu,
            tier=own or (None if spare else machine.tier),
            own_tier=own is not None,
        )
    for index, tier in missing.items():
        why = (absence(index, snapshot),)
        yield Slot(key=index, index=index, gpu=None, tier=tier, own_tier=True, absence=why)
    if not gpus and not missing:
        tier = inventory.tier(machine.tier) if machine.tier else None
        why = absence("", snapshot)
        faultless = tier is None or (needs_nothing(tier) and not sources_down(snapshot, but="host"))
        yield Slot(
            key="", index="", gpu=None, tier=machine.tier, absence=() if faultless else (why,)
        )


def _is_unified(gpu: GpuSample) -> bool:
    return gpu.memory is not None and gpu.memory.unified
