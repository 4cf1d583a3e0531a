"""One machine's page: its verdict and why, each GPU and who holds it, its sources, its past."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
from flask import Blueprint, Response, abort, render_template, request

from tierwatch_agent.snapshot import GpuSample
from tierwatch_agent.words import say
from tierwatch_dashboard.app import services
from tierwatch_dashboard.charts.spans import RANGES, shown
from tierwatch_dashboard.web.alert_board import stands
from tierwatch_dashboard.web.alert_lines import Standing, of_machine
from tierwatch_dashboard.web.available_then import available_then
from tierwatch_dashboard.web.finished import finished
from tierwatch_dashboard.web.kept import kept, why_unread
from tierwatch_dashboard.web.making import server_lines
from tierwatch_dashboard.web.output import by_machine, hour_words
from tierwatch_dashboard.web.panels import panels
from tierwatch_dashboard.web.row_store import Faults
from tierwatch_dashboard.web.rows import falls_short, further_reasons

if TYPE_CHECKING:
    from tierwatch_dashboard.fleet.state import MachineView

bp = Blueprint("machine", __name__)

SHOWN_JOBS = 8
"""Finished jobs on the page; the jobs page has the others."""


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """The page's live parts, and the token by which a page says which of them it has."""

    token: str
    head: str
    html: str
    after: str
    """What stands below the past."""


@bp.get("/machines/<machine_id>")
def page(machine_id: str) -> str:
    """The whole page; ``?range=``, or ``?from=&to=``, picks what its charts show."""
    view = view_of(machine_id)
    span, wrong = shown(request.args, services().now())
    return render_template(
        "machine/page.html",
        view=view,
        now=_now(view),
        ranges=RANGES,
        span=span,
        wrong=wrong,
        charted=[gpu for gpu in _gpus(view) if not gpu.partitioned],
    )


@bp.get("/machines/<machine_id>/now")
def now(machine_id: str) -> Response:
    """The parts around the charts: 204 where they say what the page has (``?since=``)."""
    found = _now(view_of(machine_id))
    if found.token == request.args.get("since"):
        return Response(status=204)
    return Response(render_template("machine/changes.html", now=found), mimetype="text/html")


def view_of(machine_id: str) -> MachineView:
    """A machine of the inventory; answers 404 in words where there is none."""
    view = services().state.view(machine_id)
    if view is None:
        abort(404, say("The inventory has no machine {machine}.", machine=machine_id))
    return view


def _gpus(view: MachineView) -> tuple[GpuSample, ...]:
    return view.snapshot.gpus if view.snapshot else ()


def _now(view: MachineView) -> Now:
    tiers = services().inventory_file.current.tiers
    machine, made = view.machine.id, services().last_hour.current
    output = by_machine((view,), made).get(machine)
    servers = view.snapshot.servers if view.snapshot else ()
    usual = {s.id: t for s in servers if (t := made.usual_seconds.get((machine, s.id)))}
    alerts = _alerts(machine)
    finished_jobs = kept(lambda: services().jobs.recent(SHOWN_JOBS, machine))
    head = render_template(
        "machine/head.html",
        view=view,
        faults=Faults(database=why_unread()),
        reasons=further_reasons(view.verdict),
        short=falls_short(view.verdict),
        output=output,
        hour=hour_words((output,)) if output else None,
        alerts=alerts,
        firing=len(alerts.firing) + len(alerts.quiet) if alerts else 0,
    ).strip()
    shown = panels(view, tiers)
    html = render_template(
        "machine/now.html",
        view=view,
        panels=shown,
        several=len(shown) > 1,
        servers=server_lines(servers, usual),
    ).strip()
    after = render_template(
        "machine/after.html",
        view=view,
        finished=[finished(each, available_then(each)) for each in finished_jobs or ()],
        alerts=alerts,
    ).strip()
    token = hashlib.sha256((head + html + after).encode()).hexdigest()[:16]
    return Now(token=token, head=head, html=html, after=after)


def _alerts(machine: str) -> Standing | None:
    found = kept(stands)
    return None if found is None else of_machine(found, machine)
