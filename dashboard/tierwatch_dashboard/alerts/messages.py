"""What a receiver is told: a group of alerts of one rule as one message in plain words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Literal

import msgspec

from tierwatch_agent.words import lines, paragraph, phrase, say, say_many
from tierwatch_dashboard.alerts import SEVERITIES, Alert, Severity
from tierwatch_dashboard.reasons import sentence

LISTED = 8
"""Alerts that a message tells one by one; of the others it gives the machines."""

NAMED = 40
"""Machines that a message names at most beyond those: chat programs cut long messages."""

_FIRST: dict[Severity, str] = {
    "critical": phrase("Critical: {what}"),
    "warning": phrase("Warning: {what}"),
    "info": phrase("Info: {what}"),
}
_AGAIN: dict[Severity, str] = {
    "critical": phrase("Still critical: {what}"),
    "warning": phrase("Still warning: {what}"),
    "info": phrase("Still info: {what}"),
}

Kind = Literal["firing", "repeat", "resolved", "test"]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one receiver, as it waits in the outbox."""

    receiver: str
    """Its name in the settings, never its URL."""
    kind: Kind
    severity: Severity
    title: str
    body: str
    """Plain text."""


def firing(receiver: str, alerts: Sequence[Alert], *, repeat: bool = False) -> Message:
    """That alerts of one rule fire, or still do."""
    worst = _worst(alerts)
    what = say("{rule}: {subject}", rule=alerts[0].rule, subject=_subject(alerts))
    told = [*map(_told, alerts[:LISTED]), *_rest(alerts)]
    todos = _todos(alerts)
    return Message(
        receiver=receiver,
        kind="repeat" if repeat else "firing",
        severity=worst,
        title=say((_AGAIN if repeat else _FIRST)[worst], what=what),
        body=lines([*told, "", *todos] if todos else told),
    )


def resolved(receiver: str, alerts: Sequence[Alert], zone: tzinfo | None = None) -> Message:
    """That alerts of one rule are over. ``zone``: whose clock it tells; None: this computer's."""
    worst = _worst(alerts)
    told = [_over(alert, zone) for alert in alerts[:LISTED]]
    return Message(
        receiver=receiver,
        kind="resolved",
        severity=worst,
        title=say("Over: {rule}: {subject}", rule=alerts[0].rule, subject=_subject(alerts)),
        body=lines([*told, *_rest(alerts)]),
    )


def late(message: Message, made_at: float, zone: tzinfo | None = None) -> Message:
    """A message that could not be delivered at once, and says from when it is."""
    made = datetime.fromtimestamp(made_at, zone)
    late = say("Delivered late: this is from {when}.", when=f"{made:%Y-%m-%d %H:%M:%S}")
    return msgspec.structs.replace(message, body=lines((message.body, "", late)))


def test(receiver: str) -> Message:
    """A message that shows that a receiver can be reached."""
    return Message(
        receiver=receiver,
        kind="test",
        severity="info",
        title=say("Tierwatch: a test"),
        body=say(
            'This is what reaches the receiver "{receiver}". Nothing is wrong.', receiver=receiver
        ),
    )


def _worst(alerts: Sequence[Alert]) -> Severity:
    found = {alert.severity for alert in alerts}
    return next(severity for severity in SEVERITIES if severity in found)


def _subject(alerts: Sequence[Alert]) -> str:
    machines = _machines(alerts)
    if not machines:
        return say("the dashboard")
    if len(machines) == 1:
        return machines[0]
    return say_many("{count} machine", "{count} machines", len(machines))


def _machines(alerts: Sequence[Alert]) -> list[str]:
    """Each once, in the order of the alerts."""
    return list(dict.fromkeys(a.labels["machine"] for a in alerts if "machine" in a.labels))


def _told(alert: Alert) -> str:
    match alert.recurrences:
        case 0:
            return alert.summary
        case 1:
            back = say("It came back soon after it was over.")
        case 2:
            back = say("It came back twice in short order.")
        case count:
            back = say("It came back {count} times in short order.", count=count)
    return paragraph((sentence(alert.summary), back))


def _over(alert: Alert, zone: tzinfo | None) -> str:
    where = alert.labels.get("machine")
    end = alert.resolved_at or alert.since
    lasted = _length(end - alert.since)
    until = datetime.fromtimestamp(end, zone)
    words = say("over since {time}, after {span}.", time=f"{until:%H:%M:%S}", span=lasted)
    return say("{machine}: {over}", machine=where, over=words) if where else words


def _length(seconds: float) -> str:
    if seconds < 90:
        return say("{count} s", count=f"{seconds:.0f}")
    if seconds < 5400:
        return say("{count} min", count=f"{seconds / 60:.0f}")
    return say("{count} h", count=f"{seconds / 3600:.1f}")


def _rest(alerts: Sequence[Alert]) -> list[str]:
    rest = _machines(alerts[LISTED:])
    if not rest:
        return []
    names = ", ".join(rest[:NAMED])
    if len(rest) > NAMED:
        more = say("{count} more", count=len(rest) - NAMED)
        names = say("{others} and {last}", others=names, last=more)
    return [say("And {count} more: {names}.", count=len(rest), names=names)]


def _todos(alerts: Sequence[Alert]) -> list[str]:
    """What to do, each advice once."""
    return list(dict.fromkeys(alert.todo for alert in alerts[:LISTED] if alert.todo))
