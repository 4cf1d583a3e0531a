"""Series of Tierwatch's agents back to snapshots, as far as they carry them (pure).

What they do not carry is unknown, not made up: processes and their pids, the words of a source's or
a server's fault, a job's model and steps, finished jobs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import cast, get_args

from tierwatch_agent.snapshot import (
    SCHEMA,
    Attribution,
    GpuMemory,
    GpuSample,
    GpuState,
    HostSample,
    MachineSnapshot,
    RunningJob,
    ServerSample,
    SourceState,
    Stall,
    StallCause,
)
from tierwatch_agent.wording import pace
from tierwatch_agent.words import say
from tierwatch_dashboard.fleet.mapping import Moments
from tierwatch_dashboard.fleet.samples import Labels, Sample

_CAUSES: tuple[str, ...] = get_args(StallCause)
_STATES: tuple[str, ...] = get_args(GpuState)
_PREFIX = "tierwatch_"

Figures = dict[str, float]
"""A family's name without ``tierwatch_``, and of a family with another label its value after a
slash, to what it says."""


class _Seen:
    """The series of one machine, by what they are of."""

    def __init__(self) -> None:
        self.identity: dict[str, Labels] = {}
        self.machine: Figures = {}
        self.gpus: defaultdict[str, Figures] = defaultdict(dict)
        self.gpu_identities: dict[str, Labels] = {}
        self.servers: defaultdict[str, Figures] = defaultdict(dict)
        self.server_identities: dict[str, Labels] = {}
        self.sources: defaultdict[str, Figures] = defaultdict(dict)

    def take(self, labels: Labels, value: float) -> None:
        name = labels.name.removeprefix(_PREFIX)
        if name.endswith("_info"):
            self._identify(name, labels)
        elif labels.gpu:
            kind = labels.sensor or labels.condition or labels.action or labels.reason or labels.xid
            self.gpus[labels.gpu][f"{name}/{kind}" if kind else name] = value
        elif labels.server:
            self.servers[labels.server][f"{name}/{labels.cause}" if labels.cause else name] = value
        elif labels.source:
            self.sources[labels.source][name] = value
        else:
            self.machine[name] = value

    def _identify(self, name: str, labels: Labels) -> None:
        if name == "gpu_info":
            self.gpu_identities[labels.gpu] = labels
        elif name == "server_info":
            self.server_identities[labels.server] = labels
        else:
            self.identity[name] = labels


def snapshots(samples: Iterable[Sample], _moments: Moments) -> dict[str, MachineSnapshot]:
    """Every machine whose agent tells when it took its snapshot, by its id."""
    machines: defaultdict[str, _Seen] = defaultdict(_Seen)
    for sample in samples:
        value = sample.value
        if sample.labels.machine and math.isfinite(value):
            machines[sample.labels.machine].take(sample.labels, value)
    return {
        id_: _machine(id_, seen)
        for id_, seen in machines.items()
        if "snapshot_timestamp_seconds" in seen.machine
    }


def _machine(id_: str, seen: _Seen) -> MachineSnapshot:
    identity = seen.identity.get("machine_info", Labels())
    taken_at = seen.machine["snapshot_timestamp_seconds"]
    return MachineSnapshot(
        schema=SCHEMA,
        machine=id_,
        agent_version=identity.agent_version,
        taken_at=taken_at,
        started_at=seen.machine.get("agent_start_time_seconds", 0.0),
        interval_seconds=1.0,
        os=identity.os,
        simulated=identity.simulated == "true",
        host=_host(seen.machine),
        gpus=tuple(
            _gpu(index, seen.gpu_identities[index], seen.gpus[index])
            for index in sorted(seen.gpu_identities, key=_position)
        ),
        servers=tuple(
            _server(id_, labels, seen.servers[id_], taken_at)
            for id_, labels in sorted(seen.server_identities.items())
        ),
        sources=tuple(_source(name, figures) for name, figures in sorted(seen.sources.items())),
    )


def _host(figures: Figures) -> HostSample | None:
    total = _whole(figures, "host_memory_total_bytes")
    available = _whole(figures, "host_memory_available_bytes")
    if total is None or available is None:
        return None
    return HostSample(
        cpu_count=_whole(figures, "host_cpus") or 1,
        cpu_ratio=figures.get("host_cpu_ratio"),
        memory_total_bytes=total,
        memory_available_bytes=available,
        swap_total_bytes=_whole(figures, "host_swap_total_bytes") or 0,
        swap_used_bytes=_whole(figures, "host_swap_used_bytes") or 0,
        booted_at=figures.get("host_boot_time_seconds"),
    )


def _gpu(index: str, labels: Labels, figures: Figures) -> GpuSample:
    xids = _labelled(figures, "gpu_xid_last_timestamp_seconds")
    return GpuSample(
        index=index,
        uuid=labels.uuid,
        name=labels.gpu_name,
        vendor=labels.vendor,
        source="",
        state=_state(figures),
        driver_version=labels.driver_version or None,
        partitioned="gpu_condition/partitioned" in figures,
        memory=_memory(figures),
        attribution=_attribution(figures),
        utilization_ratio=figures.get("gpu_utilization_ratio"),
        temperature_celsius=figures.get("gpu_temperature_celsius/core"),
        memory_temperature_celsius=figures.get("gpu_temperature_celsius/memory"),
        slowdown_celsius=figures.get("gpu_temperature_slowdown_celsius"),
        power_watts=figures.get("gpu_power_watts"),
        power_limit_watts=figures.get("gpu_power_limit_watts"),
        throttle_reasons=tuple(_labelled(figures, "gpu_throttled")),
        xid_last_at={int(xid): at for xid, at in xids.items() if xid.isdecimal()} or None,
        recovery_action=next(iter(_labelled(figures, "gpu_recovery_action")), None),
    )


def _state(figures: Figures) -> GpuState:
    for state in _STATES:
        if f"gpu_condition/{state}" in figures:
            return cast(GpuState, state)
    # An agent that does not tell conditions yet tells of sleep by silence.
    up = figures.get("gpu_up")
    return "asleep" if up is None else "ok" if up else "unreadable"


def _memory(figures: Figures) -> GpuMemory | None:
    total = _whole(figures, "gpu_memory_total_bytes")
    free = _whole(figures, "gpu_memory_free_bytes")
    used = _whole(figures, "gpu_memory_used_bytes")
    if total is None or free is None or used is None:
        return None
    return GpuMemory(
        total_bytes=total,
        free_bytes=free,
        used_bytes=used,
        reserved_bytes=_whole(figures, "gpu_memory_reserved_bytes"),
        unified="gpu_condition/unified" in figures,
    )


def _attribution(figures: Figures) -> Attribution | None:
    available = _whole(figures, "gpu_memory_available_bytes")
    if available is None:
        return None
    lower_bound = "gpu_memory_available_lower_bound" in figures
    return Attribution(
        available_bytes=available,
        basis="none" if lower_bound else "process",
        lower_bound=lower_bound,
        others_bytes=_whole(figures, "gpu_memory_used_by_others_bytes"),
        unseen_bytes=_whole(figures, "gpu_memory_unseen_bytes"),
    )


def _server(id_: str, labels: Labels, figures: Figures, taken_at: float) -> ServerSample:
    return ServerSample(
        id=id_,
        kind=labels.kind,
        state="up" if figures.get("server_up", 1.0) else "down",
        version=labels.version or None,
        queue_pending=_whole(figures, "server_queue_pending"),
        queue_running=_whole(figures, "server_queue_running"),
        paused="server_queue_paused" in figures,
        jobs=_jobs(id_, figures, taken_at),
        stall=_stall(figures, taken_at),
    )


def _jobs(server: str, figures: Figures, taken_at: float) -> tuple[RunningJob, ...]:
    """The running job, as far as one is told of; of several there is one sample for all."""
    waited = figures.get("job_seconds_since_progress")
    progress = figures.get("job_progress_ratio")
    if waited is None and progress is None and not figures.get("server_queue_running"):
        return ()
    moved_at = None if waited is None else taken_at - waited
    return (RunningJob(id=f"{server}-running", progress_ratio=progress, progressed_at=moved_at),)


def _stall(figures: Figures, taken_at: float) -> Stall | None:
    cause = next((cause for cause in _CAUSES if f"job_stalled/{cause}" in figures), None)
    if cause is None:
        return None
    waited = figures.get("job_seconds_since_progress")
    evidence = (
        say("its agent says so, and shows the evidence")
        if waited is None or cause in ("oom", "spill", "unresponsive")
        else say("no progress for {span}", span=pace(waited))
    )
    return Stall(
        cause=cast(StallCause, cause),
        since=figures.get("job_stall_start_time_seconds", taken_at),
        evidence=evidence,
    )


def _source(name: str, figures: Figures) -> SourceState:
    return SourceState(
        name=name,
        state="up" if figures.get("source_up") else "down",
        last_success_at=figures.get("source_last_success_timestamp_seconds"),
        failures=_whole(figures, "source_failures_total") or 0,
    )


def _labelled(figures: Mapping[str, float], name: str) -> dict[str, float]:
    """What a family says by the value of its own label, in that value's order."""
    found = (key.partition("/") for key in sorted(figures))
    return {own: figures[f"{name}/{own}"] for family, _, own in found if family == name and own}


def _whole(figures: Mapping[str, float], name: str) -> int | None:
    value = figures.get(name)
    return None if value is None else round(value)


def _position(index: str) -> tuple[tuple[int, str], ...]:
    """A GPU's index in the order people count: 2 before 10, 0:1 after 0."""
    return tuple((len(part), part) for part in index.split(":"))
