"""A sparkline: the path it draws, its floor, and the same in words."""

from __future__ import annotations

from tests.dashboard.studio import GIB, TIERS
from tierwatch_dashboard.fleet.trend import Lows
from tierwatch_dashboard.web.sparks import HEIGHT, Spark, spark

CARD = 24 * GIB


def drawn(*gib: float | None) -> Spark:
    lows: Lows = tuple(None if size is None else round(size * GIB) for size in gib)
    found = spark(lows, CARD, TIERS["mass"])
    assert found
    return found


def test_a_calm_hour_is_one_step() -> None:
    assert drawn(*[24.0] * 60).path == "M0 0h60"


def test_a_change_is_a_step_at_its_minute() -> None:
    assert drawn(*[24.0] * 30, *[12.0] * 30).path == "M0 0h30v12h30"


def test_the_last_minute_stands_at_the_right() -> None:
    assert drawn(24.0, 24.0, 0.0).path == f"M57 0h2v{HEIGHT}h1"


def test_silence_is_a_gap() -> None:
    assert drawn(24.0, None, None, 12.0).path == "M56 0h1M59 12h1"


def test_the_floor_is_a_line_where_the_tier_has_one() -> None:
    lows = (10 * GIB, 10 * GIB)
    assert drawn(10, 10).floor == HEIGHT - round(HEIGHT * 15e9 / CARD)
    for tier in (None, TIERS["draft"]):
        found = spark(lows, CARD, tier)
        assert found
        assert found.floor is None


def test_a_card_too_small_for_its_tier_has_no_line_beyond_it() -> None:
    found = spark((GIB, GIB), 8 * GIB, TIERS["mass"])
    assert found
    assert found.floor is None


def test_it_is_said_in_words() -> None:
    assert drawn(20, 20).words == "The last hour: 20.0 GiB available throughout"
    assert drawn(20, 15).words == "The last hour: 15.0 to 20.0 GiB available"
    assert (
        drawn(20, 9.5, 9.5).words
        == "The last hour: 9.5 to 20.0 GiB available; 2 min under the floor"
    )


def test_less_than_two_minutes_are_no_line() -> None:
    assert spark((), CARD, None) is None
    assert spark((GIB, None), CARD, None) is None
    assert spark((GIB, GIB), 0, None) is None
