"""Every metric of Tierwatch, once: name, type, labels and help.

The agent's exposition, the dashboard's own, the documents, the rules and the Grafana dashboards are
tested against it. Names follow Prometheus' conventions: base units in the name, ``_total`` for
counters, ``_info`` for identity. No label is unbounded: no job, prompt, file name or pid.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Metric(msgspec.Struct, frozen=True):
    """One metric family as it is exposed. Counters bear their full name, with ``_total``.

    Of a histogram, samples are named after its family, with ``_bucket``, ``_sum`` and ``_count``.
    """

    name: str
    type: Literal["gauge", "counter", "info", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


_GPU = ("gpu", "uuid")
_SERVER = ("server",)

AGENT: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "tierwatch_machine_info",
            "info",
            "The machine that this agent watches.",
            ("machine", "agent_version", "os", "simulated"),
        ),
        Metric(
            "tierwatch_snapshot_timestamp_seconds",
            "gauge",
            "When the exposed snapshot was taken, as Unix time.",
        ),
        Metric("tierwatch_agent_start_time_seconds", "gauge", "When the agent started."),
        Metric(
            "tierwatch_source_up",
            "gauge",
            "Whether a source of the agent answers; absent where the machine has none of its kind.",
            ("source",),
        ),
        Metric(
            "tierwatch_source_last_success_timestamp_seconds",
            "gauge",
            "When a source last answered, as Unix time.",
            ("source",),
        ),
        Metric(
            "tierwatch_source_duration_seconds",
            "gauge",
            "How long a source took to answer last.",
            ("source",),
        ),
        Metric(
            "tierwatch_source_failures_total",
            "counter",
            "Readings of a source that failed or missed their deadline.",
            ("source",),
        ),
        Metric(
            "tierwatch_source_restarts_total",
            "counter",
            "Times that a source's own process was replaced.",
            ("source",),
        ),
        Metric(
            "tierwatch_gpu_info",
            "info",
            "A GPU's identity.",
            (*_GPU, "name", "vendor", "driver_version"),
        ),
        Metric(
            "tierwatch_gpu_up",
            "gauge",
            "Whether a GPU answers: 0 when it is lost, unreadable or its driver does not answer.",
            _GPU,
        ),
        Metric(
            "tierwatch_gpu_condition",
            "gauge",
            "1 for each thing that holds of a GPU beside its figures: asleep, unreadable, lost, "
            "partitioned (into MIG instances), unified (its memory is the system's).",
            (*_GPU, "condition"),
        ),
        Metric(
            "tierwatch_gpu_recovery_action",
            "gauge",
            "1 for what a GPU's driver asks for to mend it; absent where it asks for nothing.",
            (*_GPU, "action"),
        ),
        Metric("tierwatch_gpu_memory_total_bytes", "gauge", "VRAM of the GPU.", _GPU),
        Metric(
            "tierwatch_gpu_memory_used_bytes",
            "gauge",
            "VRAM allocated by processes, without the driver's reserve.",
            _GPU,
        ),
        Metric("tierwatch_gpu_memory_free_bytes", "gauge", "VRAM that nothing holds.", _GPU),
        Metric(
            "tierwatch_gpu_memory_reserved_bytes",
            "gauge",
            "VRAM the driver keeps for itself.",
            _GPU,
        ),
        Metric(
            "tierwatch_gpu_memory_available_bytes",
            "gauge",
            "VRAM a production job can have: free plus what the generation server that would run "
            "it already holds.",
            _GPU,
        ),
        Metric(
            "tierwatch_gpu_memory_available_lower_bound",
            "gauge",
            "1 where available is a lower bound, since the driver does not tell who holds VRAM.",
            _GPU,
        ),
        Metric(
            "tierwatch_gpu_memory_used_by_others_bytes",
            "gauge",
            "VRAM held by anything but the generation server that would run a production job.",
            _GPU,
        ),
        Metric(
            "tierwatch_gpu_memory_used_by_other_servers_bytes",
            "gauge",
            "Of that, VRAM known to be held by other generation servers.",
            _GPU,
        ),
        Metric(
            "tierwatch_gpu_memory_unseen_bytes",
            "gauge",
            "VRAM held by processes that the agent cannot see.",
            _GPU,
        ),
        Metric(
            "tierwatch_gpu_memory_used_peak_bytes",
            "gauge",
            "Highest used VRAM within a window, seen at the agent's own interval.",
            (*_GPU, "window"),
        ),
        Metric(
            "tierwatch_gpu_utilization_ratio",
            "gauge",
            "Share of the driver's last sample period in which a kernel ran.",
            _GPU,
        ),
        Metric(
            "tierwatch_gpu_memory_busy_ratio",
            "gauge",
            "Share of the driver's last sample period in which memory was read or written.",
            _GPU,
        ),
        Metric(
            "tierwatch_gpu_temperature_celsius",
            "gauge",
            "Temperature by sensor: core, memory.",
            (*_GPU, "sensor"),
        ),
        Metric(
            "tierwatch_gpu_temperature_slowdown_celsius",
            "gauge",
            "Core temperature at which the driver slows the GPU down.",
            _GPU,
        ),
        Metric("tierwatch_gpu_power_watts", "gauge", "Power drawn.", _GPU),
        Metric("tierwatch_gpu_power_limit_watts", "gauge", "Power limit in force.", _GPU),
        Metric(
            "tierwatch_gpu_energy_joules_total",
            "counter",
            "Energy drawn since the driver was loaded.",
            _GPU,
        ),
        Metric(
            "tierwatch_gpu_clock_hertz",
            "gauge",
            "Clock by domain: graphics, memory.",
            (*_GPU, "clock"),
        ),
        Metric("tierwatch_gpu_fan_ratio", "gauge", "Fan speed, intended, of its maximum.", _GPU),
        Metric(
            "tierwatch_gpu_performance_state",
            "gauge",
            "Performance state, 0 the fastest (P0).",
            _GPU,
        ),
        Metric(
            "tierwatch_gpu_throttled",
            "gauge",
            "1 for each reason why clocks are held back right now.",
            (*_GPU, "reason"),
        ),
        Metric(
            "tierwatch_gpu_ecc_errors_total",
            "counter",
            "ECC errors since the driver was loaded, by kind: corrected, uncorrected.",
            (*_GPU, "kind"),
        ),
        Metric(
            "tierwatch_gpu_xid_errors_total",
            "counter",
            "Xid errors that the driver reported while this agent watched.",
            (*_GPU, "xid"),
        ),
        Metric(
            "tierwatch_gpu_xid_last_timestamp_seconds",
            "gauge",
            "When an Xid error came last, as Unix time.",
            (*_GPU, "xid"),
        ),
        Metric(
            "tierwatch_server_info",
            "info",
            "A generation server's identity.",
            ("server", "kind", "version"),
        ),
        Metric(
            "tierwatch_server_up",
            "gauge",
            "Whether a generation server answers; 0 for five minutes after it has ended.",
            _SERVER,
        ),
        Metric(
            "tierwatch_server_queue_pending",
            "gauge",
            "Jobs that wait in a server's queue.",
            _SERVER,
        ),
        Metric("tierwatch_server_queue_running", "gauge", "Jobs that a server runs.", _SERVER),
        Metric(
            "tierwatch_server_queue_paused",
            "gauge",
            "1 while a person holds a server's queue back.",
            _SERVER,
        ),
        Metric(
            "tierwatch_jobs_finished_total",
            "counter",
            "Jobs that a server has finished since the agent first saw it, by outcome: success, "
            "error, oom, interrupted.",
            (*_SERVER, "outcome"),
        ),
        Metric(
            "tierwatch_images_generated_total",
            "counter",
            "Images that a server has generated since the agent first saw it.",
            _SERVER,
        ),
        Metric(
            "tierwatch_image_pixels_total",
            "counter",
            "Pixels of the images that a server has generated since the agent first saw it.",
            _SERVER,
        ),
        Metric(
            "tierwatch_job_duration_seconds",
            "histogram",
            "How long finished jobs ran, as far as their server tells.",
            _SERVER,
        ),
        Metric(
            "tierwatch_job_progress_ratio",
            "gauge",
            "How far the running job is; of several, the one that started first.",
            _SERVER,
        ),
        Metric(
            "tierwatch_job_seconds_since_progress",
            "gauge",
            "How long ago the running job last advanced; of several, the longest.",
            _SERVER,
        ),
        Metric(
            "tierwatch_job_stalled",
            "gauge",
            "1 for the cause why a server's job does not move, 0 for every other: vram, oom, "
            "spill, hang, unresponsive, gpu.",
            (*_SERVER, "cause"),
        ),
        Metric(
            "tierwatch_job_stall_start_time_seconds",
            "gauge",
            "Since when a server's job has not moved, as Unix time; absent where every job moves.",
            _SERVER,
        ),
        Metric("tierwatch_host_cpus", "gauge", "CPUs of the host, as its system counts them."),
        Metric("tierwatch_host_cpu_ratio", "gauge", "Share of the host's CPU time in use."),
        Metric("tierwatch_host_memory_total_bytes", "gauge", "The host's RAM."),
        Metric(
            "tierwatch_host_memory_available_bytes", "gauge", "RAM that programs can still have."
        ),
        Metric("tierwatch_host_swap_total_bytes", "gauge", "The host's swap."),
        Metric("tierwatch_host_swap_used_bytes", "gauge", "Swap in use."),
        Metric("tierwatch_host_boot_time_seconds", "gauge", "When the host was started."),
    )
}

_TARGET = ("machine", "gpu", "tier")

DASHBOARD: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("tierwatch_dashboard_info", "info", "The dashboard's version.", ("version",)),
        Metric(
            "tierwatch_dashboard_works",
            "gauge",
            "1 for the dashboard that asks the agents, records and alerts; 0 for one that stands "
            "by, where several share a database.",
        ),
        Metric(
            "tierwatch_machine_assignment_info",
            "info",
            "What the team decided of a machine: its tier (empty: unassigned), whether all of its "
            "GPUs must serve it or any one, and whether it is in maintenance.",
            ("machine", "tier", "gpus", "maintenance"),
        ),
        Metric(
            "tierwatch_machine_tag_info",
            "info",
            "A tag of a machine, a series for each; one with an empty tag where it has none.",
            ("machine", "tag"),
        ),
        Metric(
            "tierwatch_assigned_tier_floor_bytes",
            "gauge",
            "VRAM that the assigned tier asks to be available, by GPU (gpu empty: the machine).",
            _TARGET,
        ),
        Metric(
            "tierwatch_assigned_tier_class_bytes",
            "gauge",
            "VRAM that a card of the assigned tier's class has in total, at least, by GPU (gpu "
            "empty: the machine).",
            _TARGET,
        ),
        Metric(
            "tierwatch_headroom_bytes",
            "gauge",
            "Available VRAM less the floor of the assigned tier; negative: below it.",
            _TARGET,
        ),
        Metric(
            "tierwatch_machine_state",
            "gauge",
            "1 for the state of a machine's verdict, 0 for every other.",
            ("machine", "state"),
        ),
        Metric(
            "tierwatch_machine_can_serve_info",
            "info",
            "The highest tier that a machine can serve now, and with nothing else on its GPUs.",
            ("machine", "now", "empty"),
        ),
        Metric(
            "tierwatch_dashboard_poll_up",
            "gauge",
            "Whether the last poll of a machine's agent succeeded.",
            ("machine",),
        ),
        Metric(
            "tierwatch_dashboard_poll_duration_seconds",
            "gauge",
            "How long the last poll of a machine's agent took.",
            ("machine",),
        ),
        Metric(
            "tierwatch_dashboard_poll_age_seconds",
            "gauge",
            "How long ago the machine was polled that has waited longest for its next poll.",
        ),
        Metric(
            "tierwatch_dashboard_polls_total",
            "counter",
            "Polls of agents, by outcome: success, failure.",
            ("outcome",),
        ),
        Metric(
            "tierwatch_dashboard_polls_skipped_total",
            "counter",
            "Polls left out since the machine's last one was still under way.",
        ),
        Metric(
            "tierwatch_dashboard_history_samples_total",
            "counter",
            "GPU samples committed to the history since the dashboard started.",
        ),
        Metric(
            "tierwatch_dashboard_history_write_failures_total",
            "counter",
            "Batches of samples that could not be committed at once, and were kept for the next.",
        ),
        Metric(
            "tierwatch_dashboard_history_samples_dropped_total",
            "counter",
            "GPU samples given up, since the history could not be written for too long.",
        ),
        Metric(
            "tierwatch_dashboard_job_last_success_timestamp_seconds",
            "gauge",
            "When a background job of the dashboard last succeeded, as Unix time.",
            ("job",),
        ),
        Metric(
            "tierwatch_dashboard_job_failures_total",
            "counter",
            "Runs of a background job that failed, or were due while the last was under way.",
            ("job",),
        ),
        Metric(
            "tierwatch_dashboard_alerts",
            "gauge",
            "Alerts that this dashboard looks after, by state: pending, firing.",
            ("state",),
        ),
        Metric(
            "tierwatch_dashboard_outbox_messages",
            "gauge",
            "Messages that wait until their receiver takes them.",
            ("receiver",),
        ),
        Metric(
            "tierwatch_dashboard_outbox_oldest_age_seconds",
            "gauge",
            "How long the oldest message has waited for its receiver; absent where none waits.",
            ("receiver",),
        ),
        Metric(
            "tierwatch_dashboard_deliveries_total",
            "counter",
            "Attempts to give a receiver a message, by outcome: delivered, failed, given_up.",
            ("receiver", "outcome"),
        ),
        Metric(
            "tierwatch_dashboard_inventory_valid",
            "gauge",
            "1 while the inventory in force is the one in the file; 0: the file has an error and "
            "the last good one holds.",
        ),
        Metric(
            "tierwatch_dashboard_inventory_loaded_timestamp_seconds",
            "gauge",
            "When the inventory in force was read.",
        ),
    )
}
