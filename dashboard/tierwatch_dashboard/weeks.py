"""Weeks as calendars count them (ISO 8601), from Monday, midnight, on the dashboard's clock. Pure.

``zone`` None is the zone of the machine that the dashboard runs on. A week in which clocks are put
forward has an hour less, and is reckoned as it was.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, tzinfo

import msgspec

_WRITTEN = re.compile(r"(\d{4})-W(\d{2})")


class Week(msgspec.Struct, frozen=True, order=True):
    """A week by the year that it counts to and its number."""

    year: int
    number: int

    @property
    def name(self) -> str:
        """As it is written: "2026-W48"."""
        return f"{self.year:04}-W{self.number:02}"

    @property
    def days(self) -> tuple[date, ...]:
        """Monday to Sunday."""
        monday = date.fromisocalendar(self.year, self.number, 1)
        return tuple(monday + timedelta(days=each) for each in range(7))

    @property
    def before(self) -> Week:
        """The week before it."""
        return _of_day(self.days[0] - timedelta(days=1))

    @property
    def after(self) -> Week:
        """The week after it."""
        return _of_day(self.days[-1] + timedelta(days=1))

    def midnights(self, zone: tzinfo | None) -> tuple[float, ...]:
        """Where its days begin, and the moment at which it ends. Unix seconds."""
        return tuple(midnight(day, zone) for day in (*self.days, self.after.days[0]))


def midnight(day: date, zone: tzinfo | None) -> float:
    """Where a day begins, in Unix seconds."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()


def week_of(at: float, zone: tzinfo | None) -> Week:
    """The week that a moment is in."""
    return _of_day(datetime.fromtimestamp(at, zone).date())


def read_week(written: str) -> Week:
    """A week as ``name`` writes it; ValueError where that is none."""
    found = _WRITTEN.fullmatch(written)
    if found is None:
        raise ValueError(f"a week is written 2026-W48; it is {written}")
    year, number = int(found[1]), int(found[2])
    try:
        date.fromisocalendar(year, number, 1)
    except ValueError as error:
        raise ValueError(f"there is no week {written}") from error
    if not 1970 < year < 9999:
        raise ValueError(f"there is no week {written} to report of")
    return Week(year, number)


def _of_day(day: date) -> Week:
    year, number, _ = day.isocalendar()
    return Week(year, number)
