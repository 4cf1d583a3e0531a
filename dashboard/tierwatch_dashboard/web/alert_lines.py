"""Alerts as the pages list them. Pure: alerts, silences and maintenance to lines of words.

Nothing here passes with time alone, so that equal lines mean that nothing needs to change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, tzinfo

import msgspec

from tierwatch_agent.wording import duration
from tierwatch_agent.words import commas, phrase, say, say_many
from tierwatch_dashboard.alerts import SEVERITIES, Alert, Severity, Silence, Window
from tierwatch_dashboard.alerts.board import AlertBoard, Origin, PastAlert
from tierwatch_dashboard.alerts.matchers import labels_of, matches, silenced_until, written
from tierwatch_dashboard.alerts.windows import is_open, machines_in_maintenance

BESIDE = frozenset({"machine", "tier"})
"""Labels that a line says elsewhere, or that its summary says."""

SEVERITY_WORDS: dict[Severity, str] = {
    "critical": say("critical"),
    "warning": say("warning"),
    "info": say("info"),
}

_DAYS = (
    say("Monday"),
    say("Tuesday"),
    say("Wednesday"),
    say("Thursday"),
    say("Friday"),
    say("Saturday"),
    say("Sunday"),
)


class AlertLine(msgspec.Struct, frozen=True, kw_only=True):
    """One alert of a list."""

    fingerprint: str
    rule: str
    severity: Severity
    machine: str | None
    labels: dict[str, str]
    about: str
    """Its further labels: "gpu 1, server comfyui-8188"."""
    summary: str
    todo: str
    since: float
    acknowledged_at: float | None
    acknowledged_by: str | None
    note: str | None
    silenced_until: float | None
    """When the last silence that holds it ends; None: none does."""
    in_maintenance: bool


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Every alert at one moment, each list worst first."""

    firing: tuple[AlertLine, ...] = ()
    """Those that people are to hear of."""
    quiet: tuple[AlertLine, ...] = ()
    """Those that fire while they are silenced, or their machine is in maintenance."""
    pending: tuple[AlertLine, ...] = ()
    """Those whose rule holds, and not for long enough yet."""


class PastLine(msgspec.Struct, frozen=True, kw_only=True):
    """One alert of the history."""

    line: AlertLine
    fired_at: float
    lasted: str | None
    """"12 min"; None: it fires still."""


class SilenceLine(msgspec.Struct, frozen=True, kw_only=True):
    """One silence of the list."""

    id: str
    matchers: str
    starts_at: float | None
    """None: it holds already."""
    ends_at: float
    created_by: str
    comment: str
    holds: int
    """How many alerts that fire now match it."""


class WindowLine(msgspec.Struct, frozen=True, kw_only=True):
    """One machine's maintenance."""

    id: str
    machine: str
    open: bool
    starts_at: float
    ends_at: float
    weekly: str | None
    """"every Tuesday, 02:00 to 04:30 (JST)", by the dashboard's own clock; None: it comes once."""
    created_by: str
    comment: str


def standing(board: AlertBoard, resting: Collection[str], now: float) -> Standing:
    """What the board holds, sorted for people; ``resting``: machines kept in maintenance."""
    silences = board.silences()
    resting = machines_in_maintenance(board.windows(), now) | set(resting)
    lines = {"firing": list[AlertLine](), "quiet": list[AlertLine](), "pending": list[AlertLine]()}
    for alert in sorted(board.current(), key=_worst_first):
        line = _line(alert, silences, resting, now)
        quiet = line.in_maintenance or line.silenced_until is not None
        kind = "pending" if alert.state == "pending" else "quiet" if quiet else "firing"
        lines[kind].append(line)
    return Standing(**{kind: tuple(found) for kind, found in lines.items()})


def of_machine(standing_now: Standing, machine: str) -> Standing:
    """The alerts of one machine."""

    def its(lines: Sequence[AlertLine]) -> tuple[AlertLine, ...]:
        return tuple(line for line in lines if line.machine == machine)

    return Standing(
        firing=its(standing_now.firing),
        quiet=its(standing_now.quiet),
        pending=its(standing_now.pending),
    )


def sentence(stands: Standing, origin: Origin | None) -> str:
    """The alerts in plain words: "3 alerts fire, 1 of them critical."."""
    if origin is not None and origin.heard_at is None:
        return say("Alerts are not known yet.")
    silent = origin is not None and origin.error is not None
    count = len(stands.firing)
    critical = sum(line.severity == "critical" for line in stands.firing)
    if not count:
        return say("No alert fired when last heard.") if silent else say("No alert fires.")
    fires = (
        say_many(
            "{count} alert fired when last heard", "{count} alerts fired when last heard", count
        )
        if silent
        else say_many("{count} alert fires", "{count} alerts fire", count)
    )
    if not critical and count == 1:
        return say("{alerts}.", alerts=fires)
    if not critical:
        return say("{alerts}, none of them critical.", alerts=fires)
    if critical == count:
        return say_many(
            "{alerts}, critical.", "{alerts}, all of them critical.", count, alerts=fires
        )
    return say("{alerts}, {critical} of them critical.", alerts=fires, critical=critical)


