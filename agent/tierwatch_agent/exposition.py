"""Snapshot to Prometheus' text format or OpenMetrics' (pure).

Families are built fresh from the snapshot, so what vanished vanishes; unknown figures are left out.
Written here rather than with prometheus_client, which costs the agent 10 MiB to import and renders
in eight times the time (``tests/bench/exposition.py``); the tests read every document with
prometheus_client's own parsers and with promtool.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import get_args

from tierwatch_agent.catalogue import AGENT, Metric
from tierwatch_agent.snapshot import (
    DURATION_BOUNDS,
    GpuSample,
    HostSample,
    JobTotals,
    MachineSnapshot,
    Outcome,
    RunningJob,
    ServerSample,
    SourceState,
    StallCause,
    others,
)

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_Labels = str
"""Rendered label pairs without the braces: ``gpu="0",uuid="GPU-1"``."""
_Family = list[tuple[str, _Labels, "float | int"]]
"""Of each sample the suffix to its family's name, which only a histogram's have; labels, value."""

_OUTCOMES: tuple[str, ...] = get_args(Outcome)
_CAUSES: tuple[str, ...] = get_args(StallCause)
_BOUNDS = (*(repr(bound) for bound in DURATION_BOUNDS), "+Inf")


def render(
    snapshot: MachineSnapshot, *, openmetrics: bool = False, names: Collection[str] = ()
) -> bytes:
    """The exposition of a snapshot; ``names``, where given, are the only families wanted."""
    families = _Families()
    _machine(families, snapshot)
    for source in snapshot.sources:
        _source(families, source)
    for gpu in snapshot.gpus:
        _gpu(families, gpu)
    for server in snapshot.servers:
        _server(families, server, snapshot.taken_at)
    if snapshot.host is not None:
        _host(families, snapshot.host)
    return _document(families.samples, openmetrics=openmetrics, names=names)


class _Families:
    """Samples by family; an unknown value is no sample."""

    def __init__(self) -> None:
        self.samples: dict[str, _Family] = {name: [] for name in AGENT}

    def add(self, name: str, value: float | None, labels: _Labels = "", suffix: str = "") -> None:
        if value is not None:
            self.samples[name].append((suffix, labels, value))


def _machine(families: _Families, snapshot: MachineSnapshot) -> None:
    families.add(
        "tierwatch_machine_info",
        1,
        _labels(
            machine=snapshot.machine,
            agent_version=snapshot.agent_version,
            os=snapshot.os,
            simulated="true" if snapshot.simulated else "false",
        ),
    )
    families.add("tierwatch_snapshot_timestamp_seconds", snapshot.taken_at)
    families.add("tierwatch_agent_start_time_seconds", snapshot.started_at)


def _source(families: _Families, source: SourceState) -> None:
    labels = _labels(source=source.name)
    if source.state != "absent":
        families.add("tierwatch_source_up", int(source.state == "up"), labels)
    families.add("tierwatch_source_last_success_timestamp_seconds", source.last_success_at, labels)
    families.add("tierwatch_source_duration_seconds", source.duration_seconds, labels)
    families.add("tierwatch_source_failures_total", source.failures, labels)
    families.add("tierwatch_source_restarts_total", source.restarts, labels)


def _gpu(families: _Families, gpu: GpuSample) -> None:
    add = families.add
    labels = _labels(gpu=gpu.index, uuid=gpu.uuid)
    identity = _labels(name=gpu.name, vendor=gpu.vendor, driver_version=gpu.driver_version or "")
    add("tierwatch_gpu_info", 1, f"{labels},{identity}")
    if gpu.state != "asleep":
        add("tierwatch_gpu_up", int(gpu.state == "ok"), labels)
    for condition in _conditions(gpu):
        add("tierwatch_gpu_condition", 1, f'{labels},condition="{condition}"')
    if gpu.recovery_action is not None:
        action = _labels(action=gpu.recovery_action)
        add("tierwatch_gpu_recovery_action", 1, f"{labels},{action}")
    _gpu_memory(families, gpu, labels)
    add("tierwatch_gpu_utilization_ratio", gpu.utilization_ratio, labels)
    add("tierwatch_gpu_memory_busy_ratio", gpu.memory_busy_ratio, labels)
    temperature = "tierwatch_gpu_temperature_celsius"
    add(temperature, gpu.temperature_celsius, f'{labels},sensor="core"')
    add(temperature, gpu.memory_temperature_celsius, f'{labels},sensor="memory"')
    add("tierwatch_gpu_temperature_slowdown_celsius", gpu.slowdown_celsius, labels)
    add("tierwatch_gpu_power_watts", gpu.power_watts, labels)
    add("tierwatch_gpu_power_limit_watts", gpu.power_limit_watts, labels)
    add("tierwatch_gpu_energy_joules_total", gpu.energy_joules, labels)
    clock = "tierwatch_gpu_clock_hertz"
    add(clock, gpu.graphics_clock_hertz, f'{labels},clock="graphics"')
    add(clock, gpu.memory_clock_hertz, f'{labels},clock="memory"')
    add("tierwatch_gpu_fan_ratio", gpu.fan_ratio, labels)
    add("tierwatch_gpu_performance_state", gpu.performance_state, labels)
    for reason in gpu.throttle_reasons or ():
        add("tierwatch_gpu_throttled", 1, f"{labels},{_labels(reason=reason)}")
    ecc = "tierwatch_gpu_ecc_errors_total"
    add(ecc, gpu.ecc_corrected_total, f'{labels},kind="corrected"')
    add(ecc, gpu.ecc_uncorrected_total, f'{labels},kind="uncorrected"')
    for xid, count in sorted((gpu.xid_errors or {}).items()):
        add("tierwatch_gpu_xid_errors_total", count, f'{labels},xid="{xid}"')
    for xid, at in sorted((gpu.xid_last_at or {}).items()):
        add("tierwatch_gpu_xid_last_timestamp_seconds", at, f'{labels},xid="{xid}"')


def _conditions(gpu: GpuSample) -> Iterator[str]:
    if gpu.state != "ok":
        yield gpu.state
    if gpu.partitioned:
        yield "partitioned"
    if gpu.memory is not None and gpu.memory.unified:
        yield "unified"


def _gpu_memory(families: _Families, gpu: GpuSample, labels: _Labels) -> None:
    add = families.add
    if gpu.memory is not None:
        add("tierwatch_gpu_memory_total_bytes", gpu.memory.total_bytes, labels)
        add("tierwatch_gpu_memory_used_bytes", gpu.memory.used_bytes, labels)
        add("tierwatch_gpu_memory_free_bytes", gpu.memory.free_bytes, labels)
        add("tierwatch_gpu_memory_reserved_bytes", gpu.memory.reserved_bytes, labels)
    if gpu.attribution is not None:
        add("tierwatch_gpu_memory_available_bytes", gpu.attribution.available_bytes, labels)
        add("tierwatch_gpu_memory_available_lower_bound", int(gpu.attribution.lower_bound), labels)
        add("tierwatch_gpu_memory_used_by_others_bytes", gpu.attribution.others_bytes, labels)
        add("tierwatch_gpu_memory_unseen_bytes", gpu.attribution.unseen_bytes, labels)
    if gpu.processes is not None:
        held = [p.vram_bytes for p in others(gpu) if p.server is not None]
        known = [size for size in held if size is not None]
        if known or not held:
            add("tierwatch_gpu_memory_used_by_other_servers_bytes", sum(known), labels)
    for window, peak in (gpu.memory_used_peak_bytes or {}).items():
        add("tierwatch_gpu_memory_used_peak_bytes", peak, f'{labels},window="{window}"')


def _server(families: _Families, server: ServerSample, taken_at: float) -> None:
    add = families.add
    labels = _labels(server=server.id)
    identity = _labels(kind=server.kind, version=server.version or "")
    add("tierwatch_server_info", 1, f"{labels},{identity}")
    add("tierwatch_server_up", int(server.state == "up"), labels)
    add("tierwatch_server_queue_pending", server.queue_pending, labels)
    add("tierwatch_server_queue_running", server.queue_running, labels)
    add("tierwatch_server_queue_paused", int(server.paused), labels)
    _totals(families, server.totals, labels)
    for cause in _CAUSES:
        stalled = server.stall is not None and server.stall.cause == cause
        add("tierwatch_job_stalled", int(stalled), f'{labels},cause="{cause}"')
    if server.stall is not None:
        add("tierwatch_job_stall_start_time_seconds", server.stall.since, labels)
    if server.jobs:
        oldest = min(server.jobs, key=lambda job: job.started_at or taken_at)
        add("tierwatch_job_progress_ratio", _progress(oldest), labels)
        moved = [job.progressed_at for job in server.jobs if job.progressed_at is not None]
        waited = max(0.0, taken_at - min(moved)) if moved else None
        add("tierwatch_job_seconds_since_progress", waited, labels)


def _progress(job: RunningJob) -> float | None:
    """How far a job is, by its server's word or else by its steps."""
    if job.progress_ratio is not None:
        return job.progress_ratio
    return min(1.0, job.step / job.steps) if job.step is not None and job.steps else None


