"""Machines of whose GPUs only the driver's own figures are known: no agent, no attribution (pure).

What is available is then at least what is free: who holds the rest, production's own models among
them, is not told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from tierwatch_agent.snapshot import (
    SCHEMA,
    Attribution,
    GpuMemory,
    GpuSample,
    MachineSnapshot,
    SourceState,
)
from tierwatch_agent.words import say
from tierwatch_dashboard.fleet.samples import Labels

MEBIBYTE = 2**20
IDENTITY = "machine, hostname, Hostname, instance"
"""The labels that may name a machine, the first that is there first."""


class PlainGpu(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU as an exporter tells of it. Bytes; unknown is None."""

    index: str
    uuid: str
    name: str = ""
    driver_version: str | None = None
    total_bytes: int | None = None
    used_bytes: int | None = None
    free_bytes: int | None = None
    reserved_bytes: int | None = None
    utilization_ratio: float | None = None
    temperature_celsius: float | None = None
    power_watts: float | None = None
    throttle_reasons: tuple[str, ...] | None = None
    recovery_action: str | None = None
    partitioned: bool = False


def machine_of(labels: Labels) -> str:
    """The machine that a series is of: its label, else its host's name, else whom was scraped."""
    host = labels.machine or labels.hostname or labels.old_hostname
    return host or labels.instance.rpartition(":")[0]


def of_machine(quoted: str) -> tuple[str, ...]:
    """Matchers of a machine's series, as ``machine_of`` has it."""
    pattern = quoted.replace(".", r"\\.")[:-1] + ':[0-9]+"'
    return (
        f"machine={quoted}",
        f'machine="",hostname={quoted}',
        f'machine="",Hostname={quoted}',
        f'machine="",hostname="",Hostname="",instance=~{pattern}',
    )


def snapshots(
    gpus: Iterable[tuple[str, PlainGpu]],
    moments: Mapping[str, float],
    exporter: str,
    sources: Mapping[str, SourceState] | None = None,
) -> dict[str, MachineSnapshot]:
    """A snapshot of each machine that was scraped, by its id."""
    by_machine: defaultdict[str, list[PlainGpu]] = defaultdict(list)
    for machine, gpu in gpus:
        by_machine[machine].append(gpu)
    known = sources or {}
    return {
        machine: MachineSnapshot(
            schema=SCHEMA,
            machine=machine,
            agent_version="",
            taken_at=at,
            started_at=0.0,
            interval_seconds=1.0,
            os="",
            gpus=tuple(
                _sample(gpu, exporter)
                for gpu in sorted(by_machine[machine], key=lambda gpu: (len(gpu.index), gpu.index))
            ),
            sources=(known[machine],) if machine in known else (),
        )
        for machine, at in moments.items()
    }


def _sample(gpu: PlainGpu, exporter: str) -> GpuSample:
    memory = _memory(gpu)
    return GpuSample(
        index=gpu.index,
        uuid=gpu.uuid,
        name=gpu.name,
        vendor="nvidia",
        source="",
        driver_version=gpu.driver_version,
        partitioned=gpu.partitioned,
        memory=memory,
        attribution=None if memory is None else _at_least(memory.free_bytes, exporter),
        utilization_ratio=gpu.utilization_ratio,
        temperature_celsius=gpu.temperature_celsius,
        power_watts=gpu.power_watts,
        throttle_reasons=gpu.throttle_reasons,
        recovery_action=gpu.recovery_action,
    )


def _memory(gpu: PlainGpu) -> GpuMemory | None:
    if gpu.free_bytes is None or gpu.used_bytes is None:
        return None
    told = gpu.free_bytes + gpu.used_bytes + (gpu.reserved_bytes or 0)
    return GpuMemory(
        total_bytes=told if gpu.total_bytes is None else gpu.total_bytes,
        free_bytes=gpu.free_bytes,
        used_bytes=gpu.used_bytes,
        reserved_bytes=gpu.reserved_bytes,
    )


def _at_least(free_bytes: int, exporter: str) -> Attribution:
    return Attribution(
        available_bytes=free_bytes,
        basis="none",
        lower_bound=True,
        why=say("{exporter} does not tell who holds VRAM", exporter=exporter),
    )
