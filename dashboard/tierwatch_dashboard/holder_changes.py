"""Who holds VRAM beside production's own: which changes of it are worth a row of the history.

Pure but for what it remembers. A row only where what a holder has moved by more than 5 % and
128 MiB, or where it came or went; at most one for each holder in 30 s, the largest eight of a GPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from tierwatch_agent.snapshot import GpuSample, MachineSnapshot, others

MEBIBYTE = 2**20
SMALLEST_BYTES = 256 * MEBIBYTE
"""Who holds less is told among the rest."""
LEAST_MOVE_BYTES = 128 * MEBIBYTE
LEAST_MOVE_RATIO = 0.05
EVERY_SECONDS = 30.0
MOST = 8
"""Holders of one GPU that are told by name."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever holds memory of a GPU: every process of one name, counted together."""

    machine: str
    gpu: str
    name: str
    server: str | None = None
    """Its kind, where it is a generation server."""


class HolderChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a holder has from a moment on; 0: it went."""

    holder: Holder
    at: float
    size_bytes: int


class HolderChanges:
    """Follows every GPU. ``before``: what was written last of each holder, from before a start."""

    def __init__(self, before: Iterable[HolderChange] = ()) -> None:
        self._written: dict[tuple[str, str], dict[Holder, HolderChange]] = {}
        for change in before:
            self._of(change.holder.machine, change.holder.gpu)[change.holder] = change

    def take(self, machine: str, snapshot: MachineSnapshot, at: float) -> list[HolderChange]:
        """What is to be written of a snapshot. A GPU that was not read is as it was."""
        return [
            change
            for gpu in snapshot.gpus
            if gpu.state == "ok" and gpu.processes is not None and not gpu.partitioned
            for change in self._take(machine, gpu, at)
        ]

    def _take(self, machine: str, gpu: GpuSample, at: float) -> list[HolderChange]:
        written = self._of(machine, gpu.index)
        now = _largest(machine, gpu, written)
        changes = [
            HolderChange(holder=holder, at=at, size_bytes=now.get(holder, 0))
            for holder in {**written, **now}
            if _worth_a_row(written.get(holder), now.get(holder, 0), at)
        ]
        for change in changes:
            if change.size_bytes:
                written[change.holder] = change
            else:
                del written[change.holder]
        return changes

    def _of(self, machine: str, gpu: str) -> dict[Holder, HolderChange]:
        return self._written.setdefault((machine, gpu), {})


def _largest(
    machine: str, gpu: GpuSample, known: Mapping[Holder, HolderChange]
) -> dict[Holder, int]:
    held: dict[Holder, int] = {}
    for process in others(gpu):
        holder = Holder(machine=machine, gpu=gpu.index, name=process.name, server=process.server)
        held[holder] = held.get(holder, 0) + (process.vram_bytes or 0)
    # One that is told already goes on being told, so that none flickers at the bound.
    told = {
        holder: size
        for holder, size in held.items()
        if size >= (SMALLEST_BYTES / 2 if holder in known else SMALLEST_BYTES)
    }
    return dict(sorted(told.items(), key=lambda pair: pair[1], reverse=True)[:MOST])


def _worth_a_row(before: HolderChange | None, size: int, at: float) -> bool:
    if before is None:
        return size > 0
    if 0 <= at - before.at < EVERY_SECONDS:
        return False
    moved = abs(size - before.size_bytes)
    return size == 0 or moved > max(LEAST_MOVE_BYTES, LEAST_MOVE_RATIO * before.size_bytes)
