"""The weekly reports from real stores: what is reckoned once, and what again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timezone

import pytest
from sqlalchemy import Engine, event, insert, update

from tierwatch_agent.snapshot import JobRecord
from tierwatch_dashboard.causes import Cause
from tierwatch_dashboard.changes import StateChange
from tierwatch_dashboard.database import writing
from tierwatch_dashboard.gpu_verdict import State
from tierwatch_dashboard.history import GpuPoint
from tierwatch_dashboard.history.database import DatabaseHistory
from tierwatch_dashboard.history.energy import EnergyLog
from tierwatch_dashboard.history.jobs import FinishedJob, JobStore
from tierwatch_dashboard.history.tables import GPUS, POINTS_BY_TEN_MINUTES, ROLL_UPS, WATCHES
from tierwatch_dashboard.history.verdicts import VerdictStore
from tierwatch_dashboard.history.watches import WatchStore
from tierwatch_dashboard.reports import Reports
from tierwatch_dashboard.weeks import read_week

HOUR = 3600.0
MONDAY = 1_795_392_000.0
"""2026-11-23 00:00 UTC."""
WEEK = read_week("2026-W48")


@dataclass
class Kept:
    """A database with a past, and its reports on a clock of their own."""

    engine: Engine
    now: float = MONDAY + 200 * HOUR

    def __post_init__(self) -> None:
        self.verdicts, self.jobs = VerdictStore(self.engine), JobStore(self.engine)
        self.reports = Reports(
            self.verdicts,
            WatchStore(self.engine),
            self.jobs,
            EnergyLog(self.engine),
            lambda: self.now,
            timezone.utc,
        )
        watched = {"since": round(MONDAY * 1000), "until": round(self.now * 1000)}
        with writing(self.engine) as connection:
            connection.execute(insert(WATCHES), watched)

    def becomes(
        self, hour: float, state: State, tier: str = "mass", cause: Cause | None = None
    ) -> None:
        at = MONDAY + hour * HOUR
        told = StateChange(machine="a", at=at, state=state, headline="", tier=tier, cause=cause)
        self.verdicts.append_changes([told])

    def drew(self, watts: int, hours: int) -> None:
        """What is rolled up of its one GPU, from Monday on."""
        begin = round(MONDAY * 1000)
        rows = [
            {"gpu": 1, "at": begin + place * 600_000, "points": 120, "power": watts * 1000}
            for place in range(hours * 6)
        ]
        with writing(self.engine) as connection:
            connection.execute(insert(GPUS), {"id": 1, "machine": "a", "gpu": "0"})
            connection.execute(insert(POINTS_BY_TEN_MINUTES), rows)
            connection.execute(update(ROLL_UPS).values(until=round(self.now * 1000)))

    def finishes(self, hour: float, images: int = 1) -> None:
        job = JobRecord(
            id=f"{hour}",
            server="comfyui-8188",
            outcome="success",
            ended_at=MONDAY + hour * HOUR,
            images=images,
        )
        self.jobs.append([FinishedJob(machine="a", job=job)])


@pytest.fixture
def kept(engine: Engine) -> Kept:
    return Kept(engine)


def statements(engine: Engine, work: Callable[[], object]) -> int:
    seen: list[str] = []

    def note(*told: object) -> None:
        seen.append(str(told[2]))

    event.listen(engine, "before_cursor_execute", note)
    work()
    event.remove(engine, "before_cursor_execute", note)
    return sum("FROM" in each for each in seen)


def test_a_week_with_a_reassignment_is_reckoned_from_what_is_kept(kept: Kept) -> None:
    kept.becomes(-5, "ok")
    kept.becomes(40, "below", cause="others")
    kept.becomes(50, "ok")
    kept.becomes(100, "ok", tier="light")
    for hour, images in ((1, 3), (99.9, 4), (100.1, 5), (167, 6), (168, 100)):
        kept.finishes(hour, images)
    history = DatabaseHistory(kept.engine)
    moments = [MONDAY + 90 * HOUR + minute * 60 for minute in range(20 * 60)]
    history.append([GpuPoint(machine="a", gpu="0", at=at, power_watts=100.0) for at in moments])
    history.roll_up(kept.now)

    found = {each.tier: each for each in kept.reports.week(WEEK).tiers}
    assert {name: tier.images for name, tier in found.items()} == {"mass": 7, "light": 11}
    assert found["mass"].hours.lost == {"others": 10 * HOUR}
    assert found["mass"].hours.able == 90 * HOUR
    assert found["light"].hours.able == 68 * HOUR
    assert {name: round((tier.joules or 0) / HOUR) for name, tier in found.items()} == {
        "mass": 1000,
        "light": 1000,
    }
    assert found["mass"].power_seconds / found["mass"].gpu_seconds == 0.1


def test_a_week_that_is_over_is_reckoned_once(kept: Kept) -> None:
    kept.becomes(0, "ok")
    first = kept.reports.week(WEEK)
    assert statements(kept.engine, lambda: kept.reports.week(WEEK)) == 0
    assert kept.reports.week(WEEK) is first


def test_the_week_that_it_is_goes_on(kept: Kept) -> None:
    kept.becomes(0, "ok")
    kept.now = MONDAY + 90 * HOUR
    assert kept.reports.current == WEEK
    first = kept.reports.week(WEEK)
    kept.now += HOUR
    kept.finishes(90.5)
    second = kept.reports.week(WEEK)
    assert second.end - first.end == HOUR
    assert second.tiers[0].images == first.tiers[0].images + 1


def test_within_a_minute_the_report_stands(kept: Kept) -> None:
    kept.becomes(0, "ok")
    kept.now = MONDAY + 90 * HOUR
    first = kept.reports.week(WEEK)
    kept.now += 59
    assert kept.reports.week(WEEK) is first
    kept.now += 1
    assert kept.reports.week(WEEK).end == kept.now


def test_of_the_week_that_it_is_only_the_day_is_counted_anew(kept: Kept) -> None:
    kept.becomes(0, "ok")
    kept.now = MONDAY + 90 * HOUR
    all_days = statements(kept.engine, lambda: kept.reports.week(WEEK))
    kept.now += 60
    assert statements(kept.engine, lambda: kept.reports.week(WEEK)) < all_days


def test_a_week_that_has_only_just_ended_is_reckoned_again(kept: Kept) -> None:
    kept.becomes(0, "ok")
    kept.now = MONDAY + 168 * HOUR + 60
    kept.reports.week(WEEK)
    kept.finishes(167.99)
    kept.now += 60
    assert kept.reports.week(WEEK).tiers[0].images == 1


def test_a_week_to_come_is_empty(kept: Kept) -> None:
    kept.becomes(0, "ok")
    found = kept.reports.week(WEEK.after.after)
    assert (found.tiers, found.end - found.start) == ((), 0)


def test_each_tier_is_told_what_it_drew_and_made(kept: Kept) -> None:
    kept.becomes(-5, "ok")
    kept.becomes(40, "below", cause="others")
    kept.becomes(50, "ok")
    kept.becomes(100, "ok", tier="light")
    kept.finishes(1, 3)
    kept.finishes(101, 4)
    kept.drew(watts=100, hours=90)
    found = kept.reports.week(WEEK)
    assert [(tier.tier, tier.images, tier.joules) for tier in found.tiers] == [
        ("light", 4, None),
        ("mass", 3, 9000 * HOUR),
    ]
