"""Which series of Tierwatch's agents a round reads: a few queries, however many the machines.

Every one is aggregated to the labels that count, so that a machine that two Prometheus servers
scrape is one, and reads plain series, so that no rules need to be loaded anywhere.
"""

from __future__ import annotations

from tierwatch_dashboard.fleet.from_series import snapshots
from tierwatch_dashboard.fleet.mapping import Figure, Past, SeriesMapping

_FRESHNESS = "max by (machine) (timestamp(tierwatch_snapshot_timestamp_seconds))"
_IDENTITY = (
    "machine",
    "agent_version",
    "os",
    "simulated",
    "gpu",
    "uuid",
    "name",
    "vendor",
    "driver_version",
    "server",
    "kind",
    "version",
)
_SILENT = "unless on (machine, source) (tierwatch_source_up == 1)"


def _largest(by: tuple[str, ...], *names: str, then: str = "") -> str:
    """The largest of each of these families, by these labels."""
    # No matcher on machine: VictoriaMetrics would look through every series that has the label.
    series = names[0] if len(names) == 1 else f'{{__name__=~"{"|".join(names)}"}}'
    return f"max by (__name__, {', '.join(by)}) ({f'{series} {then}' if then else series})"


_FIGURES = (
    _largest(
        _IDENTITY,
        "tierwatch_machine_info",
        "tierwatch_gpu_info",
        "tierwatch_server_info",
    ),
    _largest(
        ("machine",),
        "tierwatch_snapshot_timestamp_seconds",
        "tierwatch_agent_start_time_seconds",
        "tierwatch_host_cpus",
        "tierwatch_host_cpu_ratio",
        "tierwatch_host_memory_total_bytes",
        "tierwatch_host_memory_available_bytes",
        "tierwatch_host_swap_total_bytes",
        "tierwatch_host_swap_used_bytes",
        "tierwatch_host_boot_time_seconds",
    ),
    _largest(
        ("machine", "gpu"),
        "tierwatch_gpu_memory_total_bytes",
        "tierwatch_gpu_memory_free_bytes",
        "tierwatch_gpu_memory_used_bytes",
        "tierwatch_gpu_memory_reserved_bytes",
        "tierwatch_gpu_memory_available_bytes",
        "tierwatch_gpu_memory_used_by_others_bytes",
    ),
    _largest(
        ("machine", "gpu", "sensor"),
        "tierwatch_gpu_up",
        "tierwatch_gpu_utilization_ratio",
        "tierwatch_gpu_temperature_celsius",
        "tierwatch_gpu_temperature_slowdown_celsius",
        "tierwatch_gpu_power_watts",
        "tierwatch_gpu_power_limit_watts",
    ),
    _largest(
        ("machine", "server"),
        "tierwatch_server_up",
        "tierwatch_server_queue_pending",
        "tierwatch_server_queue_running",
        "tierwatch_job_progress_ratio",
        "tierwatch_job_seconds_since_progress",
    ),
    _largest(("machine", "source"), "tierwatch_source_up"),
    _largest(
        ("machine", "source"),
        "tierwatch_source_last_success_timestamp_seconds",
        "tierwatch_source_failures_total",
        then=_SILENT,
    ),
    # What is seldom there, or seldom anything but 0.
    _largest(
        ("machine", "gpu", "server", "condition", "action", "reason", "cause", "xid"),
        "tierwatch_gpu_condition",
        "tierwatch_gpu_recovery_action",
        "tierwatch_gpu_memory_available_lower_bound",
        "tierwatch_gpu_memory_unseen_bytes",
        "tierwatch_gpu_throttled",
        "tierwatch_gpu_xid_last_timestamp_seconds",
        "tierwatch_server_queue_paused",
        "tierwatch_job_stalled",
        "tierwatch_job_stall_start_time_seconds",
        then="> 0",
    ),
)

_MEMORY = "tierwatch_gpu_memory_"
_TEMPERATURE = "tierwatch_gpu_temperature_celsius"
_THROTTLED = "tierwatch_gpu_throttled"
_HEAT = 'reason=~"hw_thermal_slowdown|sw_thermal_slowdown|hw_slowdown"'
_CAPS = 'reason=~"sw_power_cap|hw_power_brake_slowdown"'

_PAST = (
    Figure("total_bytes", f"{_MEMORY}total_bytes", "max"),
    Figure("used_bytes", f"{_MEMORY}used_bytes", "avg"),
    Figure("used_max_bytes", f"{_MEMORY}used_bytes", "max"),
    Figure("available_bytes", f"{_MEMORY}available_bytes", "avg"),
    Figure("available_min_bytes", f"{_MEMORY}available_bytes", "min"),
    Figure("others_bytes", f"{_MEMORY}used_by_others_bytes", "avg"),
    Figure("utilization_ratio", "tierwatch_gpu_utilization_ratio", "avg"),
    Figure("temperature_celsius", _TEMPERATURE, "avg", 'sensor="core"'),
    Figure("temperature_max_celsius", _TEMPERATURE, "max", 'sensor="core"'),
    Figure("power_watts", "tierwatch_gpu_power_watts", "avg"),
    Figure("own_bytes", f"{_MEMORY}available_bytes", "avg", less=f"{_MEMORY}free_bytes"),
    Figure("clock_hertz", "tierwatch_gpu_clock_hertz", "avg", 'clock="graphics"'),
    Figure("heat_ratio", _THROTTLED, "count", _HEAT, share_of=f"{_MEMORY}total_bytes"),
    Figure("capped_ratio", _THROTTLED, "count", _CAPS, share_of=f"{_MEMORY}total_bytes"),
)

MAPPING = SeriesMapping(
    exporter="Tierwatch's agents",
    freshness=_FRESHNESS,
    targets="max by (machine) (up)",
    figures=_FIGURES,
    machine=lambda labels: labels.machine,
    snapshots=snapshots,
    past=Past(_PAST, lambda machine: (f"machine={machine}",)),
)
