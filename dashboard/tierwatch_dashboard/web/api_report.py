"""The weekly report as JSON: what each tier had of its machines, what it lost and to what."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from flask import Blueprint
from werkzeug.wrappers import Response

from tierwatch_agent.snapshot import Outcome
from tierwatch_dashboard.causes import Cause
from tierwatch_dashboard.report import Hours, MachineHours, TierHours
from tierwatch_dashboard.web import answers
from tierwatch_dashboard.web.openapi import Parameter, answers_with
from tierwatch_dashboard.web.report import asked_week, weekly_reports

bp = Blueprint("api_report", __name__, url_prefix="/api/v1")


class Had(msgspec.Struct, frozen=True, kw_only=True):
    """Machines' time with a tier, added up over them."""

    assigned_seconds: float
    able_seconds: float
    """In which they could serve it."""
    lost_seconds: Mapping[Cause, float]
    """In which they could not, by cause, the largest first."""
    maintenance_seconds: float
    unknown_seconds: float
    """In which nobody watched, or it is not known whether they could."""


class MachineReport(msgspec.Struct, frozen=True, kw_only=True):
    """One machine's week with one tier."""

    machine: str
    had: Had
    culprits_seconds: Mapping[str, float]
    """Time lost by the program that held the most VRAM, the worst first."""


class TierReport(msgspec.Struct, frozen=True, kw_only=True):
    """One tier's week."""

    tier: str
    had: Had
    jobs: Mapping[Outcome, int]
    images: int
    pixels: int
    energy_joules: float | None
    """Of its GPUs, while their power was known; null: it was not."""
    energy_known_ratio: float | None
    """For what part of the time that was."""
    machines: tuple[MachineReport, ...]
    """The one that lost most first."""


class ReportAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A week, tier by tier."""

    week: str
    """As calendars count: "2026-W48"."""
    start_at: float
    end_at: float
    """Of the week that it is: now."""
    watched_seconds: float
    """For how long a dashboard ran."""
    tiers: tuple[TierReport, ...]
    unassigned_images: int
    """Made by machines while they were assigned to no tier."""


@bp.get("/report")
@answers_with(
    ReportAnswer,
    Parameter(
        name="week",
        words="a week as calendars count, 2026-W48; without it the one that it is",
        schema={"type": "string", "pattern": "^[0-9]{4}-W[0-9]{2}$"},
    ),
    refusals={404: "The week has not begun, or this dashboard keeps no reports."},
)
def report() -> Response:
    """A week's report: hours that each tier had its machines, hours lost and to what, images."""
    reports = weekly_reports()
    week = asked_week(reports)
    found = reports.week(week)
    return answers.json(
        ReportAnswer(
            week=week.name,
            start_at=found.start,
            end_at=found.end,
            watched_seconds=found.watched,
            tiers=tuple(map(_tier, found.tiers)),
            unassigned_images=found.unassigned_images,
        )
    )


def _tier(each: TierHours) -> TierReport:
    known = each.power_seconds / each.gpu_seconds if each.gpu_seconds else None
    return TierReport(
        tier=each.tier,
        had=_had(each.hours),
        jobs=each.jobs,
        images=each.images,
        pixels=each.pixels,
        energy_joules=each.joules,
        energy_known_ratio=known,
        machines=tuple(map(_machine, each.machines)),
    )


def _machine(each: MachineHours) -> MachineReport:
    return MachineReport(machine=each.machine, had=_had(each.hours), culprits_seconds=each.culprits)


def _had(hours: Hours) -> Had:
    seconds = hours.seconds
    return Had(
        assigned_seconds=hours.assigned,
        able_seconds=hours.able,
        lost_seconds=hours.lost,
        maintenance_seconds=seconds.get("maintenance", 0.0),
        unknown_seconds=seconds.get("perhaps", 0.0) + seconds.get("unwatched", 0.0),
    )
