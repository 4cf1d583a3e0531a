"""The rules as a file for Prometheus: ``tierwatch rules`` prints it. Pure.

What the rules join on is recorded first, in the same group, so that it is of the same moment. A
dashboard that is down takes no alert along: what it told last of assignments holds until it tells
again (a recorded series that reads itself).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from tierwatch_dashboard.alerts.life import RESOLVE_SECONDS
from tierwatch_dashboard.alerts.rule import (
    ASSIGNMENT,
    CLASS,
    FLOOR,
    HEADROOM,
    SHORTFALL,
    Rule,
    Scope,
    Terms,
    select,
    span,
)
from tierwatch_dashboard.alerts.rules import RULES
from tierwatch_dashboard.alerts.sentence import template
from tierwatch_dashboard.inventory import Inventory

INTERVAL_SECONDS = 5.0
"""How often Prometheus evaluates the rules."""

Pairs = dict[str, "str | Pairs"]

_HEAD = """\
# Made by `tierwatch rules` from tierwatch.toml: change that, not this.
groups:
- name: tierwatch
  interval: {interval}
  rules:
"""


def rules_file(inventory: Inventory) -> str:
    """The whole file, in YAML."""
    rules = (*recordings(), *alerts(inventory))
    return _HEAD.format(interval=span(INTERVAL_SECONDS)) + "".join(map(_item, rules))


def recordings() -> Iterator[Pairs]:
    """What is recorded, each after what it reads."""
    yield _recorded(
        ASSIGNMENT,
        _told("tierwatch_machine_assignment_info", ASSIGNMENT, "machine, tier, gpus, maintenance"),
    )
    yield _recorded(
        FLOOR, _told("tierwatch_assigned_tier_floor_bytes", FLOOR, "machine, gpu, tier")
    )
    yield _recorded(
        CLASS, _told("tierwatch_assigned_tier_class_bytes", CLASS, "machine, gpu, tier")
    )
    yield _recorded(
        HEADROOM,
        "max by (machine, gpu) (tierwatch_gpu_memory_available_bytes)\n"
        f"- on (machine, gpu) group_right () {FLOOR}",
    )
    known = "(tierwatch_gpu_memory_available_lower_bound == 1)"
    yield _recorded(
        SHORTFALL,
        "max by (machine, gpu, tier) (\n"
        f'  label_replace(-{HEADROOM} unless on (machine, gpu) {known}, "lacks", "now", "", "")\n'
        "  or\n"
        f"  label_replace({CLASS} - on (machine, gpu) group_left ()"
        ' max by (machine, gpu) (tierwatch_gpu_memory_total_bytes), "lacks", "ever", "", "")\n'
        ")",
    )
    yield _recorded("machine:tierwatch_headroom_bytes:min", f"min by (machine, tier) ({HEADROOM})")
    yield _recorded("tier:tierwatch_headroom_bytes:min", f"min by (tier) ({HEADROOM})")
    for what, counter in (
        ("images", "tierwatch_images_generated_total"),
        ("jobs", select("tierwatch_jobs_finished_total", 'outcome="success"')),
    ):
        by_machine = f"machine:tierwatch_{what}:rate5m"
        yield _recorded(
            by_machine,
            f"sum by (machine) (rate({counter}[5m]))\n"
            f"* on (machine) group_left (tier) {ASSIGNMENT}",
        )
        yield _recorded(f"tier:tierwatch_{what}:rate5m", f"sum by (tier) ({by_machine})")


def alerts(inventory: Inventory) -> Iterator[Pairs]:
    """Every rule that is on, once for each set of tiers that it differs for."""
    for rule in RULES.values():
        for scope in _scopes(rule, inventory):
            if scope.terms.enabled:
                yield _alert(rule, scope)


def _scopes(rule: Rule, inventory: Inventory) -> Iterator[Scope]:
    by_terms: dict[Terms, list[str]] = {}
    for tier in ("", *(tier.name for tier in inventory.tiers)):
        terms = rule.terms(inventory.alerts, tier or None)
        by_terms.setdefault(terms, []).append(tier)
    for terms, tiers in by_terms.items():
        others = [tier for known in by_terms.values() for tier in known if tier not in tiers]
        # Machines of no tier, and of one that came later, are with those of no tier.
        matcher = _matcher("!", others) if "" in tiers else _matcher("=", tiers)
        yield Scope(tiers=matcher, terms=terms, policy=inventory.policy)


def _matcher(sign: str, tiers: list[str]) -> str:
    if not tiers:
        return ""
    if len(tiers) == 1:
        return f"tier{'!=' if sign == '!' else '='}{json.dumps(tiers[0], ensure_ascii=False)}"
    alternatives = "|".join(re.escape(tier) for tier in tiers)
    return f"tier{sign}~{json.dumps(alternatives, ensure_ascii=False)}"


def _alert(rule: Rule, scope: Scope) -> Pairs:
    terms = scope.terms
    return {
        "alert": rule.name,
        "expr": rule.expression(scope),
        "for": span(rule.waited(scope.policy) + terms.for_seconds),
        "keep_firing_for": span(RESOLVE_SECONDS),
        "labels": {"severity": terms.severity},
        "annotations": {
            "summary": template(rule.summary, rule.figure, terms.window_seconds),
            "todo": template(rule.todo, rule.figure, terms.window_seconds),
        },
    }


def _told(family: str, recorded: str, labels: str) -> str:
    """What the dashboard tells, or told last."""
    return f"max by ({labels}) ({family})\nor\n({recorded} unless on () tierwatch_dashboard_info)"


def _recorded(name: str, expression: str) -> Pairs:
    return {"record": name, "expr": expression}


def _item(pairs: Pairs) -> str:
    """A rule as an item of the file's list."""
    lines = list(_lines(pairs))
    return "".join(f"  {'-' if n == 0 else ' '} {line}\n" for n, line in enumerate(lines))


def _lines(pairs: Pairs) -> Iterator[str]:
    for key, value in pairs.items():
        if isinstance(value, dict):
            yield f"{key}:"
            yield from (f"  {line}" for line in _lines(value))
        elif key == "expr":
            yield f"{key}: |-"
            yield from (f"  {line}" for line in value.splitlines())
        elif value.isidentifier() or key == "record" or key in ("for", "keep_firing_for"):
            yield f"{key}: {value}"
        else:
            # A JSON string is YAML, too.
            yield f"{key}: {json.dumps(value, ensure_ascii=False)}"
