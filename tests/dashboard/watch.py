"""GPUs as drivers report them, and a dashboard's watch over one machine, on its own clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tierwatch_agent.attribution import attribute
from tierwatch_agent.snapshot import (
    SCHEMA,
    GpuMemory,
    GpuSample,
    MachineSnapshot,
    Process,
    SourceState,
)
from tierwatch_dashboard.inventory import Inventory, Machine
from tierwatch_dashboard.verdict import Memory, Verdict, judge

MIB = 2**20
START = 1_000_000.0
POLL_SECONDS = 5.0


def process(pid: int, name: str, mib: int | None = None, server: str | None = None) -> Process:
    """A process that holds so much, or of which that is not told."""
    return Process(
        pid=pid,
        name=name,
        vram_bytes=None if mib is None else mib * MIB,
        server=server,
        server_pid=pid if server else None,
    )


def card(
    total_mib: int = 16380,
    reserved_mib: int | None = 380,
    processes: Sequence[Process] = (),
    *,
    used_mib: int | None = None,
    index: str = "0",
    **fields: Any,
) -> GpuSample:
    """A card with its processes; ``used_mib`` where they do not tell what they hold."""
    used = used_mib if used_mib is not None else sum(p.vram_bytes or 0 for p in processes) // MIB
    gpu = GpuSample(
        index=index,
        uuid=f"GPU-{index}",
        name="NVIDIA RTX",
        vendor="nvidia",
        source="nvml",
        memory=GpuMemory(
            total_bytes=total_mib * MIB,
            free_bytes=(total_mib - (reserved_mib or 0) - used) * MIB,
            used_bytes=used * MIB,
            reserved_bytes=None if reserved_mib is None else reserved_mib * MIB,
        ),
        processes=tuple(processes),
    )
    gpu = msgspec.structs.replace(gpu, **fields)
    return msgspec.structs.replace(gpu, attribution=attribute(gpu, None))


def snapshot(*gpus: GpuSample, sources: tuple[SourceState, ...] = ()) -> MachineSnapshot:
    """What an agent that has run for an hour tells."""
    return MachineSnapshot(
        schema=SCHEMA,
        machine="render-01",
        agent_version="1.0",
        taken_at=START,
        started_at=START - 3600,
        interval_seconds=1.0,
        os="linux",
        gpus=gpus,
        sources=sources,
    )


def machine(tier: str | None = "mass", **fields: Any) -> Machine:
    """A machine of the inventory."""
    return Machine(id="render-01", url="http://render-01:9838", tier=tier, **fields)


class Watch:
    """Polls one machine every five seconds and judges it, as a dashboard does."""

    def __init__(self, assigned: Machine | None = None, inventory: Inventory | None = None) -> None:
        self.machine = assigned or machine()
        self.inventory = inventory or Inventory()
        self.now = START
        self.memory: Memory | None = None
        self.snapshot: MachineSnapshot | None = None
        self.heard_at: float | None = None

    def see(self, *gpus: GpuSample) -> Verdict:
        """One more poll that succeeds."""
        return self.hear(snapshot(*gpus))

    def hear(self, told: MachineSnapshot) -> Verdict:
        """One more poll that gives this snapshot."""
        self.now += POLL_SECONDS
        self.snapshot, self.heard_at = told, self.now
        return self._judge(None)

    def see_for(self, seconds: float, *gpus: GpuSample) -> Verdict:
        """Polls that succeed until the first of them is so long ago."""
        verdict = self.see(*gpus)
        until = self.now + seconds
        while self.now < until:
            verdict = self.see(*gpus)
        return verdict

    def miss(self, seconds: float, error: str | None = "connection refused") -> Verdict:
        """Judged a second at a time, while nothing is heard."""
        verdict = None
        until = self.now + seconds
        while self.now < until:
            self.now += 1
            verdict = self._judge(error)
        assert verdict is not None
        return verdict

    def restart(self, after: float = 3.0) -> None:
        """The dashboard ends, and starts again with nothing but what it stored."""
        self.now += after
        self.snapshot = self.heard_at = None

    def _judge(self, error: str | None) -> Verdict:
        verdict, memory = judge(
            self.machine,
            self.inventory,
            self.snapshot,
            self.heard_at,
            error,
            self.memory,
            self.now,
        )
        # As it is stored between two runs.
        self.memory = msgspec.json.decode(msgspec.json.encode(memory), type=Memory)
        return verdict
