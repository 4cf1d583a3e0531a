"""The last hour of a GPU's available VRAM as a small line against its tier's floor. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby

import msgspec

from tierwatch_agent.tiers import Tier
from tierwatch_agent.wording import gib
from tierwatch_agent.words import say, semicolons
from tierwatch_dashboard.fleet.trend import MINUTES, Lows

HEIGHT = 24
"""Units from an empty card's level at the bottom to all of it available at the top."""


class Spark(msgspec.Struct, frozen=True, kw_only=True):
    """A line of ``MINUTES`` by ``HEIGHT`` units, and the same in words."""

    path: str
    """An SVG path; where nothing was heard it has a gap."""
    floor: int | None
    """Where the floor lies, from the top; None: no line."""
    words: str


@lru_cache(maxsize=4096)
def spark(lows: Lows, total_bytes: int, tier: Tier | None) -> Spark | None:
    """The line of a GPU of that size; None where less than two minutes are known."""
    known = [low for low in lows if low is not None]
    if len(known) < 2 or total_bytes <= 0:
        return None
    floor = tier.floor_bytes if tier and 0 < tier.floor_bytes <= total_bytes else None
    return Spark(
        path="".join(_path(lows, total_bytes)),
        floor=None if floor is None else _level(floor, total_bytes),
        words=_words(known, floor),
    )


def _path(lows: Lows, total: int) -> Iterator[str]:
    """Steps, each of one minute: flat stretches are one step, so that a calm hour is short."""
    at = MINUTES - len(lows)
    before: int | None = None
    levels = (None if low is None else _level(low, total) for low in lows)
    for level, same in groupby(levels):
        width = len(list(same))
        if level is not None:
            yield f"M{at} {level}" if before is None else f"v{level - before}"
            yield f"h{width}"
        before = level
        at += width


def _level(size: int, total: int) -> int:
    return HEIGHT - round(HEIGHT * min(1.0, size / total))


def _words(known: list[int], floor: int | None) -> str:
    low, high = gib(min(known)), gib(max(known))
    if low == high:
        said = say("The last hour: {size} available throughout", size=low)
    else:
        low = low.removesuffix(" GiB")
        said = say("The last hour: {low} to {high} available", low=low, high=high)
    under = 0 if floor is None else sum(size < floor for size in known)
    if not under:
        return said
    return semicolons([said, say("{count} min under the floor", count=under)])
