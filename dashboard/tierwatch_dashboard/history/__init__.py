"""What is kept of the past: the points that are written, and the series that charts are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

STORES: dict[str, str] = {
    "database": "tierwatch_dashboard.history.database:DatabaseHistory",
    "prometheus": "tierwatch_dashboard.history.prometheus:PrometheusHistory",
}
"""Name to ``module:Class``."""


class HistoryError(Exception):
    """The past cannot be read; the text says why."""


class GpuPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU at one moment, as it is written. Bytes, ratios, Celsius, watts; unknown is None."""

    machine: str
    gpu: str
    """Index of the GPU within its machine."""
    at: float
    total_bytes: int | None = None
    used_bytes: int | None = None
    available_bytes: int | None = None
    others_bytes: int | None = None
    utilization_ratio: float | None = None
    temperature_celsius: float | None = None
    power_watts: float | None = None
    own_bytes: int | None = None
    """Held by the generation server that would run the next job."""
    clock_hertz: float | None = None
    heat_ratio: float | None = None
    """1 while heat holds its clocks back, 0 while it does not."""
    capped_ratio: float | None = None
    """1 while its power limit or supply holds its clocks back, 0 while it does not."""


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """Points of one GPU over ``seconds`` from ``at``: lowest, mean and highest of each figure.

    A raw point is a bucket of 0 seconds. ``available`` keeps its lowest, the others their highest
    beside the mean: the worst moment is what a verdict was made of.
    """

    at: float
    total_bytes: int | None = None
    used_bytes: float | None = None
    used_max_bytes: int | None = None
    available_bytes: float | None = None
    available_min_bytes: int | None = None
    others_bytes: float | None = None
    utilization_ratio: float | None = None
    temperature_celsius: float | None = None
    temperature_max_celsius: float | None = None
    power_watts: float | None = None
    own_bytes: float | None = None
    clock_hertz: float | None = None
    heat_ratio: float | None = None
    """Share of its points in which heat held the clocks back."""
    capped_ratio: float | None = None


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU's past, oldest first, at one resolution."""

    machine: str
    gpu: str
    resolution_seconds: int
    """0: raw points; 60, 600 or a multiple of it: rolled up."""
    buckets: tuple[Bucket, ...] = ()


class History(Protocol):
    """A store of series. Safe to call from several threads."""

    def append(self, points: Sequence[GpuPoint]) -> None:
        """Commits the points, all or none; when it returns they survive a kill -9."""
        ...

    def series(self, machine: str, start: float, end: float) -> tuple[Series, ...]:
        """Each GPU of a machine from ``start`` to ``end``, in as many buckets as a chart shows."""
        ...

    def roll_up(self, now: float) -> None:
        """Makes the buckets of 1 min, 10 min and 1 h that are due; safe to repeat."""
        ...

    def prune(self, now: float) -> None:
        """Removes what is past its keeping: raw 24 h, 1 min 7 days, 10 min and 1 h 90 days."""
        ...

    def close(self) -> None:
        """Lets go of the store."""
        ...