def beside(stands: Standing) -> str | None:
    """What else there is: "1 is acknowledged, 2 are kept quiet."; None: nothing."""
    known = sum(line.acknowledged_at is not None for line in stands.firing)
    parts = [
        (known, phrase("{count} is acknowledged"), phrase("{count} are acknowledged")),
        (len(stands.quiet), phrase("{count} is kept quiet"), phrase("{count} are kept quiet")),
        (
            len(stands.pending),
            phrase("{count} is not firing yet"),
            phrase("{count} are not firing yet"),
        ),
    ]
    told = commas([say_many(one, many, count) for count, one, many in parts if count])
    return say("{sentence}.", sentence=told) if told else None


def past(known: PastAlert) -> PastLine:
    """An alert of the history as a line."""
    alert = known.alert
    fired_at = alert.since if alert.fired_at is None else alert.fired_at
    over = alert.resolved_at
    return PastLine(
        line=_line(alert, (), (), fired_at),
        fired_at=fired_at,
        lasted=None if over is None else duration(max(0, over - fired_at)),
    )


def silence_lines(
    silences: Iterable[Silence], alerts: Sequence[Alert], now: float
) -> list[SilenceLine]:
    """Silences, the first to end first."""
    firing = [labels_of(alert) for alert in alerts if alert.state == "firing"]
    return [
        SilenceLine(
            id=silence.id,
            matchers=written(silence.matchers),
            starts_at=silence.starts_at if silence.starts_at > now else None,
            ends_at=silence.ends_at,
            created_by=silence.created_by,
            comment=silence.comment,
            holds=sum(matches(silence.matchers, labels) for labels in firing),
        )
        for silence in sorted(silences, key=lambda s: (s.ends_at, s.id))
    ]


def silence_sentence(lines: Sequence[SilenceLine]) -> str:
    """The silences in plain words: "2 silences hold, 1 is to come."."""
    coming = sum(line.starts_at is not None for line in lines)
    held = len(lines) - coming
    holds = (
        say_many("{count} silence holds", "{count} silences hold", held)
        if held
        else say("No silence holds")
    )
    if not coming:
        return say("{sentence}.", sentence=holds)
    more = say_many("{count} is to come", "{count} are to come", coming)
    return say("{sentence}.", sentence=commas([holds, more]))


def window_lines(
    windows: Iterable[Window], now: float, zone: tzinfo | None = None
) -> list[WindowLine]:
    """Maintenance by machine; ``zone``: whose clock a weekly one goes by, None: this computer's."""
    return [
        WindowLine(
            id=window.id,
            machine=window.machine,
            open=is_open(window, now, zone),
            starts_at=window.starts_at,
            ends_at=window.ends_at,
            weekly=_weekly(window, zone) if window.weekly else None,
            created_by=window.created_by,
            comment=window.comment,
        )
        for window in sorted(windows, key=lambda w: (w.machine, w.starts_at, w.id))
    ]


def _weekly(window: Window, zone: tzinfo | None) -> str:
    start = datetime.fromtimestamp(window.starts_at, zone).astimezone(zone)
    end = datetime.fromtimestamp(window.ends_at, zone).astimezone(zone)
    begins, ends, clock = f"{start:%H:%M}", f"{end:%H:%M}", start.tzname()
    day = _DAYS[start.weekday()]
    if start.date() == end.date():
        return say(
            "every {day}, {begins} to {ends} ({clock})",
            day=day,
            begins=begins,
            ends=ends,
            clock=clock,
        )
    return say(
        "every {day}, {begins} to {last_day}, {ends} ({clock})",
        day=day,
        begins=begins,
        last_day=_DAYS[end.weekday()],
        ends=ends,
        clock=clock,
    )


def _line(
    alert: Alert, silences: Sequence[Silence], resting: Collection[str], now: float
) -> AlertLine:
    machine = alert.labels.get("machine")
    return AlertLine(
        fingerprint=alert.fingerprint,
        rule=alert.rule,
        severity=alert.severity,
        machine=machine,
        labels=alert.labels,
        about=", ".join(f"{n} {v}" for n, v in sorted(alert.labels.items()) if n not in BESIDE),
        summary=alert.summary,
        todo=alert.todo,
        since=alert.since,
        acknowledged_at=alert.acknowledged_at,
        acknowledged_by=alert.acknowledged_by,
        note=alert.note,
        silenced_until=silenced_until(labels_of(alert), silences, now),
        in_maintenance=machine in resting,
    )


def _worst_first(alert: Alert) -> tuple[int, str, float, str]:
    return SEVERITIES.index(alert.severity), alert.rule, alert.since, alert.fingerprint