def _totals(families: _Families, totals: JobTotals, labels: _Labels) -> None:
    add = families.add
    finished: Mapping[str, int] = {**totals.finished}
    for outcome in _OUTCOMES:
        jobs = finished.get(outcome, 0)
        add("tierwatch_jobs_finished_total", jobs, f'{labels},outcome="{outcome}"')
    add("tierwatch_images_generated_total", totals.images, labels)
    add("tierwatch_image_pixels_total", totals.pixels, labels)
    histogram = "tierwatch_job_duration_seconds"
    counts = totals.durations or (0,) * len(_BOUNDS)
    for bound, count in zip(_BOUNDS, counts, strict=True):
        add(histogram, count, f'{labels},le="{bound}"', "_bucket")
    add(histogram, totals.duration_seconds, labels, "_sum")
    add(histogram, counts[-1], labels, "_count")


def _host(families: _Families, host: HostSample) -> None:
    families.add("tierwatch_host_cpus", host.cpu_count)
    families.add("tierwatch_host_cpu_ratio", host.cpu_ratio)
    families.add("tierwatch_host_memory_total_bytes", host.memory_total_bytes)
    families.add("tierwatch_host_memory_available_bytes", host.memory_available_bytes)
    families.add("tierwatch_host_swap_total_bytes", host.swap_total_bytes)
    families.add("tierwatch_host_swap_used_bytes", host.swap_used_bytes)
    families.add("tierwatch_host_boot_time_seconds", host.booted_at)


