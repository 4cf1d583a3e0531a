"""A series as a chart draws it: its buckets, and an empty one where nothing was recorded. Pure."""

from __future__ import annotations

from itertools import pairwise
from statistics import median

from tierwatch_dashboard.history import Bucket, Series

GAP_STEPS = 3.5
"""A silence this many usual steps long is a gap."""


def moments(series: Series) -> list[Bucket]:
    """The buckets of a series, each silence begun by an empty one."""
    buckets = series.buckets
    step = step_of(series)
    found: list[Bucket] = []
    for bucket, following in pairwise((*buckets, None)):
        if bucket is None:
            break
        found.append(bucket)
        if following is not None and following.at - bucket.at > GAP_STEPS * step:
            found.append(Bucket(at=bucket.at + step))
    return found


def step_of(series: Series) -> float:
    """Seconds from one bucket to the next, as a rule."""
    buckets = series.buckets
    usual = median(b.at - a.at for a, b in pairwise(buckets)) if len(buckets) > 1 else 0.0
    return max(usual, series.resolution_seconds, 1e-3)


def celsius(bucket: Bucket) -> float | None:
    """The highest temperature of a bucket."""
    highest = bucket.temperature_max_celsius
    return bucket.temperature_celsius if highest is None else highest


def is_gap(bucket: Bucket) -> bool:
    """Whether nothing was recorded from here on."""
    return (
        bucket.total_bytes is None
        and bucket.used_bytes is None
        and bucket.utilization_ratio is None
        and bucket == Bucket(at=bucket.at)
    )
