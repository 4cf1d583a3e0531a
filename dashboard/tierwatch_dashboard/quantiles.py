"""Quantiles of figures, of some of which only a lower bound is known. Pure.

A job that ran out of memory needed more than it had: how much more is not known. Such figures are
right-censored, and left out they would make the need look smaller than it is. The Kaplan-Meier
estimate counts them for what they are worth: a bound far below the others says nothing, and one
above them all says that the largest needs were never seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import merge
from itertools import accumulate
from math import ceil

GRID = 100
"""Figures by which the spread of however many is kept."""


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of sorted ``values`` that at least ``share`` of them do not exceed."""
    return values[min(len(values) - 1, max(0, ceil(share * len(values) - 1e-9) - 1))]


def beyond(values: Sequence[float], bounds: Sequence[float], share: float) -> float | None:
    """The same where some figures are only known to exceed their bound; both sorted.

    None: more than that share was never seen.
    """
    if not bounds or not values or bounds[-1] < values[0]:
        return quantile(values, share) if values else None
    left, survival = len(values) + len(bounds), 1.0
    # At one figure what is known comes before what is only known to exceed it.
    for figure, is_bound in merge(((v, 0) for v in values), ((b, 1) for b in bounds)):
        if not is_bound:
            survival *= 1 - 1 / left
            if 1 - survival >= share - 1e-9:
                return figure
        left -= 1
    return None


def thinned(values: Sequence[float]) -> tuple[float, ...]:
    """At most ``GRID`` of sorted values that are spread as all of them are."""
    if len(values) <= GRID:
        return tuple(values)
    return tuple(values[int((place + 0.5) * len(values) / GRID)] for place in range(GRID))


def weighted(pairs: Sequence[tuple[float, float]], share: float) -> float:
    """Of pairs of a value and its weight: the value up to which lies that share of the weight."""
    ordered = sorted(pairs)
    sums = list(accumulate(weight for _, weight in ordered))
    wanted = share * sums[-1] - 1e-9
    return next(value for (value, _), sum_ in zip(ordered, sums, strict=True) if sum_ >= wanted)
