"""What a receiver is told: a group of alerts of one rule as one message in plain words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Literal

import msgspec

from tierwatch_dashboard.alerts import SEVERITIES, Alert, Severity

LISTED = 8
"""Alerts that a message tells one by one; of the others it gives the machines."""

NAMED = 40
"""Machines that a message names at most beyond those: chat programs cut long messages."""

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
    what = f"{alerts[0].rule}: {_subject(alerts)}"
    lines = [_told(alert) for alert in alerts[:LISTED]]
    return Message(
        receiver=receiver,
        kind="repeat" if repeat else "firing",
        severity=worst,
        title=f"Still {worst}: {what}" if repeat else f"{worst.capitalize()}: {what}",
        body="\n".join([*lines, *_rest(alerts), "", *_todos(alerts)]).strip(),
    )


def resolved(receiver: str, alerts: Sequence[Alert], zone: tzinfo | None = None) -> Message:
    """That alerts of one rule are over. ``zone``: whose clock it tells; None: this computer's."""
    worst = _worst(alerts)
    lines = [_over(alert, zone) for alert in alerts[:LISTED]]
    return Message(
        receiver=receiver,
        kind="resolved",
        severity=worst,
        title=f"Over: {alerts[0].rule}: {_subject(alerts)}",
        body="\n".join([*lines, *_rest(alerts)]),
    )


def late(message: Message, made_at: float, zone: tzinfo | None = None) -> Message:
    """A message that could not be delivered at once, and says from when it is."""
    made = datetime.fromtimestamp(made_at, zone)
    body = f"{message.body}\n\nDelivered late: this is from {made:%Y-%m-%d %H:%M:%S}."
    return msgspec.structs.replace(message, body=body)


def test(receiver: str) -> Message:
    """A message that shows that a receiver can be reached."""
    return Message(
        receiver=receiver,
        kind="test",
        severity="info",
        title="Tierwatch: a test",
        body=f'This is what reaches the receiver "{receiver}". Nothing is wrong.',
    )


def _worst(alerts: Sequence[Alert]) -> Severity:
    found = {alert.severity for alert in alerts}
    return next(severity for severity in SEVERITIES if severity in found)


def _subject(alerts: Sequence[Alert]) -> str:
    machines = _machines(alerts)
    if not machines:
        return "the dashboard"
    return machines[0] if len(machines) == 1 else f"{len(machines)} machines"


def _machines(alerts: Sequence[Alert]) -> list[str]:
    """Each once, in the order of the alerts."""
    return list(dict.fromkeys(a.labels["machine"] for a in alerts if "machine" in a.labels))


def _told(alert: Alert) -> str:
    again = f" It came back {_times(alert.recurrences)}." if alert.recurrences else ""
    return f"{alert.summary}{again}"


def _times(count: int) -> str:
    return {1: "soon after it was over", 2: "twice in short order"}.get(
        count, f"{count} times in short order"
    )


def _over(alert: Alert, zone: tzinfo | None) -> str:
    where = alert.labels.get("machine")
    end = alert.resolved_at or alert.since
    lasted = _length(end - alert.since)
    until = datetime.fromtimestamp(end, zone)
    return f"{f'{where}: ' if where else ''}over since {until:%H:%M:%S}, after {lasted}."


def _length(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _rest(alerts: Sequence[Alert]) -> list[str]:
    rest = _machines(alerts[LISTED:])
    if not rest:
        return []
    more = f" and {len(rest) - NAMED} more" if len(rest) > NAMED else ""
    return [f"And {len(rest)} more: {', '.join(rest[:NAMED])}{more}."]


def _todos(alerts: Sequence[Alert]) -> list[str]:
    """What to do, each advice once."""
    return list(dict.fromkeys(alert.todo for alert in alerts[:LISTED] if alert.todo))
