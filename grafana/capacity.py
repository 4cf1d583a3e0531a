"""Capacity over a week: the hours that each tier had its machines, what they made, the energy."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from grafana.panels import (
    CHOSEN,
    WHOLE,
    bars,
    board,
    figure,
    machines,
    query,
    rows,
    stacked,
)

_ASSIGNED = f'max by (machine, tier) (tierwatch_machine_assignment_info{{{CHOSEN},tier!=""}})'
_WORKS = "ok|at_risk"
_ENERGY = f"sum_over_time(tierwatch_gpu_power_watts{{{CHOSEN}}}[$__range:1m]) / 60000"
"""kWh from the power drawn: few drivers count energy, and an hour that was not seen adds none."""

_IMAGES = f"increase(tierwatch_images_generated_total{{{CHOSEN}}}[$__range])"


def build() -> dashboard.Dashboard:
    """The dashboard."""
    to_tier = f" * on (machine) group_left (tier) {_ASSIGNED}"
    return (
        board(
            "tierwatch-capacity",
            "Tierwatch: capacity",
            "Hours, images and energy of each tier over the chosen time.",
            span="now-7d",
        )
        .with_variable(machines())
        .with_panel(
            figure(
                "Images", "Made in the chosen time.", "short", query(f"sum({_IMAGES})")
            ).decimals(0)
        )
        .with_panel(
            figure("Energy", "Of all GPUs.", "kwatth", query(f"sum({_ENERGY})")).decimals(1)
        )
        .with_panel(
            figure(
                "Images per kWh",
                "",
                "short",
                query(f"sum({_IMAGES}) / sum({_ENERGY})"),
            ).decimals(0)
        )
        .with_panel(
            figure(
                "Of its hours, the fleet served",
                "Machine-hours in which a machine could do what it is assigned to.",
                "percentunit",
                query(f"sum(avg_over_time(({_in(_WORKS)})[$__range:1m])) / count({_ASSIGNED})"),
            ).decimals(1)
        )
        .with_panel(
            rows(
                "Tiers",
                "Machine-hours of the chosen time.",
                "tier",
                (
                    ("Served, h", _hours(_WORKS)),
                    ("Below, h", _hours("below")),
                    ("Stalled, h", _hours("stalled")),
                    ("Down, h", _hours("down")),
                    ("Images", f"sum by (tier) (sum by (machine) ({_IMAGES}){to_tier})"),
                    (
                        "Energy, kWh",
                        f"sum by (tier) (sum by (machine) ({_ENERGY}){to_tier})",
                    ),
                ),
            ).decimals(1)
        )
        .with_panel(
            stacked(
                "Machines that serve their tier",
                "",
                "none",
                query(f"sum by (tier) ({_in(_WORKS)})", "{{tier}}"),
            ).min(0)
        )
        .with_panel(
            stacked(
                "Machines that do not, by state",
                "",
                "none",
                query(
                    "sum by (state) (max by (machine, state) (tierwatch_machine_state"
                    f'{{{CHOSEN},state=~"down|stalled|below"}}))',
                    "{{state}}",
                ),
            ).min(0)
        )
        .with_panel(
            bars(
                "Images an hour, by tier",
                "",
                "none",
                query(
                    f"sum by (tier) (sum by (machine) (increase(tierwatch_images_generated_total"
                    f"{{{CHOSEN}}}[1h])){to_tier})",
                    "{{tier}}",
                ),
            )
            .min(0)
            .span(WHOLE)
        )
    )


def _in(states: str) -> str:
    """1 for each machine, by tier, that is in one of the states; 0 for the others."""
    return (
        f"{_ASSIGNED} * on (machine) group_left () "
        f'max by (machine) (tierwatch_machine_state{{{CHOSEN},state=~"{states}"}})'
    )


def _hours(states: str) -> str:
    """Machine-hours of each tier in one of the states."""
    return f"sum by (tier) (sum_over_time(({_in(states)})[$__range:1m])) / 60"
