"""Reads what the studio decided about alerts: the ``[alerts]`` table of ``tierwatch.toml``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import cast
from urllib.parse import urlsplit

from tierwatch_dashboard.alerts import SEVERITIES, Severity
from tierwatch_dashboard.alerts.rule import Rule
from tierwatch_dashboard.alerts.rules import RULES
from tierwatch_dashboard.alerts.settings import AlertSettings, Receiver, Route, RuleSettings
from tierwatch_dashboard.catalogues import LANGUAGES
from tierwatch_dashboard.toml_table import Table, did_you_mean

LONGEST_GROUP_WAIT_SECONDS = 300.0
SHORTEST_REPEAT_SECONDS = 60.0


def settings_of(
    table: Table,
    tiers: Collection[str],
    tags: dict[str, tuple[str, ...]],
    wrong_with: Callable[[str], str | None] | None = None,
) -> AlertSettings:
    """The settings in a table; its own error says what is wrong, and the mend, without a secret.

    Args:
        table: ``[alerts]``.
        tiers: The names of the tiers that are defined.
        tags: Machine to its tags.
        wrong_with: What is wrong with a receiver's URL, without repeating it; default: Apprise.
    """
    table.only(("language", "group_wait", "repeat", "alertmanager", "receiver", "route", "rule"))
    receivers = tuple(_receivers(table, wrong_with or _wrong_with))
    names = tuple(receiver.name for receiver in receivers)
    default = AlertSettings()
    wait = table.seconds("group_wait", "2s")
    if wait is not None and wait > LONGEST_GROUP_WAIT_SECONDS:
        raise table.wrong(f"group_wait is {wait:g} s; it must be no longer than 5m")
    repeat = table.seconds("repeat", "4h")
    if repeat is not None and 0 < repeat < SHORTEST_REPEAT_SECONDS:
        raise table.wrong(f"repeat is {repeat:g} s; it must be 1m or more, or 0 for never")
    return AlertSettings(
        receivers=receivers,
        routes=tuple(_routes(table, names, tiers, {tag for each in tags.values() for tag in each})),
        rules=dict(_rules(table, tiers)),
        group_wait_seconds=default.group_wait_seconds if wait is None else wait,
        repeat_seconds=default.repeat_seconds if repeat is None else repeat,
        alertmanager=_alertmanager(table),
        machine_tags=tags,
    )


def _wrong_with(url: str) -> str | None:
    # Loads Apprise, which is no use to a studio without receivers.
    from tierwatch_dashboard.alerts.receivers import wrong_with

    return wrong_with(url)


def _receivers(alerts: Table, wrong_with: Callable[[str], str | None]) -> Iterator[Receiver]:
    language = alerts.choice("language", tuple(LANGUAGES)) or "en"
    taken: set[str] = set()
    for table in alerts.tables("receiver", "name"):
        table.only(("name", "url", "resolved"))
        name = table.required("name", "studio")
        if name in taken:
            raise table.wrong("name: there is a receiver of this name already; give it another")
        taken.add(name)
        url = table.required("url", "mailto://user:password@example.com")
        if wrong := wrong_with(url):
            raise table.wrong(wrong)
        resolved = table.flag("resolved") if "resolved" in table.given else True
        yield Receiver(name=name, url=url, resolved=resolved, language=language)


def _routes(
    alerts: Table, receivers: Sequence[str], tiers: Collection[str], tags: Collection[str]
) -> Iterator[Route]:
    tables = alerts.tables("route", "name")
    if not tables and receivers:
        yield Route(receivers=tuple(receivers))
    for table in tables:
        table.only(("name", "receivers", "severities", "tiers", "tags", "rules"))
        to = _known(table, "receivers", receivers, "receiver")
        if not to:
            raise table.wrong('receivers is missing; add a line such as receivers = ["studio"]')
        severities = _known(table, "severities", SEVERITIES, "severity")
        yield Route(
            receivers=to,
            severities=cast("tuple[Severity, ...]", severities) or Route(receivers=to).severities,
            tiers=_known(table, "tiers", tiers, "tier"),
            tags=_known(table, "tags", tags, "tag of a machine"),
            rules=_known(table, "rules", RULES, "rule"),
        )


def _rules(alerts: Table, tiers: Collection[str]) -> Iterator[tuple[str, RuleSettings]]:
    rules = alerts.table("rule")
    rules.only(tuple(RULES))
    for name in rules.given:
        table, rule = rules.table(name), RULES[name]
        by_tier = table.table("tier")
        for tier in by_tier.given:
            if tier not in tiers:
                raise by_tier.wrong(_unknown("tier", tier, tiers))
        own = {tier: _rule(by_tier.table(tier), rule, ()) for tier in by_tier.given}
        yield name, _rule(table, rule, ("tier",), own)


def _rule(
    table: Table, rule: Rule, more: tuple[str, ...], tiers: dict[str, RuleSettings] | None = None
) -> RuleSettings:
    keys = ["enabled", "for", "severity", *more]
    keys += ["threshold"] if rule.threshold is not None else []
    keys += ["window"] if rule.window_seconds is not None else []
    table.only(keys)
    window = table.seconds("window", "15m")
    if window is not None and not 60 <= window <= 3600:
        raise table.wrong(f"window is {window:g} s; it must be from 1m to 1h")
    return RuleSettings(
        enabled=table.flag("enabled") if "enabled" in table.given else None,
        for_seconds=table.seconds("for", "1m"),
        severity=cast("Severity | None", table.choice("severity", SEVERITIES)),
        threshold=table.number("threshold", f"{rule.threshold or 0:g}"),
        window_seconds=window,
        tiers=tiers or {},
    )


def _alertmanager(table: Table) -> str | None:
    url = table.text("alertmanager", "http://127.0.0.1:9093")
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise table.wrong(
            'alertmanager is no address; write it as alertmanager = "http://127.0.0.1:9093"'
        )
    return url.rstrip("/")


def _known(table: Table, key: str, known: Collection[str], what: str) -> tuple[str, ...]:
    texts = table.texts(key, next(iter(known), "name"))
    for text in texts:
        if text not in known:
            raise table.wrong(f"{key}: {_unknown(what, text, known)}")
    return texts


def _unknown(what: str, name: str, known: Collection[str]) -> str:
    there_are = f"; there are {', '.join(sorted(known))}" if known else "; there is none"
    return f'there is no {what} "{name}"{there_are}{did_you_mean(name, known)}'
