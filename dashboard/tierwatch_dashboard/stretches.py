"""What a machine was over time, made of the changes that were written down of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise

import msgspec

from tierwatch_dashboard.causes import Cause
from tierwatch_dashboard.changes import StateChange
from tierwatch_dashboard.gpu_verdict import State

Span = tuple[float, float]
"""From when to when, in Unix seconds."""


class Stretch(msgspec.Struct, frozen=True):
    """A machine, while neither its state nor its tier nor the cause changed."""

    machine: str
    start: float
    end: float
    tier: str | None
    state: State
    cause: Cause | None
    culprit: str | None


def stretches(changes: Sequence[StateChange], start: float, end: float) -> tuple[Stretch, ...]:
    """What each machine was from ``start`` to ``end``; ``changes`` by machine, oldest first.

    A change that was written before tiers were kept is of the tier that the machine had next.
    """
    found: list[Stretch] = []
    for machine, told in groupby(changes, key=lambda each: each.machine):
        own = list(told)
        following = [*(each.at for each in own[1:]), end]
        tier: str | None = None
        backwards: list[Stretch] = []
        for change, until in zip(reversed(own), reversed(following), strict=True):
            tier = tier if _is_untold(change) else change.tier
            first, last = max(start, change.at), min(end, until)
            if first < last:
                backwards.append(
                    Stretch(machine, first, last, tier, change.state, change.cause, change.culprit)
                )
        found += reversed(backwards)
    return tuple(found)


def cuts(known: Sequence[Stretch]) -> tuple[float, ...]:
    """The moments at which a machine went from one tier to another, or to none."""
    return tuple(
        sorted(
            {
                after.start
                for before, after in pairwise(known)
                if before.machine == after.machine and before.tier != after.tier
            }
        )
    )


def merged(spans: Iterable[Span]) -> Iterator[Span]:
    """The spans in order, those that touch made one."""
    last: Span | None = None
    for start, end in sorted(spans):
        if last is not None and start <= last[1]:
            last = (last[0], max(last[1], end))
            continue
        if last is not None:
            yield last
        last = (start, end)
    if last is not None:
        yield last


def overlap(span: Span, spans: Sequence[Span]) -> float:
    """How many seconds of a span the others cover; those do not overlap."""
    return sum(max(0.0, min(span[1], end) - max(span[0], start)) for start, end in spans)


def _is_untold(change: StateChange) -> bool:
    """Whether a change was written before tiers and causes were kept."""
    without = change.state in ("unassigned", "maintenance")
    return change.tier is None and not without and not (change.state == "down" and change.cause)
