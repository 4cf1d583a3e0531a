"""Who is to be told of which alerts now, in which messages. Pure.

Alerts of one rule that one receiver is to hear of are a group. Its message goes out once nothing
has joined it for ``group_wait_seconds``, so that a rack that dies within seconds is one message.
The end is told to those who were told of the beginning; an end that is muted is told to nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from msgspec.structs import replace

from tierwatch_dashboard.alerts import SEVERITIES, Alert
from tierwatch_dashboard.alerts import messages as words
from tierwatch_dashboard.alerts.messages import Message
from tierwatch_dashboard.alerts.settings import AlertSettings

LONGEST_WAITS = 10
"""A group's message goes out after so many of its waits though others keep joining."""

EARLY_SECONDS = 0.25
"""So much of a wait may be left. Steps come a second apart, give or take: one that comes a moment
early must not cost another second."""


def tell(
    alerts: Mapping[str, Alert], muted: Collection[str], settings: AlertSettings, now: float
) -> tuple[dict[str, Alert], tuple[Message, ...]]:
    """The alerts, each knowing who was told, and the messages. ``muted``: fingerprints."""
    told = {
        fingerprint: _prepared(alert, fingerprint in muted, settings, now)
        for fingerprint, alert in alerts.items()
    }
    audible = [alert for fingerprint, alert in told.items() if fingerprint not in muted]
    messages: list[Message] = []
    for name, group in _groups((alert, _untold(alert, settings)) for alert in audible):
        if not _is_complete(group, settings.group_wait_seconds, now):
            continue
        over = group[0].state == "resolved"
        messages.append(words.resolved(name, group) if over else words.firing(name, group))
        for alert in group:
            before = told[alert.fingerprint]
            told[alert.fingerprint] = (
                replace(before, told_to=tuple(other for other in before.told_to if other != name))
                if over
                else replace(before, told_to=(*before.told_to, name), told_at=now)
            )
    for name, group in _groups((alert, _believers(alert, settings)) for alert in audible):
        if 0 < settings.repeat_seconds <= now - min(alert.told_at or now for alert in group):
            messages.append(words.firing(name, group, repeat=True))
            for alert in group:
                told[alert.fingerprint] = replace(told[alert.fingerprint], told_at=now)
    return told, tuple(messages)


def _prepared(alert: Alert, is_muted: bool, settings: AlertSettings, now: float) -> Alert:
    """The alert with its wait begun or ended, and without those who want to hear of no end."""
    if alert.state == "resolved":
        listening = {each.name for each in settings.receivers if each.resolved and not is_muted}
        alert = replace(alert, told_to=tuple(n for n in alert.told_to if n in listening))
    untold = bool(_untold(alert, settings))
    if is_muted or not (untold or alert.quiet_since is not None):
        return replace(alert, waiting_since=None)
    if untold and alert.waiting_since is None:
        return replace(alert, waiting_since=now)
    return alert


def _untold(alert: Alert, settings: AlertSettings) -> tuple[str, ...]:
    """The receivers that have something new to hear of an alert."""
    if alert.state == "resolved":
        return alert.told_to
    return tuple(name for name in _concerned(alert, settings) if name not in alert.told_to)


def _believers(alert: Alert, settings: AlertSettings) -> tuple[str, ...]:
    """The receivers that know that an alert fires, and are to be reminded in time."""
    return tuple(name for name in _concerned(alert, settings) if name in alert.told_to)


def _concerned(alert: Alert, settings: AlertSettings) -> tuple[str, ...]:
    """The receivers that an alert is for while nobody looks after it."""
    if alert.state != "firing" or alert.acknowledged_at is not None:
        return ()
    if alert.quiet_since is not None:
        return ()
    receivers = settings.receivers_of(alert.rule, alert.severity, alert.labels)
    return tuple(receiver.name for receiver in receivers)


def _groups(
    alerts: Iterable[tuple[Alert, tuple[str, ...]]],
) -> Iterator[tuple[str, list[Alert]]]:
    """Each receiver's alerts of one rule and state: what is over first, then the worst first."""
    groups: dict[tuple[bool, str, str], list[Alert]] = {}
    for alert, names in alerts:
        for name in names:
            groups.setdefault((alert.state != "resolved", alert.rule, name), []).append(alert)
    for (_fires, _rule, name), group in sorted(groups.items(), key=_urgency):
        yield name, sorted(group, key=_place)


def _urgency(item: tuple[tuple[bool, str, str], list[Alert]]) -> tuple[bool, int, str, str]:
    (fires, rule, name), group = item
    return fires, min(SEVERITIES.index(alert.severity) for alert in group), rule, name


def _place(alert: Alert) -> tuple[int, list[tuple[str, str]]]:
    return SEVERITIES.index(alert.severity), sorted(alert.labels.items())


def _is_complete(group: list[Alert], wait: float, now: float) -> bool:
    since = [now if alert.waiting_since is None else alert.waiting_since for alert in group]
    enough = now + EARLY_SECONDS
    return enough - max(since) >= wait or enough - min(since) >= wait * LONGEST_WAITS
