"""The engine of alerts: findings and what was to what is and what is told of it. Pure.

``life`` says how an alert begins, lasts and ends; ``telling`` who hears of it when. Here is what
they have to agree on: a silence, a maintenance window or a worse alert of the same machine
(``inhibition``) mutes an alert for as long as it lasts. What is inhibited keeps its state besides,
since nothing is known of a job on a machine that is down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from tierwatch_dashboard.alerts import Alert, Finding, Silence
from tierwatch_dashboard.alerts.inhibition import Inhibited
from tierwatch_dashboard.alerts.life import begun, holds, is_quiet
from tierwatch_dashboard.alerts.matchers import labels_of, silenced_until
from tierwatch_dashboard.alerts.messages import Message
from tierwatch_dashboard.alerts.settings import AlertSettings
from tierwatch_dashboard.alerts.telling import tell


class Around(msgspec.Struct, frozen=True, kw_only=True):
    """What bears on alerts and is no finding."""

    silences: tuple[Silence, ...] = ()
    maintenance: frozenset[str] = frozenset()
    """Machines in maintenance."""
    unheard: frozenset[str] = frozenset()
    """Machines of which nothing is known yet, after a start: their alerts stay as they are."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the alerts, by fingerprint, and what is to be told of it."""

    alerts: dict[str, Alert]
    messages: tuple[Message, ...]


def step(
    alerts: Mapping[str, Alert],
    findings: Iterable[Finding],
    around: Around,
    settings: AlertSettings,
    now: float,
) -> Step:
    """One moment's step. ``alerts`` are those of the step before, ``findings`` all that hold."""
    holding = {finding.fingerprint: finding for finding in findings}
    inhibited = Inhibited(holding.values())
    living: dict[str, Alert] = {}
    for fingerprint, finding in holding.items():
        alert = alerts.get(fingerprint) or begun(finding, None, now)
        living[fingerprint] = holds(alert, finding, alert in inhibited, now)
    for fingerprint, alert in alerts.items():
        if fingerprint not in holding:
            still = is_quiet(alert, _is_known(alert, inhibited, around), now)
            if still is not None:
                living[fingerprint] = still
    muted = {
        fingerprint
        for fingerprint, alert in living.items()
        if _is_muted(alert, inhibited, around, now)
    }
    told, messages = tell(living, muted, settings, now)
    return Step(alerts=told, messages=messages)


def _is_known(alert: Alert, inhibited: Inhibited, around: Around) -> bool:
    """Whether that its rule does not hold says anything."""
    if alert.labels.get("machine") in around.unheard:
        return False
    return not (alert.state == "firing" and alert in inhibited)


def _is_muted(alert: Alert, inhibited: Inhibited, around: Around, now: float) -> bool:
    if alert.labels.get("machine") in around.maintenance:
        return True
    if alert.state != "resolved" and alert in inhibited:
        return True
    return silenced_until(labels_of(alert), around.silences, now) is not None
