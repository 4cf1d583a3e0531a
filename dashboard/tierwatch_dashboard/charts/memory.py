"""Who held a GPU's memory at each moment: available from below, what is held from above. Pure.

The same geometry as the bar of a GPU on its page, upright: production's own server stands on the
ground, everybody else hangs from the top, and between them is what is free. So what is available is
the height at which the others end, and it can be read against a tier's floor, at the figure that is
said everywhere else ("14.0 GiB"): where the others hang below the line, the tier lacks its room.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tierwatch_agent.words import say
from tierwatch_dashboard.charts.moments import is_gap
from tierwatch_dashboard.history import Bucket
from tierwatch_dashboard.history.holdings import Holding
from tierwatch_dashboard.holder_changes import Holder
from tierwatch_dashboard.servers import title

NAMED = 3
"""Holders that have a layer of their own: the largest over the span."""

REST = say("others together")
UNKNOWN = say("not known whose")


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Layers of a GPU's memory in bytes, a figure for each moment; None: not known, or nothing."""

    total: list[int | None]
    available: list[float | None]
    named: dict[Holder, list[float | None]]
    """The largest first."""
    own: list[float | None] = []
    free: list[float | None] = []
    rest: list[float | None] = []
    """Held by all others together."""
    unknown: list[float | None] = []
    """Held by nobody knows whom: a generation server may be among them."""
    reserved: list[float | None] = []


def memory(moments: Sequence[Bucket], holdings: Sequence[Holding], resolution: float) -> Memory:
    """The layers of one GPU. A moment stands for its worst: available at its lowest."""
    courses = {each.holder: _course(each, moments, resolution) for each in holdings}
    largest = sorted(courses, key=lambda holder: sum(courses[holder]), reverse=True)
    largest = [holder for holder in largest[:NAMED] if any(courses[holder])]
    made = Memory(
        total=[bucket.total_bytes for bucket in moments],
        available=[lowest(bucket) for bucket in moments],
        named={holder: [] for holder in largest},
    )
    for bucket, *sizes in zip(moments, *(courses[holder] for holder in largest), strict=True):
        _add(made, bucket, sizes)
    return made


def name_of(holder: Holder) -> str:
    """A holder as people know it: a generation server by its name."""
    return title(holder.server) if holder.server else holder.name


def lowest(bucket: Bucket) -> float | None:
    """What was available at the worst moment of a bucket."""
    found = bucket.available_min_bytes
    return bucket.available_bytes if found is None else found


def _add(made: Memory, bucket: Bucket, sizes: Sequence[float]) -> None:
    """One moment more; ``sizes``: what each of those named has, at its most within it."""
    total, available = bucket.total_bytes, lowest(bucket)
    own = free = reserved = None
    held = over = 0.0
    if total is not None:
        reserved = _reserved(bucket, total)
        ceiling = total - reserved
        if available is None:
            over = min(ceiling, bucket.used_bytes or 0)
            free = ceiling - over
        else:
            available = min(available, ceiling)
            held = ceiling - available
            own = min(bucket.own_bytes or 0, available)
            free = available - own
    # Each stands at its most, which need not have been at the same instant.
    told = sum(sizes)
    shrink = held / told if told > held else 1.0
    for course, size in zip(made.named.values(), sizes, strict=True):
        course.append(size * shrink or None)
    over += max(0.0, held - told)
    known = bucket.others_bytes is not None
    made.own.append(own)
    made.free.append(free)
    made.rest.append((over if known else 0) or None)
    made.unknown.append((0 if known else over) or None)
    made.reserved.append(reserved)


def _reserved(bucket: Bucket, total: int) -> float:
    """What the driver keeps: what is neither available nor held by anybody."""
    if bucket.available_bytes is None:
        return 0
    if bucket.others_bytes is not None:
        return max(0.0, total - bucket.available_bytes - bucket.others_bytes)
    if bucket.used_bytes is None:
        return 0
    free = bucket.available_bytes - (bucket.own_bytes or 0)
    return max(0.0, total - bucket.used_bytes - free)


def _course(holding: Holding, moments: Sequence[Bucket], resolution: float) -> list[float]:
    """What a holder had at each moment, at the most within it."""
    parts = iter(holding.parts)
    part = next(parts, None)
    has = holding.before_bytes
    course: list[float] = []
    for bucket in moments:
        while part is not None and part.at <= bucket.at:
            has = part.last_bytes
            part = next(parts, None)
        most = has
        while part is not None and part.at < bucket.at + resolution:
            most, has = max(most, part.most_bytes), part.last_bytes
            part = next(parts, None)
        course.append(0 if is_gap(bucket) else most)
    return course
