"""The envelope in force, from jobs in a real database: each counts once, and for 30 days."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.dashboard.test_jobs_store import DAY, NOON, job
from tierwatch_dashboard.database import DatabaseError
from tierwatch_dashboard.envelope import Name
from tierwatch_dashboard.history import GpuPoint
from tierwatch_dashboard.history.available_at import AvailableAt
from tierwatch_dashboard.history.database import DatabaseHistory
from tierwatch_dashboard.history.job_feed import AT_ONCE, Fed, JobFeed
from tierwatch_dashboard.history.jobs import FinishedJob, JobStore
from tierwatch_dashboard.production import AFRESH_SECONDS, Production

GB = 10**9
SQUARE = Name("comfyui", "sdxl_base", 1024, 1024, 1)
MADE = {"model": "sdxl_base", "width": 1024, "height": 1024, "peak_vram_bytes": 9 * GB}


class Clock:
    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> float:
        return self.at


def made(id_: str, ended_at: float = NOON, **fields: object) -> FinishedJob:
    return job(id_, ended_at, **{**MADE, **fields})


class Ground:
    """Every job ran on the same card, with 8 GB available."""

    def card(self, machine: str, gpu: str | None) -> str:
        return "RTX 4090"

    def available_bytes(self, machine: str, gpu: str | None, moment: float) -> int:
        return 8 * GB


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def production(engine: Engine, clock: Clock) -> Production:
    return Production(JobFeed(engine), Ground(), clock)


def test_jobs_are_added_as_they_end(engine: Engine, production: Production) -> None:
    store = JobStore(engine)
    store.append([made("1"), made("2")])
    production.refresh()
    assert production.current.recipes[SQUARE].jobs == 2
    store.append([made("3"), made("2")])
    production.refresh()
    assert production.current.recipes[SQUARE].jobs == 3


def test_without_news_it_stays_the_same_object(engine: Engine, production: Production) -> None:
    JobStore(engine).append([made("1")])
    production.refresh()
    before = production.current
    production.refresh()
    assert production.current is before


def test_what_ended_long_ago_counts_no_longer(
    engine: Engine, production: Production, clock: Clock
) -> None:
    JobStore(engine).append([made("old", NOON - 29.5 * DAY), made("new")])
    production.refresh()
    assert production.current.recipes[SQUARE].jobs == 2
    clock.at += AFRESH_SECONDS
    production.refresh()
    assert production.current.recipes[SQUARE].jobs == 1
    clock.at += 40 * DAY
    production.refresh()
    assert production.current.recipes == {}


def test_a_job_that_ran_out_of_memory_is_told_with_what_was_available(
    engine: Engine, production: Production
) -> None:
    JobStore(engine).append([made("1"), made("2", outcome="oom", peak_vram_bytes=None)])
    production.refresh()
    assert production.current.recipes[SQUARE].oom_available == (8 * GB, 8 * GB)


def test_a_reading_that_failed_goes_on_where_it_was(engine: Engine, clock: Clock) -> None:
    store = JobStore(engine)
    store.append([made("1"), made("2"), made("3")])
    fails = [True]

    class Breaking(JobFeed, frozen=True):
        def after(self, key: int, since: float):  # type: ignore[no-untyped-def]
            for fed in super().after(key, since):
                if fed.key == 3 and fails:
                    fails.pop()
                    raise DatabaseError("gone")
                yield fed

    production = Production(Breaking(engine), Ground(), clock)
    with pytest.raises(DatabaseError):
        production.refresh()
    assert production.current.recipes == {}
    production.refresh()
    assert production.current.recipes[SQUARE].jobs == 3


def test_all_jobs_are_fed_once_however_many(engine: Engine) -> None:
    store, count = JobStore(engine), AT_ONCE + 5
    store.append([made(str(number), NOON + number) for number in range(count)])
    fed = list(JobFeed(engine).after(0, NOON))
    assert [each.key for each in fed] == sorted({each.key for each in fed})
    assert len(fed) == count
    assert list(JobFeed(engine).after(fed[-3].key, NOON)) == fed[-2:]
    assert len(list(JobFeed(engine).after(0, NOON + count - 1))) == 1
    assert isinstance(fed[0], Fed)
    assert (fed[0].model, fed[0].peak_vram, fed[0].duration) == ("sdxl_base", 9 * GB, 20_000)


def point(at: float, available: int) -> GpuPoint:
    return GpuPoint(machine="a", gpu="0", at=at, total_bytes=16 * GB, available_bytes=available)


def test_what_was_available_is_known_from_points_and_from_what_is_left_of_them(
    engine: Engine,
) -> None:
    history, available = DatabaseHistory(engine), AvailableAt(engine)
    history.append([point(NOON + second, GB + second) for second in range(0, 1800, 10)])
    assert available.at("a", "0", NOON + 65) == GB + 60
    history.roll_up(NOON + 3600)
    history.prune(NOON + 3 * DAY)
    assert available.at("a", "0", NOON + 65) == pytest.approx(GB + 85, abs=30)
    history.roll_up(NOON + 20 * DAY)
    history.prune(NOON + 20 * DAY)
    assert available.at("a", "0", NOON + 65) == pytest.approx(GB + 300, abs=60)
    assert available.at("a", "1", NOON + 65) is None
    assert available.at("a", "0", NOON - 4000) is None
