"""Every rule once, and what holds of them now. Pure.

A machine in maintenance is left alone. Of one that is silent, what it said last is no finding: that
it is down is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

from tierwatch_agent.words import phrase
from tierwatch_dashboard.alerts import Finding
from tierwatch_dashboard.alerts.gpu_rules import GPU_RULES
from tierwatch_dashboard.alerts.job_rules import JOB_RULES
from tierwatch_dashboard.alerts.machine_rules import MACHINE_RULES
from tierwatch_dashboard.alerts.rule import Look, Match, Rule, Scope, Terms
from tierwatch_dashboard.alerts.sentence import said
from tierwatch_dashboard.alerts.settings import AlertSettings
from tierwatch_dashboard.fleet import SourceHealth
from tierwatch_dashboard.fleet.state import MachineView
from tierwatch_dashboard.inventory import Inventory


def _polls_expression(scope: Scope) -> str:
    return f"max (tierwatch_dashboard_poll_age_seconds) > {scope.terms.threshold:g}"


def _dashboard_expression(_scope: Scope) -> str:
    return "absent(tierwatch_dashboard_info)"


POLLING_BEHIND = Rule(
    name="DashboardPollingBehind",
    severity="warning",
    summary=phrase("The dashboard has not asked one of its machines for {value} s"),
    todo=phrase(
        "Its machine is too busy, or too slow for so many agents: see its log and its load."
    ),
    holds=None,
    expression=_polls_expression,
    for_seconds=30.0,
    threshold=30.0,
)
DASHBOARD_DOWN = Rule(
    name="DashboardDown",
    severity="warning",
    summary=phrase("Tierwatch's dashboard does not answer"),
    todo=phrase("Does tierwatch serve run? Until it does, the assignments that it told last hold."),
    holds=None,
    expression=_dashboard_expression,
    for_seconds=120.0,
)

RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (*MACHINE_RULES, *JOB_RULES, *GPU_RULES, POLLING_BEHIND, DASHBOARD_DOWN)
}
"""Name to rule."""


def findings(
    views: Iterable[MachineView],
    inventory: Inventory,
    now: float,
    polling: SourceHealth | None = None,
    *,
    lists_jobs: bool = True,
) -> Iterator[Finding]:
    """All that holds now.

    ``polling``: how the asking of the agents fares, where they are asked. ``lists_jobs``: whether
    snapshots list finished jobs; where not, the rules of those are another program's.
    """

    @cache
    def terms(rule: str, tier: str | None) -> Terms:
        return RULES[rule].terms(inventory.alerts, tier)

    for view in views:
        if view.machine.maintenance:
            continue
        snapshot = None if view.verdict.state == "down" else view.snapshot
        for rule in RULES.values():
            if rule.holds is None or (rule.of_finished_jobs and not lists_jobs):
                continue
            look = Look(
                view=view,
                snapshot=snapshot,
                inventory=inventory,
                terms=terms(rule.name, view.machine.duty),
            )
            for match in rule.holds(look):
                held = terms(rule.name, match.labels.get("tier"))
                if held.enabled:
                    yield _finding(rule, held, match)
    if polling is not None:
        yield from _behind(polling, inventory.alerts, now)


def _behind(polling: SourceHealth, settings: AlertSettings, now: float) -> Iterator[Finding]:
    terms = POLLING_BEHIND.terms(settings, None)
    waited = now - min((reading.at for reading in polling.last.values()), default=now)
    if terms.enabled and waited > terms.threshold:
        yield _finding(POLLING_BEHIND, terms, Match(labels={}, value=waited))


def _finding(rule: Rule, terms: Terms, match: Match) -> Finding:
    def worded(sentence: str) -> str:
        figure = format(match.value, rule.figure)
        return said(sentence, match.labels, figure, terms.window_seconds)

    return Finding(
        rule=rule.name,
        severity=terms.severity,
        for_seconds=terms.for_seconds,
        labels=match.labels,
        summary=worded(rule.summary),
        todo=match.todo or worded(rule.todo),
    )
