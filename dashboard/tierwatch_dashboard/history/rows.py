"""Points to rows and rows to buckets: the units of ``tables``, and nothing that is not a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tierwatch_dashboard.history import Bucket, GpuPoint
from tierwatch_dashboard.history.tables import MINUTE

POINT_COLUMNS = (
    "minute", "gpu", "at", "total", "used", "available", "others",
    "utilization", "temperature", "power", "own", "clock", "heat", "capped",
)  # fmt: skip
"""Of ``points``, as ``row_of`` fills them."""

_MILLI = 1_000
_TENTHS = 10
_PER_TEN_THOUSAND = 10_000
_MEBIBYTE = 2**20
_MEGAHERTZ = 1_000_000
_PERCENT = 100
_LARGEST = 2**62


def milliseconds(at: float) -> int:
    """Unix seconds as moments are kept; ValueError where it is no moment."""
    if not 0 <= at < _LARGEST / _MILLI:
        raise ValueError(f"{at} is no moment in Unix seconds")
    return round(at * _MILLI)


def seconds(at: int) -> float:
    """A moment as it is kept in Unix seconds."""
    return at / _MILLI


def storable(text: str) -> str:
    """Text as every database takes it: PostgreSQL's holds no NUL."""
    return text.replace("\0", "")


def row_of(point: GpuPoint, key: int) -> tuple[int | None, ...]:
    """A point as a row of ``POINT_COLUMNS``; no figure (NaN, negative bytes) is unknown."""
    at = milliseconds(point.at)
    return (
        at // MINUTE,
        key,
        at,
        _bytes(point.total_bytes),
        _bytes(point.used_bytes),
        _bytes(point.available_bytes),
        _bytes(point.others_bytes),
        _scaled(point.utilization_ratio, _PER_TEN_THOUSAND),
        _scaled(point.temperature_celsius, _TENTHS),
        _scaled(point.power_watts, _MILLI),
        mebibytes(point.own_bytes),
        _in(_MEGAHERTZ, point.clock_hertz),
        _scaled(point.heat_ratio, 1),
        _scaled(point.capped_ratio, 1),
    )


def bucket_of(row: Sequence[Any]) -> Bucket:
    """A row of ``aggregate.COLUMNS`` as a bucket. A chart has thousands: each is unpacked once."""
    (
        _gpu, at, _points, total, used, used_max, available, available_min, others,
        utilization, temperature, temperature_max, power, own, clock, heat, capped,
    ) = row  # fmt: skip
    return Bucket(
        at=at / _MILLI,
        total_bytes=total,
        used_bytes=None if used is None else float(used),
        used_max_bytes=used_max,
        available_bytes=None if available is None else float(available),
        available_min_bytes=available_min,
        others_bytes=None if others is None else float(others),
        utilization_ratio=None if utilization is None else utilization / _PER_TEN_THOUSAND,
        temperature_celsius=None if temperature is None else temperature / _TENTHS,
        temperature_max_celsius=None if temperature_max is None else temperature_max / _TENTHS,
        power_watts=None if power is None else power / _MILLI,
        own_bytes=None if own is None else float(own * _MEBIBYTE),
        clock_hertz=None if clock is None else float(clock * _MEGAHERTZ),
        heat_ratio=None if heat is None else heat / _PERCENT,
        capped_ratio=None if capped is None else capped / _PERCENT,
    )


def mebibytes(size: float | None) -> int | None:
    """Bytes as a holder's are kept, in MiB."""
    return _in(_MEBIBYTE, size)


def bytes_of(size: int) -> int:
    """What ``mebibytes`` made in bytes."""
    return size * _MEBIBYTE


def _bytes(value: int | None) -> int | None:
    return round(value) if value is not None and 0 <= value < _LARGEST else None


def _in(unit: int, value: float | None) -> int | None:
    if value is None or not 0 <= value < 2**31 * unit:
        return None
    return round(value / unit)


def _scaled(value: float | None, scale: int) -> int | None:
    if value is None or not math.isfinite(value) or abs(value) >= 2**31 / scale:
        return None
    return round(value * scale)
