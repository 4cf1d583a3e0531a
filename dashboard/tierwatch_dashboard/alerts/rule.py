"""What a rule is: one definition with two forms, on a machine's view and as a PromQL expression."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from tierwatch_agent.snapshot import MachineSnapshot
from tierwatch_dashboard.alerts import Severity
from tierwatch_dashboard.alerts.settings import AlertSettings, RuleSettings
from tierwatch_dashboard.fleet.state import MachineView
from tierwatch_dashboard.inventory import Inventory, Policy

_T = TypeVar("_T")

ASSIGNMENT = "machine:tierwatch_assignment:info"
FLOOR = "gpu:tierwatch_floor_bytes:assigned"
CLASS = "gpu:tierwatch_class_bytes:assigned"
HEADROOM = "gpu:tierwatch_headroom_bytes:now"
SHORTFALL = "gpu:tierwatch_shortfall_bytes:now"
"""Series that Prometheus records before it evaluates a rule; ``prometheus.py`` says how."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What holds of a rule for one tier, once the studio's settings are laid over its defaults."""

    enabled: bool
    for_seconds: float
    severity: Severity
    threshold: float
    window_seconds: float


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule looks at: one machine, at one moment."""

    view: MachineView
    snapshot: MachineSnapshot | None
    """None where there are no fresh figures."""
    inventory: Inventory
    terms: Terms
    """For the tier that the machine as a whole goes by."""

    def labels(self, **more: str) -> dict[str, str]:
        """Of the machine as a whole, and more; what is empty is no label."""
        machine = self.view.machine
        pairs = {"machine": machine.id, "tier": machine.duty or "", **more}
        return {name: value for name, value in pairs.items() if value}


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a rule holds for."""

    labels: dict[str, str]
    value: float = 1.0
    todo: str | None = None
    """In place of the rule's own, where more is known than Prometheus knows."""


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """The tiers that an expression is for, and what holds of its rule for them."""

    tiers: str
    """A matcher on the label tier; empty: all."""
    terms: Terms
    policy: Policy

    def on_duty(self, *matchers: str) -> str:
        """The assignments of the machines that are not in maintenance: machine, tier → 1."""
        return select(ASSIGNMENT, 'maintenance="false"', *matchers, self.tiers)

    def of_machine(self, expression: str, *matchers: str) -> str:
        """An expression by machine and more, with the machine's tier as a label."""
        return f"({expression})\n* on (machine) group_left (tier)\n{self.on_duty(*matchers)}"

    def of_gpu(self, expression: str) -> str:
        """An expression that bears its GPU's tier, without the machines in maintenance."""
        on_duty = select(ASSIGNMENT, 'maintenance="false"')
        return f"({expression})\nand on (machine)\n{on_duty}"


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule. Durations in seconds; sentences as ``sentence.py`` reads them."""

    name: str
    severity: Severity
    summary: str
    todo: str
    expression: Callable[[Scope], str]
    holds: Callable[[Look], Iterable[Match]] | None
    """None: only another program can see it."""
    figure: str = ".0f"
    """How its value is written, as ``format`` and Prometheus' ``printf`` take it."""
    for_seconds: float = 0.0
    waited: Callable[[Policy], float] = lambda _policy: 0.0
    """How long the verdict that the rule reads has waited already, by the studio's policy."""
    of_finished_jobs: bool = False
    """Whether it looks at the jobs that a snapshot lists."""
    threshold: float | None = None
    """None: it has none to set."""
    window_seconds: float | None = None
    """None: it looks at this moment alone."""
    tiers: tuple[str, ...] | None = None
    """The tiers that it is on for, unless the studio says otherwise; None: all, and no tier."""

    def terms(self, settings: AlertSettings, tier: str | None) -> Terms:
        """What holds for machines or GPUs of a tier; None: of no tier."""
        general = settings.rules.get(self.name, RuleSettings())
        own = general.tiers.get(tier or "", RuleSettings())
        by_default = self.tiers is None or tier in self.tiers
        return Terms(
            enabled=_first(own.enabled, general.enabled, by_default),
            for_seconds=_first(own.for_seconds, general.for_seconds, self.for_seconds),
            severity=_first(own.severity, general.severity, self.severity),
            threshold=_first(own.threshold, general.threshold, self.threshold or 0.0),
            window_seconds=_first(
                own.window_seconds, general.window_seconds, self.window_seconds or 0.0
            ),
        )


def select(series: str, *matchers: str) -> str:
    """A selector of a series; empty matchers are left out."""
    given = ",".join(matcher for matcher in matchers if matcher)
    return f"{series}{{{given}}}" if given else series


def span(seconds: float) -> str:
    """A length of time as Prometheus writes it: "90s", "500ms"."""
    return f"{seconds:.0f}s" if seconds == round(seconds) else f"{seconds * 1000:.0f}ms"


def _first(own: _T | None, general: _T | None, default: _T) -> _T:
    if own is not None:
        return own
    return default if general is None else general
