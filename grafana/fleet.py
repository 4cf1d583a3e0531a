"""The fleet by tier: what the studio can make now, where, and what stands in the way."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from grafana.panels import (
    CHOSEN,
    WHOLE,
    below_zero,
    board,
    figure,
    lines,
    link_to_machine,
    machines,
    query,
    rows,
    stacked,
    states,
)

_SERVES = f'max by (machine) (tierwatch_machine_state{{{CHOSEN},state=~"ok|at_risk"}})'
_TIER_OF = f'max by (machine, tier) (tierwatch_machine_assignment_info{{{CHOSEN},tier!=""}})'
_FAILS = f'max by (machine) (tierwatch_machine_state{{{CHOSEN},state=~"down|stalled|below"}})'
_AVAILABLE = f"tierwatch_gpu_memory_available_bytes{{{CHOSEN}}}"


def build() -> dashboard.Dashboard:
    """The dashboard."""
    return (
        board("tierwatch-fleet", "Tierwatch: fleet by tier", "What the studio can make right now.")
        .with_variable(machines())
        .with_panel(
            figure(
                "Serve their tier",
                "Machines that are ok or at risk.",
                "none",
                query(f"count({_TIER_OF} * on (machine) group_left () {_SERVES} == 1)"),
            )
        )
        .with_panel(
            figure(
                "Cannot",
                "Machines that are below their tier, stalled or down.",
                "none",
                query(f"count({_TIER_OF} * on (machine) group_left () {_FAILS} == 1) or vector(0)"),
            )
        )
        .with_panel(
            figure(
                "Jobs that wait",
                "In every generation server's queue.",
                "none",
                query(f"sum(tierwatch_server_queue_pending{{{CHOSEN}}})"),
            )
        )
        .with_panel(
            figure(
                "Images an hour",
                "By what was made in the last five minutes.",
                "none",
                query(f"3600 * sum(machine:tierwatch_images:rate5m{{{CHOSEN}}})"),
            ).decimals(0)
        )
        .with_panel(
            rows(
                "Tiers",
                "Each tier's machines, and what they make.",
                "tier",
                (
                    ("Assigned", f"count by (tier) ({_TIER_OF})"),
                    ("Able", f"sum by (tier) ({_TIER_OF} * on (machine) group_left () {_SERVES})"),
                    ("Short", f"sum by (tier) ({_TIER_OF} * on (machine) group_left () {_FAILS})"),
                    (
                        "Least headroom, GiB",
                        f"min by (tier) (machine:tierwatch_headroom_bytes:min{{{CHOSEN}}}) / 2^30",
                    ),
                    (
                        "Images an hour",
                        f"3600 * sum by (tier) (machine:tierwatch_images:rate5m{{{CHOSEN}}})",
                    ),
                ),
            ).decimals(1)
        )
        .with_panel(
            states("Verdicts", "What each machine was over time.").data_links([link_to_machine()])
        )
        .with_panel(
            rows(
                "Machines, least headroom first",
                "Why and what to do stands on Tierwatch's page of the machine: follow its name.",
                "machine",
                (
                    (None, f"max by (machine, state) (tierwatch_machine_state{{{CHOSEN}}} == 1)"),
                    (None, _TIER_OF),
                    (
                        None,
                        "max by (machine, now, empty)"
                        f" (tierwatch_machine_can_serve_info{{{CHOSEN}}})",
                    ),
                    (
                        "Least headroom, GiB",
                        f"min by (machine) (tierwatch_headroom_bytes{{{CHOSEN}}}) / 2^30",
                    ),
                    ("Busy", f"avg by (machine) (tierwatch_gpu_utilization_ratio{{{CHOSEN}}})"),
                ),
                {
                    "state": "Verdict",
                    "tier": "Assigned",
                    "now": "Can serve now",
                    "empty": "With nothing else on it",
                },
            )
            .data_links([link_to_machine("${__data.fields.Machine}")])
            .height(12)
        )
        .with_panel(
            lines(
                "Headroom",
                "Available VRAM less the floor of the assigned tier, the least of a machine's "
                "GPUs. Under zero it cannot do what it is assigned to.",
                "bytes",
                query(f"min by (machine) (tierwatch_headroom_bytes{{{CHOSEN}}})", "{{machine}}"),
            )
            .thresholds(below_zero())
            .data_links([link_to_machine()])
        )
        .with_panel(
            lines(
                "Available VRAM",
                "What a production job can have: free, and what its own server holds already.",
                "bytes",
                query(f"min by (machine) ({_AVAILABLE})", "{{machine}}"),
            ).min(0)
        )
        .with_panel(
            stacked(
                "VRAM held by others",
                "By anything but the generation server that would run the job.",
                "bytes",
                query(
                    f"sum by (machine) (tierwatch_gpu_memory_used_by_others_bytes{{{CHOSEN}}})",
                    "{{machine}}",
                ),
            )
            .data_links([link_to_machine()])
            .span(WHOLE)
        )
    )
