"""The last hour of each GPU: by the minute, the lowest that was available in it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tests.fakes.agents import GIB, gpu, snapshot
from tierwatch_dashboard.fleet import Reading
from tierwatch_dashboard.fleet.trend import MINUTES, Low, Trends, phase

MACHINE = "render-01"
START = 1_795_521_600.0 + phase(MACHINE)
"""The first second of one of its minutes."""


def heard(trends: Trends, second: float, available: float | None, machine: str = MACHINE) -> None:
    """A reading so many seconds after the start; None: the machine did not answer."""
    seen = None
    if available is not None:
        card = gpu()
        assert card.attribution
        known = msgspec.structs.replace(card.attribution, available_bytes=round(available * GIB))
        card = msgspec.structs.replace(card, attribution=known)
        seen = snapshot(machine, taken_at=START + second, gpus=(card,))
    trends.take(Reading(machine=machine, at=START + second, snapshot=seen))


def minutes(trends: Trends) -> Sequence[float | None]:
    return [None if low is None else low / GIB for low in trends.of(MACHINE, "0")]


def test_a_minute_is_its_lowest() -> None:
    trends = Trends()
    for second, available in ((0, 12), (20, 9), (40, 14), (60, 11)):
        heard(trends, second, available)
    assert minutes(trends) == [9]


def test_a_minute_under_way_is_not_told() -> None:
    trends = Trends()
    heard(trends, 0, 12)
    heard(trends, 30, 9)
    version = trends.version
    assert minutes(trends) == []

    heard(trends, 59.9, 3)
    assert trends.version == version

    heard(trends, 60, 12)
    assert minutes(trends) == [3]
    assert trends.version > version


def test_what_is_told_is_the_same_object_until_another_minute_has_ended() -> None:
    trends = Trends()
    heard(trends, 0, 12)
    heard(trends, 60, 12)
    told = trends.of(MACHINE, "0")
    heard(trends, 119, 2)
    assert trends.of(MACHINE, "0") is told


def test_silence_is_a_gap() -> None:
    trends = Trends()
    heard(trends, 0, 12)
    heard(trends, 60, None)
    heard(trends, 185, 8)
    heard(trends, 240, 8)
    assert minutes(trends) == [12, None, None, 8]


def test_an_hour_is_kept() -> None:
    trends = Trends()
    for minute in range(75):
        heard(trends, 60 * minute, minute)
    assert minutes(trends) == list(range(74 - MINUTES, 74))


def test_a_day_of_silence_leaves_nothing_known() -> None:
    trends = Trends()
    heard(trends, 0, 12)
    heard(trends, 86_400, 8)
    assert minutes(trends) == [None] * MINUTES


def test_a_clock_that_was_set_back_changes_nothing() -> None:
    trends = Trends()
    heard(trends, 0, 12)
    heard(trends, 60, 9)
    heard(trends, 10, 1)
    heard(trends, 120, 9)
    assert minutes(trends) == [12, 9]


def test_the_past_is_filled_in_and_goes_on() -> None:
    trends = Trends()
    whole = START - phase(MACHINE)
    trends.fill(
        Low(machine=MACHINE, gpu="0", at=whole - 60 * ago, available_bytes=ago * GIB)
        for ago in (5, 4, 2, 1)
    )
    heard(trends, 60, 12)
    heard(trends, 120, 12)
    told = minutes(trends)
    assert [low for low in told if low is not None] == [5, 4, 2, 1, 12]
    assert told[:4] == [5, 4, None, 2]


def test_machines_begin_their_minutes_at_seconds_of_their_own() -> None:
    assert len({phase(f"render-{number:03d}") for number in range(100)}) > 30


def test_an_unknown_gpu_has_no_past() -> None:
    assert Trends().of("nobody", "0") == ()
