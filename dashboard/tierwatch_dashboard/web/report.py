"""The weekly report: what each tier had of its machines, what it lost and to what."""

from __future__ import annotations

from datetime import date

from babel.dates import format_date
from flask import Blueprint, abort, render_template, request

from tierwatch_dashboard.app import services
from tierwatch_dashboard.report import Report
from tierwatch_dashboard.reports import Reports
from tierwatch_dashboard.web.language import language
from tierwatch_dashboard.web.report_lines import tier_lines
from tierwatch_dashboard.web.report_words import hours, title
from tierwatch_dashboard.weeks import Week, read_week

bp = Blueprint("report", __name__)

MOST_WEEKS_BACK = 13
"""How far what a report is made of is kept."""


@bp.get("/report")
def page() -> str:
    """A week's report (``?week=2026-W48``); without one that of the week that it is, up to now."""
    reports = weekly_reports()
    week, current = asked_week(reports), reports.current
    report = reports.week(week)
    return render_template(
        "report/page.html",
        week=week,
        current=current,
        first=day_words(week.days[0]),
        last=day_words(week.days[-1]),
        title=title(report),
        report=report,
        tiers=tier_lines(
            report, reports.week(week.before), services().inventory_file.current.tiers
        ),
        unwatched=_unwatched(report),
        oldest=oldest(current),
        simulated=any(v.snapshot and v.snapshot.simulated for v in services().state.views()),
    )


def weekly_reports() -> Reports:
    """What weeks are reckoned by; answers 404 where this dashboard keeps no reports."""
    found = services().reports
    if found is None:
        abort(404, "This dashboard keeps no reports.")
    return found


def asked_week(reports: Reports) -> Week:
    """The week of the address; answers 400 in words where that is none, 404 where it is to come."""
    written = request.args.get("week")
    if not written:
        return reports.current
    try:
        week = read_week(written)
    except ValueError as error:
        abort(400, str(error))
    if week > reports.current:
        abort(404, f"The week {week.name} has not begun.")
    return week


def oldest(current: Week) -> Week:
    """The last week back of which anything may be kept."""
    week = current
    for _ in range(MOST_WEEKS_BACK):
        week = week.before
    return week


def day_words(day: date) -> str:
    """A day as people write it: "23 November 2026"."""
    code = language()
    return format_date(day, "d MMMM y" if code == "en" else "long", locale=code)


def _unwatched(report: Report) -> str | None:
    """Hours of the week so far in which no dashboard ran; None: next to none."""
    missed = report.end - report.start - report.watched
    return hours(missed) if missed >= 360 else None
