"""Alerts: what is wrong with a machine, who is to hear of it, and what became of it.

One way only: views of the fleet → findings (``rules.py``, pure) → alerts with a life of their own
(``engine.py``, pure; ``store.py`` keeps them) → messages in a durable outbox (``outbox.py``) → the
receivers (``receivers.py``, through Apprise). A rule stands once and has two forms, a function of a
machine's view and a PromQL expression, with the same labels and summary.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

Severity = Literal["info", "warning", "critical"]
AlertState = Literal["pending", "firing", "resolved"]

SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")
"""Worst first."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """That a rule holds for something at one moment."""

    rule: str
    """The rule's name: "MachineBelowTier"."""
    severity: Severity
    for_seconds: float
    """How long it must hold before it fires, by the studio's settings for this machine."""
    labels: dict[str, str]
    """What it is about, and nothing that changes while it lasts: machine, tier, gpu, server."""
    summary: str
    """One plain sentence with the numbers."""
    todo: str
    """What to do about it."""

    @property
    def fingerprint(self) -> str:
        """The same for the same rule and labels, whatever the numbers."""
        pairs = "\x00".join(f"{name}={value}" for name, value in sorted(self.labels.items()))
        return hashlib.sha256(f"{self.rule}\x00{pairs}".encode()).hexdigest()[:24]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One finding's life. Moments are Unix seconds."""

    fingerprint: str
    rule: str
    severity: Severity
    labels: dict[str, str]
    summary: str
    todo: str
    state: AlertState
    since: float
    """When the rule began to hold."""
    fired_at: float | None = None
    resolved_at: float | None = None
    acknowledged_at: float | None = None
    acknowledged_by: str | None = None
    note: str | None = None
    quiet_since: float | None = None
    """When the rule ceased to hold; the alert fires on until it has been quiet for a while."""
    recurrences: int = 0
    """How often it had come back soon after it was resolved, when this life of it began."""
    told_to: tuple[str, ...] = ()
    """The receivers that believe it fires: told so, and not yet told that it is over."""
    told_at: float | None = None
    """When a message told of it last."""
    waiting_since: float | None = None
    """Since when there is something to tell that no message has told yet."""


class Matcher(msgspec.Struct, frozen=True, kw_only=True):
    """A condition on a label, as Alertmanager writes it: ``machine=~"render-.*"``."""

    name: str
    value: str
    operator: Literal["=", "!=", "=~", "!~"] = "="


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A machine's maintenance, once or every week: its alerts make no messages meanwhile."""

    id: str
    machine: str
    starts_at: float
    ends_at: float
    weekly: bool = False
    """Whether it comes back every seven days at the same time of the dashboard's clock."""
    created_by: str = ""
    comment: str = ""


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts that match all of it make no messages between two moments."""

    id: str
    matchers: tuple[Matcher, ...]
    starts_at: float
    ends_at: float
    created_by: str
    comment: str