def _document(
    samples: Mapping[str, _Family], *, openmetrics: bool, names: Collection[str]
) -> bytes:
    lines: list[str] = []
    for name, family in samples.items():
        if family and (not names or name in names):
            lines.extend(_heads[openmetrics][name])
            lines.extend(
                f"{name}{suffix}{{{labels}}} {value!r}" if labels else f"{name} {value!r}"
                for suffix, labels, value in family
            )
    if openmetrics:
        lines.append("# EOF")
    lines.append("")
    return "\n".join(lines).encode()


def _labels(**pairs: str) -> _Labels:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs.items())


def _escaped(value: str) -> str:
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return value


def _head(metric: Metric, *, openmetrics: bool) -> tuple[str, str]:
    """HELP and TYPE. OpenMetrics names a family without its suffix; the text format has no info."""
    name, kind = metric.name, str(metric.type)
    if openmetrics:
        name = name.removesuffix("_total" if kind == "counter" else "_info")
    elif kind == "info":
        kind = "gauge"
    return f"# HELP {name} {metric.help}", f"# TYPE {name} {kind}"


def _head_table(metrics: Iterable[Metric], *, openmetrics: bool) -> dict[str, tuple[str, str]]:
    return {metric.name: _head(metric, openmetrics=openmetrics) for metric in metrics}


_heads = {
    openmetrics: _head_table(AGENT.values(), openmetrics=openmetrics)
    for openmetrics in (False, True)
}
