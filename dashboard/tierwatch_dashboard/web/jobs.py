"""The jobs page: what runs now across the fleet, what waits, and what is finished."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, Response, abort, render_template, request

from tierwatch_agent.snapshot import Outcome
from tierwatch_dashboard.app import services
from tierwatch_dashboard.web.finished import finished
from tierwatch_dashboard.web.making import OUTCOMES, ServerLine, server_lines
from tierwatch_dashboard.web.output import Output, by_machine, hour_words

if TYPE_CHECKING:
    from tierwatch_dashboard.fleet.state import MachineView

bp = Blueprint("jobs", __name__)

SHOWN = 50
"""Finished jobs on a page."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What of the jobs is asked for; None: all."""

    machine: str | None = None
    outcome: Outcome | None = None
    before: int | None = None
    """Key of the job after which the list goes on."""

    def query(self, **changes: object) -> str:
        """This as the address says it, with these parts changed."""
        parts = {**msgspec.structs.asdict(self), **changes}
        found = urlencode({name: value for name, value in parts.items() if value is not None})
        return f"?{found}" if found else "?"


class Working(msgspec.Struct, frozen=True, kw_only=True):
    """A generation server that has something to do."""

    machine: str
    simulated: bool
    server: ServerLine


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """The page's live parts, and the token by which a page says that it has them."""

    token: str
    head: str
    html: str


@bp.get("/jobs")
def page() -> str:
    """The whole page; ``?machine=``, ``?outcome=`` and ``?before=`` pick what it lists."""
    asked = asked_for()
    return render_template(
        "jobs/page.html",
        asked=asked,
        now=_now(asked),
        machines=sorted(view.machine.id for view in services().state.views()),
        outcomes=OUTCOMES,
    )


@bp.get("/jobs/now")
def now() -> Response:
    """The live parts: 204 where they say what the page has (``?since=``)."""
    found = _now(asked_for())
    if found.token == request.args.get("since"):
        return Response(status=204)
    return Response(render_template("jobs/changes.html", now=found), mimetype="text/html")


def asked_for() -> Asked:
    """What the address asks for; answers 400 in words where that cannot be."""
    outcome, before = request.args.get("outcome") or None, request.args.get("before")
    if outcome is not None and outcome not in OUTCOMES:
        abort(400, f"outcome must be one of {', '.join(OUTCOMES)}; it is {outcome}")
    if before is not None and not (before.isascii() and before.isdecimal() and len(before) < 19):
        abort(400, f"before must be the key of a job; it is {before}")
    return Asked(
        machine=request.args.get("machine") or None,
        outcome=outcome,
        before=None if before is None else int(before),
    )


def _now(asked: Asked) -> Now:
    made = services().last_hour.current
    views = [
        view
        for view in services().state.views()
        if asked.machine is None or view.machine.id == asked.machine
    ]
    outputs = by_machine(views, made)
    kept = services().jobs.recent(SHOWN + 1, asked.machine, asked.outcome, asked.before)
    head = render_template(
        "jobs/head.html", sentence=sentence(views, outputs), hour=hour_words(outputs.values())
    ).strip()
    html = render_template(
        "jobs/now.html",
        asked=asked,
        working=tuple(working(views, made.usual_seconds)),
        finished=[finished(each) for each in kept[:SHOWN]],
        older=asked.query(before=kept[SHOWN - 1].key) if len(kept) > SHOWN else None,
    ).strip()
    return Now(token=hashlib.sha256((head + html).encode()).hexdigest()[:16], head=head, html=html)


def working(
    views: Sequence[MachineView], usual_seconds: Mapping[tuple[str, str], float]
) -> Iterator[Working]:
    """The servers that run a job, or for which some wait, by machine."""
    for view in sorted(views, key=lambda v: v.machine.id):
        if view.snapshot is None or view.verdict.state == "down":
            continue
        servers = view.snapshot.servers
        usual = {s.id: t for s in servers if (t := usual_seconds.get((view.machine.id, s.id)))}
        for server, line in zip(servers, server_lines(servers, usual), strict=True):
            if server.jobs or server.queue_running or server.queue_pending or server.stall:
                yield Working(
                    machine=view.machine.id, simulated=view.snapshot.simulated, server=line
                )


def sentence(views: Sequence[MachineView], outputs: Mapping[str, Output]) -> str:
    """What goes on now, in plain words: "3 jobs run, 14 wait."."""
    servers = [
        server
        for view in views
        if view.snapshot and view.verdict.state != "down"
        for server in view.snapshot.servers
    ]
    if not servers:
        return "No generation server is known."
    runs = sum(max(len(server.jobs), server.queue_running or 0) for server in servers)
    waits = sum(output.waiting or 0 for output in outputs.values())
    running = f"{runs} jobs run" if runs > 1 else "1 job runs" if runs else "No job runs"
    waiting = f"{waits} wait" if waits > 1 else "1 waits" if waits else "none waits"
    return f"{running}, {waiting}."
