"""Matchers as people write them, as Alertmanager does: ``machine=~"render-.*", tier="mass"``. Pure.

A regular expression holds where it fits the whole value; a label that an alert lacks counts as an
empty text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache

from tierwatch_agent.words import phrase, say
from tierwatch_dashboard.alerts import Alert, Matcher, Silence
from tierwatch_dashboard.toml_table import closest

LABELS: tuple[str, ...] = ("alertname", "gpu", "machine", "server", "severity", "tier")
"""What this dashboard's own alerts can be told apart by."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MATCHER = re.compile(
    r'\s*([^\s=!~",]+)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*"|[^\s",]*)\s*(?:,|\n|$)'
)
_EXAMPLE = 'machine="render-03"'


class MatcherError(ValueError):
    """Text that is no matcher; it says which part, and how to write it."""


def labels_of(alert: Alert) -> dict[str, str]:
    """What matchers see of an alert: its labels, and its rule and severity among them."""
    return {**alert.labels, "alertname": alert.rule, "severity": alert.severity}


def matches(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether all of them hold."""
    return all(_holds(matcher, labels.get(matcher.name, "")) for matcher in matchers)


def silenced_until(
    labels: Mapping[str, str], silences: Iterable[Silence], now: float
) -> float | None:
    """When the last silence that holds these labels now ends, in Unix seconds; None: none does."""
    ends = [
        silence.ends_at
        for silence in silences
        if silence.starts_at <= now < silence.ends_at and matches(silence.matchers, labels)
    ]
    return max(ends, default=None)


def written(matchers: Sequence[Matcher]) -> str:
    """Matchers as ``parse`` reads them."""
    return ", ".join(f"{m.name}{m.operator}{_quoted(m.value)}" for m in matchers)


def parse(text: str, known: Collection[str] | None = LABELS) -> tuple[Matcher, ...]:
    """The matchers in a text, between commas or on lines of their own.

    ``known``: the names that alerts can have; None: any. MatcherError says what is wrong.
    """
    found: list[Matcher] = []
    place, text = 0, text.strip().strip("{}").strip()
    while place < len(text):
        match = _MATCHER.match(text, place)
        if match is None:
            rest = text[place:].strip().splitlines()[0]
            raise MatcherError(
                say("“{text}” is no matcher: write it as {example}.", text=rest, example=_EXAMPLE)
            )
        found.append(_matcher(match[1], match[2], match[3], known))
        place = match.end()
    if not found:
        raise MatcherError(say("A silence needs a matcher, such as {example}.", example=_EXAMPLE))
    if matches(found, {}):
        raise MatcherError(
            say(
                "“{matchers}” holds for all that lacks such a label, which is too much: add one "
                "that names what the silence is for, such as {example}.",
                matchers=written(found),
                example=_EXAMPLE,
            )
        )
    return tuple(found)


def _matcher(name: str, operator: str, value: str, known: Collection[str] | None) -> Matcher:
    if not _NAME.fullmatch(name):
        words = phrase("“{name}” cannot be a label's name: write {example}.")
        raise MatcherError(say(words, name=name, example=_EXAMPLE))
    if known is not None and name not in known:
        raise MatcherError(_no_label(name, known))
    if value.startswith('"'):
        value = re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], value[1:-1])
    match operator:
        case "=~" | "!~":
            try:
                re.compile(value)
            except re.error as error:
                raise MatcherError(
                    say("“{text}” is no regular expression: {why}.", text=value, why=error)
                ) from error
            return Matcher(name=name, value=value, operator=operator)
        case "!=":
            return Matcher(name=name, value=value, operator="!=")
        case _:
            return Matcher(name=name, value=value)


def _no_label(name: str, known: Collection[str]) -> str:
    if close := closest(name, known):
        words = phrase("No alert has a label “{name}”. Did you mean {close}?")
        return say(words, name=name, close=close)
    there_are = ", ".join(sorted(known))
    return say("No alert has a label “{name}”: alerts have {labels}.", name=name, labels=there_are)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _holds(matcher: Matcher, value: str) -> bool:
    match matcher.operator:
        case "=":
            return value == matcher.value
        case "!=":
            return value != matcher.value
        case "=~":
            return _pattern(matcher.value).fullmatch(value) is not None
        case "!~":
            return _pattern(matcher.value).fullmatch(value) is None


@lru_cache(maxsize=256)
def _pattern(expression: str) -> re.Pattern[str]:
    return re.compile(expression)
