"""The jobs page: what runs now across the fleet, what waits, and what is finished."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from flask import Blueprint, Response, render_template, request

from tierwatch_agent.snapshot import ServerSample
from tierwatch_agent.tiers import ladder
from tierwatch_agent.words import say, say_many
from tierwatch_dashboard.app import services
from tierwatch_dashboard.history.jobs import LOOKED_THROUGH
from tierwatch_dashboard.servers import title
from tierwatch_dashboard.web.available_then import available_then
from tierwatch_dashboard.web.finished import finished
from tierwatch_dashboard.web.job_filter import Asked, asked_for, sought, views_of
from tierwatch_dashboard.web.job_table import PAGE, table
from tierwatch_dashboard.web.making import OUTCOMES, ServerLine, server_lines
from tierwatch_dashboard.web.output import Output, by_machine, hour_words

if TYPE_CHECKING:
    from tierwatch_dashboard.fleet.state import MachineView

bp = Blueprint("jobs", __name__)

SHOWN = 50
"""Finished jobs on a page."""

OFFERED_MODELS = 100
LIVE_SECONDS = 2
LOOK_SECONDS = 15
"""How often an open page asks again, where jobs must be looked at one by one."""

_NONE_RUNS, _NONE_WAITS = say("No job runs"), say("none waits")


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


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to choose among."""

    machines: tuple[str, ...]
    tiers: tuple[str, ...]
    tags: tuple[str, ...]
    servers: tuple[str, ...]
    """Kinds."""
    models: tuple[str, ...]
    """Of the last hour, to be reminded of a name."""


@bp.get("/jobs")
def page() -> str:
    """The whole page; what it lists is in its address."""
    asked = asked_for()
    return render_template(
        "jobs/page.html",
        asked=asked,
        now=_now(asked),
        offered=_offered(),
        outcomes=OUTCOMES,
        title=title,
        every=LOOK_SECONDS if sought(asked).looks else LIVE_SECONDS,
    )


@bp.get("/jobs/now")
def now() -> Response:
    """The live parts: 204 where they say what the page has (``?since=``)."""
    found = _now(asked_for())
    if found.token == request.args.get("since"):
        return Response(status=204)
    return Response(render_template("jobs/changes.html", now=found), mimetype="text/html")


@bp.get("/jobs.csv")
def file() -> Response:
    """The finished jobs of the same address as a file, however many; ``before`` is left out."""
    asked = sought(asked_for())
    find = services().jobs.find
    return Response(
        table(lambda before: find(PAGE, asked, before)),
        mimetype="text/csv",
        headers={"Content-Disposition": 'attachment; filename="jobs.csv"'},
    )


def _now(asked: Asked) -> Now:
    made = services().last_hour.current
    views = views_of(asked)
    outputs = by_machine(views, made)
    kept = services().jobs.find(SHOWN + 1, sought(asked), asked.before)
    head = render_template(
        "jobs/head.html", sentence=sentence(views, outputs), hour=hour_words(outputs.values())
    ).strip()
    html = render_template(
        "jobs/now.html",
        asked=asked,
        working=tuple(working(views, made.usual_seconds, asked)),
        finished=[finished(each, available_then(each)) for each in kept[:SHOWN]],
        older=asked.query(before=kept[SHOWN - 1].key) if len(kept) > SHOWN else None,
        known=any(view.snapshot and view.snapshot.servers for view in services().state.views()),
        looked_through=LOOKED_THROUGH if sought(asked).looks else None,
    ).strip()
    token = hashlib.sha256((head + html).encode()).hexdigest()[:16]
    return Now(token=token, head=head, html=html)


def _offered() -> Offered:
    views = services().state.views()
    snapshots = [view.snapshot for view in views if view.snapshot]
    models = {job.model for each in snapshots for job in each.jobs}
    models |= {job.model for each in snapshots for server in each.servers for job in server.jobs}
    return Offered(
        machines=tuple(sorted(view.machine.id for view in views)),
        tiers=tuple(
            tier.name for tier in reversed(ladder(services().inventory_file.current.tiers))
        ),
        tags=tuple(sorted({tag for view in views for tag in view.machine.tags})),
        servers=tuple(sorted({server.kind for each in snapshots for server in each.servers})),
        models=tuple(sorted(model for model in models if model)[:OFFERED_MODELS]),
    )


def working(
    views: Sequence[MachineView], usual_seconds: Mapping[tuple[str, str], float], asked: Asked
) -> Iterator[Working]:
    """The servers that run a job, or for which some wait, by machine; of what is asked for.

    A span of time, an outcome and an error are of what is finished.
    """
    for view in sorted(views, key=lambda v: v.machine.id):
        if view.snapshot is None or view.verdict.state == "down":
            continue
        servers = view.snapshot.servers
        usual = {s.id: t for s in servers if (t := usual_seconds.get((view.machine.id, s.id)))}
        for server, line in zip(servers, server_lines(servers, usual), strict=True):
            busy = server.jobs or server.queue_running or server.queue_pending or server.stall
            if busy and _is_asked_for(server, asked):
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
        return say("No generation server is known.")
    runs = sum(max(len(server.jobs), server.queue_running or 0) for server in servers)
    waits = sum(output.waiting or 0 for output in outputs.values())
    return say(
        "{running}, {waiting}.",
        running=say_many("{count} job runs", "{count} jobs run", runs) if runs else _NONE_RUNS,
        waiting=say_many("{count} waits", "{count} wait", waits) if waits else _NONE_WAITS,
    )


def _is_asked_for(server: ServerSample, asked: Asked) -> bool:
    if asked.server not in (None, server.kind):
        return False
    part = (asked.model or "").lower()
    return not part or any(part in (job.model or "").lower() for job in server.jobs)
