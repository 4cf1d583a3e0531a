"""A machine's past as Plotly figures, in the viewer's language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from flask import Blueprint, abort, request
from werkzeug.wrappers import Response

from tierwatch_agent.snapshot import GpuSample, MachineSnapshot, ServerSample
from tierwatch_agent.tiers import Tier
from tierwatch_dashboard.alerts import Alert
from tierwatch_dashboard.app import services
from tierwatch_dashboard.charts.drawing import Look
from tierwatch_dashboard.charts.gpu import GpuChart, gpu_chart
from tierwatch_dashboard.charts.spans import DEFAULT_RANGE, RANGES, Span, SpanError, asked
from tierwatch_dashboard.charts.theme import THEMES
from tierwatch_dashboard.charts.timeline import (
    MOST_ALERTS,
    MOST_JOBS,
    Happened,
    RunningSpan,
    Timeline,
    timeline,
)
from tierwatch_dashboard.history.holdings import Holding
from tierwatch_dashboard.web import answers
from tierwatch_dashboard.web.language import spoken
from tierwatch_dashboard.web.machine import view_of
from tierwatch_dashboard.web.openapi import Parameter, answers_with

if TYPE_CHECKING:
    from tierwatch_dashboard.fleet.state import MachineView

bp = Blueprint("charts", __name__, url_prefix="/api/v1/machines/<machine_id>")


SPAN = (
    Parameter(
        name="range",
        words="how far back",
        schema={"type": "string", "enum": list(RANGES), "default": DEFAULT_RANGE},
    ),
    Parameter(
        name="from",
        words="Unix seconds; with to, in place of a range",
        schema={"type": "number", "minimum": 0},
    ),
    Parameter(
        name="to",
        words="Unix seconds, from 60 s to 90 days after from",
        schema={"type": "number", "minimum": 0},
    ),
)


class ChartsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A machine's past over one span: a figure of what happened, and one of each GPU."""

    range: str | None
    """The range that moves with now; null: the span stays."""
    start_at: float
    end_at: float
    refresh_seconds: float | None
    """How often it is worth asking again; null: never."""
    timeline: Timeline
    figures: list[GpuChart]


@bp.get("/charts")
@answers_with(
    ChartsAnswer,
    *SPAN,
    Parameter(
        name="theme",
        words="the colours",
        schema={"type": "string", "enum": list(THEMES), "default": "light"},
    ),
    unchanged=True,
)
def charts(machine_id: str) -> Response:
    """Plotly figures of a machine's past; their words are in the asker's language."""
    view = view_of(machine_id)
    theme = request.args.get("theme", "light")
    if theme not in THEMES:
        abort(400, f"theme must be one of {', '.join(THEMES)}; it is {theme}")
    now = services().now()
    try:
        span = asked(request.args, now)
    except SpanError as error:
        abort(400, error.args[0])
    look = Look(theme=THEMES[theme], spoken=spoken)
    answer = answers.json(
        ChartsAnswer(
            range=span.range,
            start_at=span.start,
            end_at=span.end,
            refresh_seconds=span.refresh_seconds,
            timeline=timeline(_happened(view, span), span, now, look),
            figures=_figures(view, span, look),
        )
    )
    answer.vary.update(("Cookie", "Accept-Language"))
    answer.add_etag()
    return answer.make_conditional(request)


def _figures(view: MachineView, span: Span, look: Look) -> list[GpuChart]:
    machine = view.machine.id
    found = services().history.series(machine, span.start, span.end)
    past = services().past
    resolution = max((series.resolution_seconds for series in found), default=0)
    holdings: Sequence[Holding] = (
        () if past is None else past.holdings(machine, span.start, span.end, resolution or 1)
    )
    tiers = {tier.name: tier for tier in services().inventory_file.current.tiers}
    floors = _floors(view, tiers)
    slowdown = {gpu.index: gpu.slowdown_celsius for gpu in _gpus(view)}
    return [
        gpu_chart(
            series,
            [each for each in holdings if each.holder.gpu == series.gpu],
            floors.get(series.gpu),
            slowdown.get(series.gpu),
            span,
            look,
        )
        for series in found
    ]


def _happened(view: MachineView, span: Span) -> Happened:
    machine, past = view.machine.id, services().past
    gpus = {gpu.uuid: gpu.index for gpu in _gpus(view) if not gpu.partitioned}
    running = _running(view)
    if past is None:
        return Happened(gpus=gpus, running=running, alerts=_alerts(machine, span))
    return Happened(
        states=past.states(machine, span.start, span.end),
        alerts=_alerts(machine, span),
        jobs=past.jobs(machine, span.start, span.end, MOST_JOBS),
        running=running,
        gpus=gpus,
    )


def _alerts(machine: str, span: Span) -> Sequence[Alert]:
    kept = services().alerts
    if kept is None:
        return ()
    return kept.board.during(machine, span.start, span.end, MOST_ALERTS)


def _running(view: MachineView) -> list[RunningSpan]:
    if view.snapshot is None or view.verdict.state == "down":
        return []
    return [
        RunningSpan(
            start=job.started_at,
            gpu=_gpu_of(server, view.snapshot),
            model=job.model,
            width=job.width,
            height=job.height,
        )
        for server in view.snapshot.servers
        for job in server.jobs
        if job.started_at is not None
    ]


def _gpu_of(server: ServerSample, snapshot: MachineSnapshot) -> str | None:
    """Where a server runs its jobs: as it tells, else where its last one ran."""
    if server.gpus:
        return server.gpus[0]
    last = (job.gpu for job in reversed(snapshot.jobs) if job.server == server.id)
    return next(last, None)


def _gpus(view: MachineView) -> Sequence[GpuSample]:
    return view.snapshot.gpus if view.snapshot else ()


def _floors(view: MachineView, tiers: dict[str, Tier]) -> dict[str, Tier]:
    return {gpu.gpu: tiers[gpu.tier] for gpu in view.verdict.gpus if gpu.tier and gpu.tier in tiers}
