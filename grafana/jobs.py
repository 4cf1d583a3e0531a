"""Jobs and stalls: what is made, how fast, what fails, and what does not move."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from grafana.panels import (
    CHOSEN,
    WHOLE,
    bars,
    board,
    figure,
    lines,
    link_to_machine,
    machines,
    query,
    rows,
    stacked,
)

_FINISHED = f"tierwatch_jobs_finished_total{{{CHOSEN}}}"
_DURATIONS = f"rate(tierwatch_job_duration_seconds_bucket{{{CHOSEN}}}[15m])"
_IMAGES = f"increase(tierwatch_images_generated_total{{{CHOSEN}}}[$__range])"


def build() -> dashboard.Dashboard:
    """The dashboard."""
    return (
        board(
            "tierwatch-jobs", "Tierwatch: jobs and stalls", "What is made, and what does not move."
        )
        .with_variable(machines())
        .with_panel(
            figure(
                "Stalled now",
                "Servers whose job does not move.",
                "none",
                query(
                    f"sum(max by (machine, server) (tierwatch_job_stalled{{{CHOSEN}}}))"
                    " or vector(0)"
                ),
            )
        )
        .with_panel(
            figure(
                "Running",
                "",
                "none",
                query(f"sum(tierwatch_server_queue_running{{{CHOSEN}}})"),
            )
        )
        .with_panel(
            figure("Waiting", "", "none", query(f"sum(tierwatch_server_queue_pending{{{CHOSEN}}})"))
        )
        .with_panel(
            figure(
                "Out of memory",
                "Share of the jobs of the chosen time that stopped for want of VRAM.",
                "percentunit",
                query(
                    f"(sum({_ended('oom')}) or vector(0)) / sum(increase({_FINISHED}[$__range]))"
                ),
            ).decimals(1)
        )
        .with_panel(
            stacked(
                "Images an hour, by tier",
                "",
                "none",
                query(
                    f"3600 * sum by (tier) (machine:tierwatch_images:rate5m{{{CHOSEN}}})",
                    "{{tier}}",
                ),
            ).min(0)
        )
        .with_panel(
            bars(
                "Jobs finished, by outcome",
                "",
                "none",
                query(f"sum by (outcome) (increase({_FINISHED}[$__rate_interval]))", "{{outcome}}"),
            ).min(0)
        )
        .with_panel(
            lines(
                "How long a job takes",
                "By the histogram of the last 15 minutes' jobs.",
                "s",
                query(f"histogram_quantile(0.5, sum by (le) ({_DURATIONS}))", "half of them"),
                query(f"histogram_quantile(0.95, sum by (le) ({_DURATIONS}))", "19 of 20"),
            ).min(0)
        )
        .with_panel(
            lines(
                "Waiting, by machine",
                "",
                "none",
                query(
                    f"sum by (machine) (tierwatch_server_queue_pending{{{CHOSEN}}})", "{{machine}}"
                ),
            )
            .min(0)
            .data_links([link_to_machine()])
        )
        .with_panel(
            lines(
                "Stalls",
                "1 while a server's job does not move, by cause.",
                "none",
                query(
                    f"max by (machine, server, cause) (tierwatch_job_stalled{{{CHOSEN}}})",
                    "{{machine}} {{server}}: {{cause}}",
                ),
            )
            .min(0)
            .max(1)
            .data_links([link_to_machine()])
        )
        .with_panel(
            lines(
                "Since a job last advanced",
                "",
                "s",
                query(
                    f"max by (machine, server) (tierwatch_job_seconds_since_progress{{{CHOSEN}}})",
                    "{{machine}} {{server}}",
                ),
            )
            .min(0)
            .data_links([link_to_machine()])
        )
        .with_panel(
            rows(
                "Machines",
                "Over the chosen time.",
                "machine",
                (
                    ("Done", f"sum by (machine) ({_ended('success')})"),
                    ("Out of memory", f"sum by (machine) ({_ended('oom')})"),
                    ("Failed", f"sum by (machine) ({_ended('error')})"),
                    (
                        "Images",
                        f"sum by (machine) ({_IMAGES})",
                    ),
                ),
            )
            .decimals(0)
            .data_links([link_to_machine("${__data.fields.Machine}")])
            .span(WHOLE)
        )
    )


def _ended(outcome: str) -> str:
    """How many jobs of the chosen time had an outcome."""
    return f'increase(tierwatch_jobs_finished_total{{{CHOSEN},outcome="{outcome}"}}[$__range])'
