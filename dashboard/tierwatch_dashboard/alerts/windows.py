"""Maintenance windows: whether one is open. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, tzinfo

from tierwatch_dashboard.alerts import Window

WEEK = timedelta(days=7)


def is_open(window: Window, now: float, zone: tzinfo | None = None) -> bool:
    """Whether it is open at that moment.

    A weekly one goes by the clock on the wall, so that summer time moves it with the people.

    Args:
        window: A window.
        now: Unix seconds.
        zone: Whose clock; None: this computer's.
    """
    if not window.weekly:
        return window.starts_at <= now < window.ends_at
    since_start = _on_the_wall(now, zone) - _on_the_wall(window.starts_at, zone)
    lasts = timedelta(seconds=window.ends_at - window.starts_at)
    return since_start >= timedelta() and since_start % WEEK < lasts


def machines_in_maintenance(
    windows: Iterable[Window], now: float, zone: tzinfo | None = None
) -> frozenset[str]:
    """The machines of which a window is open."""
    return frozenset(window.machine for window in windows if is_open(window, now, zone))


def _on_the_wall(at: float, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(at, zone).replace(tzinfo=None)
