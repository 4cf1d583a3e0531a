"""One alert's life from one moment to the next. Pure.

A rule that holds makes an alert *pending*, one that held for its ``for`` *firing*. It fires on
until the rule has been quiet for ``RESOLVE_SECONDS``; then it is *resolved*. One that comes back
within ``RECENT_SECONDS`` has to be quiet twice as long the next time, and so on up to
``RESOLVE_SECONDS_AT_MOST``: what flaps is told a few times, and then as one that lasts.
"""

from __future__ import annotations

from msgspec.structs import replace

from tierwatch_dashboard.alerts import SEVERITIES, Alert, Finding

RESOLVE_SECONDS = 30.0
RESOLVE_SECONDS_AT_MOST = 960.0
RECENT_SECONDS = 3600.0


def hold_seconds(recurrences: int) -> float:
    """How long a rule must be quiet before its alert is over."""
    return min(RESOLVE_SECONDS * 2**recurrences, RESOLVE_SECONDS_AT_MOST)


def begun(finding: Finding, before: Alert | None, now: float) -> Alert:
    """A finding's alert as it begins; ``before``: its last life, where that is not long over."""
    return Alert(
        fingerprint=finding.fingerprint,
        rule=finding.rule,
        severity=finding.severity,
        labels=finding.labels,
        summary=finding.summary,
        todo=finding.todo,
        state="pending",
        since=now,
        # Of a pending alert: when its last life ended. A relapse is counted once it fires.
        resolved_at=before.resolved_at if before else None,
        recurrences=before.recurrences if before else 0,
    )


def holds(alert: Alert, finding: Finding, held_back: bool, now: float) -> Alert:
    """The alert where its rule holds now. ``held_back``: it must not begin to fire."""
    if alert.state == "resolved" and not alert.told_to:
        alert = begun(finding, alert, now)
    if _is_worse(finding, alert):
        alert = replace(alert, acknowledged_at=None, acknowledged_by=None, note=None, told_to=())
    alert = replace(alert, severity=finding.severity, summary=finding.summary, todo=finding.todo)
    match alert.state:
        case "firing":
            return replace(alert, quiet_since=None)
        case "resolved":
            # It is back before anyone was told that it was over: the same life goes on.
            return replace(alert, state="firing", resolved_at=None, waiting_since=None)
        case "pending":
            if held_back or now - alert.since < finding.for_seconds:
                return alert
            again = alert.resolved_at is not None
            return replace(
                alert,
                state="firing",
                fired_at=now,
                resolved_at=None,
                recurrences=alert.recurrences + again,
            )


def is_quiet(alert: Alert, is_known: bool, now: float) -> Alert | None:
    """The alert where its rule does not hold now; None: it leaves no trace.

    ``is_known``: whether that says anything; where it does not the alert stays as it is.
    """
    if not is_known:
        return alert
    match alert.state:
        case "pending":
            return None if alert.resolved_at is None else replace(alert, state="resolved")
        case "firing":
            since = now if alert.quiet_since is None else alert.quiet_since
            if now - since < hold_seconds(alert.recurrences):
                return replace(alert, quiet_since=since)
            return replace(
                alert, state="resolved", resolved_at=since, quiet_since=None, waiting_since=None
            )
        case "resolved":
            ended_at = alert.since if alert.resolved_at is None else alert.resolved_at
            return alert if alert.told_to or now - ended_at < RECENT_SECONDS else None


def _is_worse(finding: Finding, alert: Alert) -> bool:
    return SEVERITIES.index(finding.severity) < SEVERITIES.index(alert.severity)
