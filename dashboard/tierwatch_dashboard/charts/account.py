"""A chart in words: its sentence, and a table of a few equal parts of the span. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from tierwatch_agent.tiers import Tier
from tierwatch_agent.wording import duration, gib
from tierwatch_agent.words import say
from tierwatch_dashboard.charts.drawing import Look
from tierwatch_dashboard.charts.memory import REST, UNKNOWN, Memory, name_of
from tierwatch_dashboard.charts.moments import celsius, is_gap
from tierwatch_dashboard.history import Bucket, Series

ROWS = 12
"""A table's parts of the span, at most."""
_LEAST_NAMED_BYTES = 2**28


class Row(msgspec.Struct, frozen=True):
    """A part of the span, from ``at`` on (Unix seconds)."""

    at: float
    cells: list[str]


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What a chart says, for whoever does not see it."""

    sentence: str
    columns: list[str]
    rows: list[Row]


def account(
    series: Series,
    moments: Sequence[Bucket],
    held: Memory,
    tier: Tier | None,
    step: float,
    look: Look,
) -> Account:
    """The account of one GPU; ``step``: how long each moment stands for, in seconds."""
    return Account(
        sentence=look.spoken(_sentence(series, moments, held, tier, step)),
        columns=[
            look.spoken(words)
            for words in (
                say("From"),
                say("Lowest available"),
                say("Held most by"),
                say("Utilisation"),
                say("Highest temperature"),
                say("Power"),
            )
        ],
        rows=[
            Row(moments[first].at, _cells(moments[first:last], held, first, last, look))
            for first, last in _parts(moments)
        ],
    )


def _sentence(
    series: Series, moments: Sequence[Bucket], held: Memory, tier: Tier | None, step: float
) -> str:
    known = [size for size in held.available if size is not None]
    if not known:
        return say("GPU {gpu}: what was available is not known.", gpu=series.gpu)
    lowest = min(known)
    if tier is None or not tier.floor_bytes:
        return say("GPU {gpu}: {size} available at the lowest.", gpu=series.gpu, size=gib(lowest))
    floor = tier.floor_bytes
    below = [
        bucket.available_bytes is not None and bucket.available_bytes < floor for bucket in moments
    ]
    longest, together = _runs(below, moments, step)
    if lowest >= floor:
        return say(
            "GPU {gpu}: {size} available at the lowest, {spare} above the floor of {tier}.",
            gpu=series.gpu,
            size=gib(lowest),
            spare=gib(lowest - floor),
            tier=tier.name,
        )
    lack = say(
        "GPU {gpu}: {size} available at the lowest, {lack} below the floor of {tier}",
        gpu=series.gpu,
        size=gib(lowest),
        lack=gib(floor - lowest),
        tier=tier.name,
    )
    if not together:
        return say("{lack}, for a moment.", lack=lack)
    if longest >= together:
        return say("{lack}; below it for {span}.", lack=lack, span=duration(longest))
    return say(
        "{lack}; below it for {longest} at the longest, {together} in all.",
        lack=lack,
        longest=duration(longest),
        together=duration(together),
    )


def _runs(below: Sequence[bool], moments: Sequence[Bucket], step: float) -> tuple[float, float]:
    """Seconds below: of the longest run, and of all together."""
    longest = together = run = 0.0
    for place, is_below in enumerate(below):
        if not is_below:
            run = 0.0
            continue
        following = moments[place + 1].at if place + 1 < len(moments) else None
        lasted = step if following is None else following - moments[place].at
        run += lasted
        together += lasted
        longest = max(longest, run)
    return longest, together


def _parts(moments: Sequence[Bucket]) -> list[tuple[int, int]]:
    if not moments:
        return []
    length = max(1, -(-len(moments) // ROWS))
    return [(first, min(len(moments), first + length)) for first in range(0, len(moments), length)]


def _cells(part: Sequence[Bucket], held: Memory, first: int, last: int, look: Look) -> list[str]:
    unknown = look.spoken(say("not known"))

    def said(
        choose: Callable[[list[float]], float], figures: Sequence[float | None], form: str
    ) -> str:
        known = [figure for figure in figures if figure is not None]
        return form.format(choose(known)) if known else unknown

    recorded = [bucket for bucket in part if not is_gap(bucket)]
    lowest = [size for size in held.available[first:last] if size is not None]
    return [
        gib(min(lowest)) if lowest else unknown,
        _most(held, first, last, look),
        said(_mean, [_times(100, b.utilization_ratio) for b in recorded], "{:.0f} %"),
        said(max, [celsius(b) for b in recorded], "{:.0f} °C"),
        said(_mean, [b.power_watts for b in recorded], "{:.0f} W"),
    ]


def _most(held: Memory, first: int, last: int, look: Look) -> str:
    layers = [
        *((name_of(holder), sizes) for holder, sizes in held.named.items()),
        (look.spoken(REST), held.rest),
        (look.spoken(UNKNOWN), held.unknown),
    ]
    size, name = max((max(size or 0 for size in sizes[first:last]), name) for name, sizes in layers)
    return f"{name}, {gib(size)}" if size >= _LEAST_NAMED_BYTES else look.spoken(say("nobody"))


def _mean(figures: Sequence[float]) -> float:
    return sum(figures) / len(figures)


def _times(factor: float, figure: float | None) -> float | None:
    return None if figure is None else factor * figure
