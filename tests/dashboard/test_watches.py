"""When a dashboard watched, by its heartbeat: through restarts, pauses and clocks set back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tierwatch_dashboard.database import open_database
from tierwatch_dashboard.history.watches import WatchStore

NOON = 1_795_521_600.0
DAY = 86400.0


@pytest.fixture
def watches(tmp_path: Path) -> Iterator[WatchStore]:
    engine = open_database(f"sqlite:///{(tmp_path / 'tierwatch.db').as_posix()}")
    yield WatchStore(engine)
    engine.dispose()


def beats(watches: WatchStore, start: float, end: float) -> None:
    at = start
    while at <= end:
        watches.beat(at)
        at += 20.0


def test_a_watch_goes_on_while_its_heart_beats_and_through_a_short_restart(
    watches: WatchStore,
) -> None:
    beats(watches, NOON, NOON + 600)
    beats(watches, NOON + 655, NOON + 715)
    assert watches.spans(NOON - DAY, NOON + DAY) == ((NOON, NOON + 715),)


def test_a_pause_of_more_than_a_minute_was_no_watch(watches: WatchStore) -> None:
    beats(watches, NOON, NOON + 600)
    beats(watches, NOON + 700, NOON + 760)
    assert watches.spans(NOON, NOON + DAY) == ((NOON, NOON + 600), (NOON + 700, NOON + 760))


def test_only_what_is_within_the_span_is_told(watches: WatchStore) -> None:
    beats(watches, NOON, NOON + 600)
    assert watches.spans(NOON + 100, NOON + 200) == ((NOON + 100, NOON + 200),)
    assert watches.spans(NOON + 600, NOON + DAY) == ()
    assert watches.spans(NOON - DAY, NOON) == ()


def test_a_clock_that_is_set_back_begins_no_second_watch_of_the_same_time(
    watches: WatchStore,
) -> None:
    beats(watches, NOON, NOON + 600)
    beats(watches, NOON + 300, NOON + 700)
    assert watches.spans(NOON, NOON + DAY) == ((NOON, NOON + 700),)


def test_what_ended_90_days_ago_is_forgotten(watches: WatchStore) -> None:
    beats(watches, NOON, NOON + 600)
    beats(watches, NOON + DAY, NOON + DAY + 20)
    watches.prune(NOON + 90.5 * DAY)
    assert watches.spans(NOON, NOON + 2 * DAY) == ((NOON + DAY, NOON + DAY + 20),)
