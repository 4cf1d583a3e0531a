"""What the studio decided about alerts: which rules hold, how strictly, and who hears of them.

Plain data; ``settings_file`` reads it from the ``[alerts]`` table of ``tierwatch.toml``.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tierwatch_dashboard.alerts import Severity


class RuleSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the studio says of a rule, or of a rule for one tier; None: as it stands above it."""

    enabled: bool | None = None
    for_seconds: float | None = None
    severity: Severity | None = None
    threshold: float | None = None
    """What the rule compares with, in the unit that it names itself."""
    window_seconds: float | None = None
    """How far back the rule looks."""
    tiers: dict[str, RuleSettings] = {}
    """Tier to what is different for it."""


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who hears of alerts. ``url`` is Apprise's and may hold a secret: never show it."""

    name: str
    url: str
    resolved: bool = True
    """Whether it hears too when an alert is over."""
    language: str = "en"
    """The language that it is told in, one of ``catalogues.LANGUAGES``."""

    def __repr__(self) -> str:
        """Of the URL no more than its scheme, since this may end in a log."""
        return f"Receiver(name={self.name!r}, url='{self.url.partition(':')[0]}://…')"


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Which alerts go to which receivers: those that every condition given lets through."""

    receivers: tuple[str, ...]
    severities: tuple[Severity, ...] = ("critical", "warning")
    tiers: tuple[str, ...] = ()
    """Empty: of every tier, and of none."""
    tags: tuple[str, ...] = ()
    """The machine has one of these; empty: of every machine."""
    rules: tuple[str, ...] = ()
    """Empty: of every rule."""


class AlertSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the studio decided about alerts. Durations in seconds."""

    receivers: tuple[Receiver, ...] = ()
    routes: tuple[Route, ...] = ()
    """Every one that fits counts; a receiver that two of them name hears once."""
    rules: dict[str, RuleSettings] = {}
    """Rule to what is different from the rule's own defaults."""
    group_wait_seconds: float = 2.0
    """A group's message goes out once nothing has joined the group for so long: a rack that dies
    within seconds is one message, and a single stall waits no longer than this."""
    repeat_seconds: float = 14400.0
    """How often an alert that goes on, and that nobody acknowledged, is told again."""
    alertmanager: str | None = None
    """Alertmanager's address: it evaluates, silences and sends in the dashboard's place."""
    machine_tags: dict[str, tuple[str, ...]] = {}
    """Machine to its tags in the inventory, for the routes."""

    def receivers_of(
        self, rule: str, severity: Severity, labels: Mapping[str, str]
    ) -> tuple[Receiver, ...]:
        """Who is to hear of an alert, in the order of the file."""
        tags = self.machine_tags.get(labels.get("machine", ""), ())
        named = {
            name
            for route in self.routes
            if severity in route.severities
            and (not route.tiers or labels.get("tier") in route.tiers)
            and (not route.tags or not set(route.tags).isdisjoint(tags))
            and (not route.rules or rule in route.rules)
            for name in route.receivers
        }
        return tuple(receiver for receiver in self.receivers if receiver.name in named)
