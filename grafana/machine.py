"""One machine: its GPUs' memory against the floor, what runs on it, and its sensors."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from grafana.panels import (
    CHOSEN,
    ON_GPU,
    WHOLE,
    board,
    gpus,
    lines,
    link_to_machine,
    machines,
    query,
    rows,
    stacked,
    states,
)


def build() -> dashboard.Dashboard:
    """The dashboard."""
    total, available, free, reserved, others = (
        f"tierwatch_gpu_memory_{kind}_bytes{{{ON_GPU}}}"
        for kind in ("total", "available", "free", "reserved", "used_by_others")
    )
    return (
        board("tierwatch-machine", "Tierwatch: machine", "One machine, now and over time.")
        .with_variable(machines(several=False))
        .with_variable(gpus())
        .with_panel(
            states("Verdict", "What it was over time.").height(4).data_links([link_to_machine()])
        )
        .with_panel(
            rows(
                "GPUs",
                "",
                "gpu",
                (
                    (None, f"max by (gpu, name) (tierwatch_gpu_info{{{ON_GPU}}})"),
                    ("VRAM, GiB", f"max by (gpu) ({total}) / 2^30"),
                    ("Available, GiB", f"max by (gpu) ({available}) / 2^30"),
                    (
                        "Headroom, GiB",
                        f"min by (gpu, tier) (tierwatch_headroom_bytes{{{ON_GPU}}}) / 2^30",
                    ),
                    (
                        "Temperature, °C",
                        "max by (gpu) (tierwatch_gpu_temperature_celsius"
                        f'{{{ON_GPU},sensor="core"}})',
                    ),
                ),
                {"name": "Card", "tier": "Assigned"},
            )
            .decimals(1)
            .height(6)
        )
        .with_panel(
            stacked(
                "Who holds VRAM",
                "Production's own is what the generation server that would run the job holds: it "
                "can have that anew. Names are on Tierwatch's page, since they are no labels.",
                "bytes",
                query(f"sum({available} - {free})", "production's own"),
                query(f"sum({others})", "others"),
                query(f"sum({reserved})", "reserved by the driver"),
                query(f"sum({free})", "free"),
            )
            .min(0)
            .height(10)
        )
        .with_panel(
            lines(
                "Available against the floor",
                "Under its floor a GPU cannot serve the tier that it is assigned to.",
                "bytes",
                query(available, "GPU {{gpu}} available"),
                query(
                    f"max by (gpu, tier) (tierwatch_assigned_tier_floor_bytes{{{ON_GPU}}})",
                    "GPU {{gpu}}: floor of {{tier}}",
                ),
            )
            .min(0)
            .height(10)
        )
        .with_panel(
            lines(
                "Utilisation",
                "Share of the time in which a kernel ran.",
                "percentunit",
                query(f"tierwatch_gpu_utilization_ratio{{{ON_GPU}}}", "GPU {{gpu}}"),
            )
            .min(0)
            .max(1)
        )
        .with_panel(
            lines(
                "Temperature",
                "And from where on the driver slows it down.",
                "celsius",
                query(f"tierwatch_gpu_temperature_celsius{{{ON_GPU}}}", "GPU {{gpu}} {{sensor}}"),
                query(
                    f"tierwatch_gpu_temperature_slowdown_celsius{{{ON_GPU}}}",
                    "GPU {{gpu}} slows down",
                ),
            )
        )
        .with_panel(
            lines(
                "Power",
                "Drawn, and the limit in force.",
                "watt",
                query(f"tierwatch_gpu_power_watts{{{ON_GPU}}}", "GPU {{gpu}}"),
                query(f"tierwatch_gpu_power_limit_watts{{{ON_GPU}}}", "GPU {{gpu}} limit"),
            ).min(0)
        )
        .with_panel(
            lines(
                "Held back",
                "1 for each reason why clocks are lower than they could be; nothing: none.",
                "none",
                query(
                    f"max by (gpu, reason) (tierwatch_gpu_throttled{{{ON_GPU}}})"
                    f" or 0 * max by (gpu) (tierwatch_gpu_up{{{ON_GPU}}})",
                    "GPU {{gpu}} {{reason}}",
                ),
            )
            .min(0)
            .max(1)
        )
        .with_panel(
            lines(
                "Running job",
                "How far it is.",
                "percentunit",
                query(f"tierwatch_job_progress_ratio{{{CHOSEN}}}", "{{server}}"),
            )
            .min(0)
            .max(1)
        )
        .with_panel(
            lines(
                "Queue",
                "Jobs that wait.",
                "none",
                query(f"tierwatch_server_queue_pending{{{CHOSEN}}}", "{{server}}"),
            ).min(0)
        )
        .with_panel(
            lines(
                "Host",
                "Share of CPU time in use, and of RAM.",
                "percentunit",
                query(f"tierwatch_host_cpu_ratio{{{CHOSEN}}}", "CPU"),
                query(
                    f"1 - tierwatch_host_memory_available_bytes{{{CHOSEN}}}"
                    f" / tierwatch_host_memory_total_bytes{{{CHOSEN}}}",
                    "RAM",
                ),
            )
            .min(0)
            .max(1)
        )
        .with_panel(
            lines(
                "Sources of the agent",
                "1: it answers.",
                "none",
                query(f"tierwatch_source_up{{{CHOSEN}}}", "{{source}}"),
            )
            .min(0)
            .max(1)
            .span(WHOLE // 2)
        )
    )
