"""What happened on a machine, on the axis of its charts: its states, alerts and jobs. Pure.

A lane each, of bars along the axis. Colour is never the only sign: a state's bar has a pattern, and
what ended badly a mark of its own shape. Everything is bounded, however long the span.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tierwatch_agent.wording import duration
from tierwatch_agent.words import commas, say, say_many
from tierwatch_dashboard.alerts import Alert
from tierwatch_dashboard.changes import StateChange
from tierwatch_dashboard.charts.drawing import Figure, Look, Pane, Sign, layout
from tierwatch_dashboard.charts.drawing import milliseconds as ms
from tierwatch_dashboard.charts.spans import Span
from tierwatch_dashboard.charts.styles import (
    OUTCOMES,
    RUNNING,
    SEVERITIES,
    STATES,
    Style,
    sign_of,
)
from tierwatch_dashboard.history.job_spans import JobSpan
from tierwatch_dashboard.verdict import WORST_FIRST

MOST_JOBS = 240
MOST_ALERTS = 150
MOST_STATES = 240
"""Bars of a lane; more are put together."""

_LANE_PIXELS = 22
_SHORTEST = 1 / 500
"""Of the span: what is shorter is drawn this long, so that it can be seen."""
_ROWS = 3
"""Alerts at one time that have a row of their own in their lane."""


class RunningSpan(msgspec.Struct, frozen=True, kw_only=True):
    """A job that runs now. Unix seconds."""

    start: float
    gpu: str | None = None
    """Its UUID."""
    model: str | None = None
    width: int | None = None
    height: int | None = None


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """What happened on a machine in a span."""

    states: Sequence[StateChange] = ()
    """Oldest first; the one before the span leads."""
    alerts: Sequence[Alert] = ()
    jobs: Sequence[JobSpan] = ()
    running: Sequence[RunningSpan] = ()
    gpus: Mapping[str, str] = {}
    """UUID to index, of the machine's GPUs in their order."""


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, as a Plotly figure with its legend and a sentence."""

    data: list[Figure]
    layout: Figure
    legend: list[Sign]
    sentence: str


class _Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One bar of a lane: Unix seconds, its height within the lanes, and what is said of it."""

    start: float
    end: float
    y: float
    words: str


def timeline(happened: Happened, span: Span, now: float, look: Look) -> Timeline:
    """The figure of a machine; ``now``: to where what still lasts is drawn."""
    until = min(now, span.end)
    lanes: dict[str, Pane] = {}
    data: list[Figure] = []
    legend: list[Sign] = []

    def put(title: str, styles: Mapping[str, Style], bars: Mapping[str, list[_Bar]]) -> None:
        axis = f"y{len(lanes) + 1}" if lanes else "y"
        lanes[axis] = Pane(title=title, pixels=_LANE_PIXELS, bounds=(0, 1), ticks=0)
        for kind, style in styles.items():
            if bars.get(kind):
                data.extend(_traces(bars[kind], style, axis, span, look))
                sign = sign_of(style, look)
                if sign not in legend:
                    legend.append(sign)

    states = _state_bars(happened.states, span, until, look)
    if states:
        put(say("Verdict"), STATES, states)
    if happened.alerts:
        put(say("Alerts"), SEVERITIES, _alert_bars(happened.alerts, span, until, look))
    for title, jobs, running in _job_lanes(happened):
        put(title, OUTCOMES, _job_bars(jobs, running, span, until, look))
    made = layout(lanes, span, look)
    for axis in lanes:
        made[axis.replace("y", "yaxis")] |= {"visible": False}  # type: ignore[operator]
    made |= {"hovermode": "closest", "barmode": "overlay"}
    return Timeline(
        data=data,
        layout=made,
        legend=legend,
        sentence=look.spoken(_sentence(happened.jobs)),
    )


def _traces(
    bars: Sequence[_Bar], style: Style, axis: str, span: Span, look: Look
) -> Iterable[Figure]:
    colour: str = getattr(look.theme, style.colour)
    said = {
        "name": look.spoken(style.words),
        "yaxis": axis,
        "y": [bar.y for bar in bars],
        "hovertext": [bar.words for bar in bars],
    }
    yield {
        "type": "bar",
        "orientation": "h",
        **said,
        "base": [ms(bar.start) for bar in bars],
        "x": [ms(max(bar.end - bar.start, span.seconds * _SHORTEST)) for bar in bars],
        "width": 0.3 if style in SEVERITIES.values() else 0.7,
        "marker": {
            "color": colour,
            "line": {"width": 0},
            "pattern": {
                "shape": style.pattern,
                "fgcolor": look.theme.paper,
                "fillmode": "overlay",
                "size": 6,
                "solidity": 0.2,
            },
        },
        "hovertemplate": "%{hovertext}<br>%{base|%-d %b %H:%M:%S}<extra></extra>",
    }
    if style.mark:
        at_end = style not in SEVERITIES.values()
        yield {
            "type": "scatter",
            "mode": "markers",
            **said,
            "x": [ms(bar.end if at_end else bar.start) for bar in bars],
            "marker": {
                "symbol": style.mark,
                "size": 9,
                "color": colour,
                "line": {"color": colour if "open" in style.mark else look.theme.paper, "width": 1},
            },
            "hovertemplate": "%{hovertext}<br>%{x|%-d %b %H:%M:%S}<extra></extra>",
        }


