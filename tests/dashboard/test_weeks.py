"""Weeks as calendars count them, over the turn of a year and of a clock."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone, tzinfo

import pytest

from tierwatch_dashboard.weeks import Week, midnight, read_week, week_of

TOKYO = timezone(timedelta(hours=9))


class Berlin(tzinfo):
    """An hour ahead of UTC, and two from 29 March to 25 October 2026, 01:00 UTC each."""

    def utcoffset(self, dt: datetime | None) -> timedelta:
        return timedelta(hours=1) + self.dst(dt)

    def dst(self, dt: datetime | None) -> timedelta:
        assert dt
        summer = datetime(2026, 3, 29, 2) <= dt.replace(tzinfo=None) < datetime(2026, 10, 25, 3)
        return timedelta(hours=summer)


def utc(text: str) -> float:
    return datetime.fromisoformat(f"{text}+00:00").timestamp()


def test_a_week_goes_from_monday_to_monday_in_its_zone() -> None:
    week = read_week("2026-W48")
    assert week.midnights(timezone.utc)[0] == utc("2026-11-23T00:00")
    assert week.midnights(timezone.utc)[-1] == utc("2026-11-30T00:00")
    assert week.midnights(TOKYO)[0] == utc("2026-11-22T15:00")
    assert len(week.midnights(TOKYO)) == 8


def test_a_moment_is_in_the_week_of_the_zone() -> None:
    sunday_evening = utc("2026-11-29T20:00")
    assert week_of(sunday_evening, timezone.utc).name == "2026-W48"
    assert week_of(sunday_evening, TOKYO).name == "2026-W49"
    assert week_of(utc("2026-11-30T00:00"), timezone.utc).name == "2026-W49"


def test_the_weeks_around_a_new_year_follow_each_other() -> None:
    last = week_of(utc("2027-01-02T12:00"), timezone.utc)
    assert last.name == "2026-W53"
    assert last.after.name == "2027-W01"
    assert Week(2027, 1).before == last
    assert Week(2027, 1).days[0] == date(2027, 1, 4)


def test_a_week_in_which_the_clocks_change_has_an_hour_less_or_more() -> None:
    spring, autumn = (read_week(name).midnights(Berlin()) for name in ("2026-W13", "2026-W43"))
    assert spring[-1] - spring[0] == 167 * 3600
    assert autumn[-1] - autumn[0] == 169 * 3600


def test_without_a_zone_it_is_that_of_the_machine() -> None:
    day = date(2026, 11, 23)
    assert midnight(day, None) == datetime(2026, 11, 23).timestamp()


@pytest.mark.parametrize("written", ["2026-48", "2026-W54", "W48", "2026-W00", "0000-W01", "x"])
def test_what_is_no_week_is_said(written: str) -> None:
    with pytest.raises(ValueError, match="week"):
        read_week(written)
