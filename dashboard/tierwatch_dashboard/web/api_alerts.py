"""Alerts as JSON: what fires, what fired, and what is kept quiet."""

from __future__ import annotations

import msgspec
from flask import Blueprint, abort, request
from werkzeug.wrappers import Response

from tierwatch_dashboard.alerts import SEVERITIES, Severity, Silence, Window
from tierwatch_dashboard.alerts.board import Origin, PastAlert
from tierwatch_dashboard.app import services
from tierwatch_dashboard.web import answers, paging
from tierwatch_dashboard.web.alert_board import board, stands
from tierwatch_dashboard.web.alert_lines import AlertLine, Standing, of_machine, sentence
from tierwatch_dashboard.web.openapi import Parameter, answers_with

bp = Blueprint("api_alerts", __name__, url_prefix="/api/v1/alerts")

MACHINE = Parameter(name="machine", words="the id of a machine")
RULE = Parameter(name="rule", words='the name of a rule: "MachineBelowTier"')
SEVERITY = Parameter(
    name="severity",
    words="how bad it is",
    schema={"type": "string", "enum": list(SEVERITIES)},
)
NONE = {404: "This dashboard looks after no alerts."}


class AlertsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Every alert, each list worst first, and the silences that are not over."""

    at: float
    sentence: str
    origin: Origin | None
    """The Alertmanager that they are from; null: they are this dashboard's own."""
    firing: tuple[AlertLine, ...]
    quiet: tuple[AlertLine, ...]
    """Silenced, or of a machine in maintenance."""
    pending: tuple[AlertLine, ...]
    silences: tuple[Silence, ...]


class PastAlertsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What fired, over or not, the latest first."""

    at: float
    origin: Origin | None
    """The Alertmanager that they are from; null: they are this dashboard's own."""
    alerts: tuple[PastAlert, ...]
    before: int | None
    """Asks for what is older; null: there is nothing older."""


class SilencesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps alerts quiet, now or later."""

    at: float
    silences: tuple[Silence, ...]
    maintenance: tuple[Window, ...]


@bp.get("")
@answers_with(AlertsAnswer, MACHINE, refusals=NONE)
def alerts() -> Response:
    """What fires, what is kept quiet and what is about to fire."""
    found, stands_now = board(), stands() or Standing()
    if machine := request.args.get("machine"):
        stands_now = of_machine(stands_now, machine)
    return answers.json(
        AlertsAnswer(
            at=services().now(),
            sentence=sentence(stands_now, found.origin),
            origin=found.origin,
            firing=stands_now.firing,
            quiet=stands_now.quiet,
            pending=stands_now.pending,
            silences=tuple(found.silences()),
        )
    )


@bp.get("/history")
@answers_with(PastAlertsAnswer, MACHINE, RULE, SEVERITY, paging.BEFORE, paging.LIMIT, refusals=NONE)
def history() -> Response:
    """What fired, over or not, the latest first."""
    found, count = board(), paging.limit()
    kept = found.history(
        count + 1,
        machine=request.args.get("machine") or None,
        rule=request.args.get("rule") or None,
        severity=_severity(),
        before=paging.before(),
    )
    shown, before = paging.page(kept, count)
    return answers.json(
        PastAlertsAnswer(at=services().now(), origin=found.origin, alerts=shown, before=before)
    )


@bp.get("/silences")
@answers_with(SilencesAnswer, refusals=NONE)
def silences() -> Response:
    """Silences and maintenance that are not over."""
    found = board()
    return answers.json(
        SilencesAnswer(
            at=services().now(),
            silences=tuple(found.silences()),
            maintenance=tuple(found.windows()),
        )
    )


def _severity() -> Severity | None:
    said = request.args.get("severity") or None
    if said is not None and said not in SEVERITIES:
        abort(400, f"severity must be one of {', '.join(SEVERITIES)}; it is {said}")
    return said
