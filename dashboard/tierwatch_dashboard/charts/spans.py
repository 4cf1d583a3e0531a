"""What a chart may span: a range that moves with now, or two moments that stay."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from tierwatch_agent.words import say

MOMENTS = 720
"""A live chart is worth asking anew as often as it grows by one of so many."""
REFRESH_SECONDS = 10.0
SHORTEST_SECONDS = 60
LONGEST_SECONDS = 90 * 86400


class Range(msgspec.Struct, frozen=True):
    """How far back a live chart goes."""

    words: str
    seconds: int


RANGES: dict[str, Range] = {
    "15min": Range(say("15 min"), 15 * 60),
    "1h": Range(say("1 h"), 3600),
    "6h": Range(say("6 h"), 6 * 3600),
    "24h": Range(say("24 h"), 86400),
    "7d": Range(say("7 days"), 7 * 86400),
    "90d": Range(say("90 days"), LONGEST_SECONDS),
}
DEFAULT_RANGE = "1h"


class SpanError(ValueError):
    """What was asked for is no span; the text says why, in words."""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """From when to when, in Unix seconds."""

    start: float
    end: float
    range: str | None = None
    """The range that moves with now; None: the span stays."""
    refresh_seconds: float | None = None
    """How often it is worth asking again; None: it is over, and tells the same for ever."""

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end - self.start


def asked(query: Mapping[str, str], now: float) -> Span:
    """The span of an address: ``?from=&to=`` in Unix seconds, else ``?range=``.

    Raises:
        SpanError: It is none.
    """
    if "from" in query or "to" in query:
        return _fixed(query.get("from", ""), query.get("to", ""), now)
    name = query.get("range", DEFAULT_RANGE)
    if name not in RANGES:
        names = ", ".join(RANGES)
        raise SpanError(say("range must be one of {names}; it is {name}", names=names, name=name))
    return live(name, now)


def shown(query: Mapping[str, str], now: float) -> tuple[Span, str | None]:
    """What a page is to show: what was asked for, else the default and why, in words."""
    try:
        return asked(query, now), None
    except SpanError as error:
        return live(DEFAULT_RANGE, now), error.args[0]


def live(name: str, now: float) -> Span:
    """A range up to now. Its end lies on a grid, so that two answers within a step are the same."""
    seconds = RANGES[name].seconds
    refresh = _refresh(seconds)
    end = math.ceil(now / refresh) * refresh
    return Span(start=end - seconds, end=end, range=name, refresh_seconds=refresh)


def _fixed(first: str, last: str, now: float) -> Span:
    start, end = _moment("from", first), _moment("to", last)
    if end - start < SHORTEST_SECONDS:
        raise SpanError(say("to must be at least {count} s after from", count=SHORTEST_SECONDS))
    if end - start > LONGEST_SECONDS:
        raise SpanError(say("from and to must be at most {count} days apart", count=90))
    if start > now:
        raise SpanError(say("from is yet to come: nothing is kept of it"))
    over = end < now - REFRESH_SECONDS
    return Span(start=start, end=end, refresh_seconds=None if over else _refresh(end - start))


def _moment(name: str, said: str) -> float:
    try:
        at = float(said)
    except ValueError:
        at = math.nan
    if not 0 <= at < 2**40:
        raise SpanError(
            say(
                "{name} must be a moment in Unix seconds; it is {said}", name=name, said=said or "-"
            )
        )
    return at


def _refresh(seconds: float) -> float:
    return max(REFRESH_SECONDS, seconds / MOMENTS)