def _state_bars(
    changes: Sequence[StateChange], span: Span, until: float, look: Look
) -> dict[str, list[_Bar]]:
    bars: dict[str, list[_Bar]] = {}
    for start, end, change in _stretches(changes, span, until):
        words = say(
            "{state}, {lasted}: {headline}",
            state=STATES[change.state].words,
            lasted=duration(end - start),
            headline=change.headline,
        )
        bars.setdefault(change.state, []).append(
            _Bar(start=start, end=end, y=0.5, words=look.spoken(words))
        )
    return bars


def _stretches(
    changes: Sequence[StateChange], span: Span, until: float
) -> list[tuple[float, float, StateChange]]:
    """From when to when each state held. Of too many, the worst of each of equal parts."""
    ends = [*(change.at for change in changes[1:]), until]
    found = [
        (max(span.start, change.at), min(end, until), change)
        for change, end in zip(changes, ends, strict=False)
        if end > span.start and change.at < until
    ]
    if len(found) <= MOST_STATES:
        return found
    width = span.seconds / MOST_STATES
    worst: dict[int, StateChange] = {}
    for start, end, change in found:
        for part in range(int((start - span.start) / width), int((end - span.start) / width) + 1):
            known = worst.get(part)
            if known is None or _rank(change) < _rank(known):
                worst[part] = change
    return [
        (span.start + part * width, min(until, span.start + (part + 1) * width), change)
        for part, change in sorted(worst.items())
    ]


def _rank(change: StateChange) -> int:
    return WORST_FIRST.index(change.state)


def _alert_bars(
    alerts: Sequence[Alert], span: Span, until: float, look: Look
) -> dict[str, list[_Bar]]:
    bars: dict[str, list[_Bar]] = {}
    rows = [0.0] * _ROWS
    for alert in sorted(alerts, key=_began):
        start, end = _began(alert), alert.resolved_at or until
        row = next((place for place, taken in enumerate(rows) if taken <= start), 0)
        rows[row] = end
        words = (
            say("{rule}, lasts: {summary}", rule=alert.rule, summary=alert.summary)
            if alert.resolved_at is None
            else say(
                "{rule}, {lasted}: {summary}",
                rule=alert.rule,
                lasted=duration(end - start),
                summary=alert.summary,
            )
        )
        bars.setdefault(alert.severity, []).append(
            _Bar(
                start=max(span.start, start),
                end=min(end, until),
                y=1 - (row + 0.5) / _ROWS,
                words=look.spoken(words),
            )
        )
    return bars


def _began(alert: Alert) -> float:
    return alert.since if alert.fired_at is None else alert.fired_at


def _job_lanes(
    happened: Happened,
) -> Sequence[tuple[str, Sequence[JobSpan], Sequence[RunningSpan]]]:
    """A lane for each GPU, where there are several that jobs are known to run on."""
    gpus = happened.gpus
    known = {each.gpu for each in (*happened.jobs, *happened.running)}
    if len(gpus) < 2 or not known & gpus.keys():
        return [(say("Jobs"), happened.jobs, happened.running)]
    lanes = [
        (
            say("Jobs on GPU {gpu}", gpu=index),
            [job for job in happened.jobs if job.gpu == uuid],
            [job for job in happened.running if job.gpu == uuid],
        )
        for uuid, index in gpus.items()
    ]
    if known - gpus.keys():
        lanes.append(
            (
                say("Jobs, not known where"),
                [job for job in happened.jobs if job.gpu not in gpus],
                [job for job in happened.running if job.gpu not in gpus],
            )
        )
    return lanes


def _job_bars(
    jobs: Sequence[JobSpan],
    running: Sequence[RunningSpan],
    span: Span,
    until: float,
    look: Look,
) -> dict[str, list[_Bar]]:
    bars: dict[str, list[_Bar]] = {}
    for job in jobs:
        bars.setdefault(job.outcome, []).append(
            _Bar(
                start=max(span.start, job.start),
                end=min(span.end, job.end),
                y=0.5,
                words=look.spoken(_job_words(job)),
            )
        )
    bars[RUNNING] = [
        _Bar(
            start=max(span.start, job.start),
            end=until,
            y=0.5,
            words=look.spoken(say("{what}: running", what=_what(job))),
        )
        for job in running
        if job.start < until
    ]
    return bars


def _job_words(job: JobSpan) -> str:
    outcome = OUTCOMES[job.outcome].words
    took = job.duration_seconds
    if job.count > 1:
        if took is None:
            return say("{count} jobs: {outcome}", count=job.count, outcome=outcome)
        return say(
            "{count} jobs: {outcome}, {took} each on average",
            count=job.count,
            outcome=outcome,
            took=duration(took),
        )
    if took is None:
        return say("{what}: {outcome}", what=_what(job), outcome=outcome)
    return say(
        "{what}: {outcome} after {took}", what=_what(job), outcome=outcome, took=duration(took)
    )


def _what(job: JobSpan | RunningSpan) -> str:
    size = f"{job.width} × {job.height}" if job.width and job.height else ""
    return " ".join(part for part in (job.model or "", size) if part) or say("a job")


def _sentence(jobs: Sequence[JobSpan]) -> str:
    counts = {
        outcome: sum(job.count for job in jobs if job.outcome == outcome) for outcome in OUTCOMES
    }
    if not any(counts.values()):
        return say("No job ended.")
    done = say_many("{count} job done", "{count} jobs done", counts["success"])
    others = [
        say("{count} {outcome}", count=counts[outcome], outcome=OUTCOMES[outcome].words)
        for outcome in ("error", "oom", "interrupted")
        if counts[outcome]
    ]
    if not others:
        return say("{done}, none failed.", done=done)
    return say("{done}, {others}.", done=done, others=commas(others))
