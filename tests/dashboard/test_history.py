"""History: what is written is there, rolled up and pruned as told; a chart gets what it needs."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine, event, text

from tierwatch_dashboard.changes import StateChange
from tierwatch_dashboard.database import DatabaseError, open_database, reading
from tierwatch_dashboard.history import STORES, Bucket, GpuPoint, Series
from tierwatch_dashboard.history.database import DatabaseHistory
from tierwatch_dashboard.history.verdicts import VerdictStore

NOON = 1_795_521_600.0
"""2026-11-24 12:00 UTC, the start of an hour."""
MINUTE = 60
HOUR = 3600
DAY = 24 * HOUR
MIB = 2**20
GIB = 2**30


@pytest.fixture
def history(engine: Engine) -> DatabaseHistory:
    return DatabaseHistory(engine)


def point(at: float, used: int = GIB, machine: str = "render-01", gpu: str = "0") -> GpuPoint:
    return GpuPoint(
        machine=machine,
        gpu=gpu,
        at=at,
        total_bytes=16 * GIB,
        used_bytes=used,
        available_bytes=16 * GIB - used,
        others_bytes=used,
        utilization_ratio=0.37,
        temperature_celsius=61.0,
        power_watts=71.25,
        own_bytes=5 * MIB,
        clock_hertz=1_905e6,
        heat_ratio=0.0,
        capped_ratio=1.0,
    )


def every(seconds: float, start: float, end: float, **more: object) -> list[GpuPoint]:
    """A point each so many seconds, from ``start`` to before ``end``."""
    count = math.ceil((end - start) / seconds)
    return [msgspec.structs.replace(point(start + k * seconds), **more) for k in range(count)]


def one(found: tuple[Series, ...]) -> Series:
    (series,) = found
    return series


def moments(series: Series) -> list[float]:
    return [bucket.at for bucket in series.buckets]


def test_a_point_comes_back_as_it_was_written(history: DatabaseHistory) -> None:
    history.append([point(NOON + 0.125, used=1_000_000_001)])
    series = one(history.series("render-01", NOON, NOON + 10))
    assert (series.machine, series.gpu, series.resolution_seconds) == ("render-01", "0", 0)
    assert series.buckets == (
        Bucket(
            at=NOON + 0.125,
            total_bytes=16 * GIB,
            used_bytes=1_000_000_001.0,
            used_max_bytes=1_000_000_001,
            available_bytes=16.0 * GIB - 1_000_000_001,
            available_min_bytes=16 * GIB - 1_000_000_001,
            others_bytes=1_000_000_001.0,
            utilization_ratio=0.37,
            temperature_celsius=61.0,
            temperature_max_celsius=61.0,
            power_watts=71.25,
            own_bytes=5.0 * MIB,
            clock_hertz=1_905e6,
            heat_ratio=0.0,
            capped_ratio=1.0,
        ),
    )


def test_a_zero_stays_a_zero_and_the_unknown_unknown(history: DatabaseHistory) -> None:
    idle = GpuPoint(machine="m", gpu="0", at=NOON, used_bytes=0, utilization_ratio=0.0)
    history.append([idle])
    (bucket,) = one(history.series("m", NOON, NOON)).buckets
    assert bucket == Bucket(at=NOON, used_bytes=0.0, used_max_bytes=0, utilization_ratio=0.0)


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature_celsius": math.nan},
        {"temperature_celsius": math.inf},
        {"used_bytes": -1},
        {"used_bytes": 2**70},
        {"power_watts": 1e300},
        {"utilization_ratio": -math.inf},
        {"own_bytes": -1},
        {"clock_hertz": math.nan},
        {"heat_ratio": math.nan},
    ],
    ids=str,
)
def test_a_figure_that_is_none_is_unknown_and_costs_no_other(
    history: DatabaseHistory, bad: dict[str, float]
) -> None:
    history.append([msgspec.structs.replace(point(NOON), **bad), point(NOON + 5)])
    first, second = one(history.series("render-01", NOON, NOON + 5)).buckets
    name = next(iter(bad))
    assert getattr(first, name) is None
    others = {"utilization_ratio", "temperature_celsius", "power_watts", "used_bytes"} - {name}
    assert all(getattr(first, other) == getattr(second, other) for other in others)


@pytest.mark.parametrize("at", [math.nan, math.inf, -1.0])
def test_a_moment_that_is_none_is_refused_with_the_whole_batch(
    history: DatabaseHistory, at: float
) -> None:
    with pytest.raises(ValueError, match="is no moment"):
        history.append([point(NOON), point(at)])
    assert history.series("render-01", 0, NOON + HOUR) == ()


def test_a_point_that_is_already_there_stays_as_it_is(history: DatabaseHistory) -> None:
    history.append([point(NOON, used=1)])
    history.append([point(NOON, used=2), point(NOON + 5, used=3)])
    buckets = one(history.series("render-01", NOON, NOON + 5)).buckets
    assert [bucket.used_max_bytes for bucket in buckets] == [1, 3]


def test_nothing_to_append_is_no_error(history: DatabaseHistory) -> None:
    history.append([])
    assert history.series("render-01", 0, NOON) == ()


def test_each_gpu_of_one_machine_is_told_in_the_order_people_count(
    history: DatabaseHistory,
) -> None:
    gpus = ("10", "2", "0:1", "0")
    history.append([point(NOON, gpu=gpu) for gpu in gpus] + [point(NOON, machine="render-02")])
    found = history.series("render-01", NOON, NOON)
    assert [series.gpu for series in found] == ["0", "0:1", "2", "10"]


def test_a_range_includes_both_its_ends_and_nothing_else(history: DatabaseHistory) -> None:
    history.append(every(5, NOON, NOON + 60))
    assert moments(one(history.series("render-01", NOON + 10, NOON + 20))) == [
        NOON + 10,
        NOON + 15,
        NOON + 20,
    ]


def test_another_store_on_the_same_file_goes_on_with_the_same_gpus(
    history: DatabaseHistory, database_url: str
) -> None:
    history.append([point(NOON)])
    other = DatabaseHistory(open_database(database_url))
    other.append([point(NOON + 5), point(NOON + 5, gpu="1")])
    history.append([point(NOON + 10, gpu="1")])
    first, second = history.series("render-01", NOON, NOON + 60)
    assert (moments(first), moments(second)) == ([NOON, NOON + 5], [NOON + 5, NOON + 10])
    other.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_batch_that_does_not_fit_the_disk_is_not_there_in_part(
    history: DatabaseHistory, engine: Engine
) -> None:
    history.append([point(NOON)])
    engine.dispose()
    event.listen(engine, "connect", lambda it, _: it.execute("PRAGMA max_page_count=20").close())
    with pytest.raises(DatabaseError, match="cannot grow, its disk is full: free some space"):
        history.append(every(5, NOON + 5, NOON + HOUR, gpu="1"))
    history.append([point(NOON + 10)])
    assert moments(one(history.series("render-01", NOON, NOON + HOUR))) == [NOON, NOON + 10]


def test_a_bucket_is_the_mean_of_its_points_with_the_worst_moment_kept(
    history: DatabaseHistory,
) -> None:
    points = [point(NOON + 20 * k, used=gib * GIB) for k, gib in enumerate((1, 2, 6))]
    points[1] = msgspec.structs.replace(points[1], temperature_celsius=70.0, power_watts=None)
    points[2] = msgspec.structs.replace(points[2], utilization_ratio=1.0, total_bytes=None)
    points[1] = msgspec.structs.replace(points[1], own_bytes=11 * MIB, heat_ratio=1.0)
    points[2] = msgspec.structs.replace(points[2], capped_ratio=None, clock_hertz=900e6)
    history.append(points)
    history.roll_up(NOON + 2 * MINUTE)
    series = one(history.series("render-01", NOON, NOON + DAY, max_points=2))
    assert series.buckets == (
        Bucket(
            at=NOON,
            total_bytes=16 * GIB,
            used_bytes=3.0 * GIB,
            used_max_bytes=6 * GIB,
            available_bytes=13.0 * GIB,
            available_min_bytes=10 * GIB,
            others_bytes=3.0 * GIB,
            utilization_ratio=0.58,
            temperature_celsius=64.0,
            temperature_max_celsius=70.0,
            power_watts=71.25,
            own_bytes=7.0 * MIB,
            clock_hertz=1_570e6,
            heat_ratio=0.33,
            capped_ratio=1.0,
        ),
    )


def test_ten_minutes_are_the_mean_of_their_points_and_not_of_their_minutes(
    history: DatabaseHistory,
) -> None:
    busy = every(5, NOON, NOON + MINUTE, used_bytes=9 * GIB)
    history.append([*busy, point(NOON + MINUTE, used=GIB)])
    history.roll_up(NOON + HOUR)
    (bucket,) = one(history.series("render-01", NOON, NOON + HOUR, max_points=3)).buckets
    assert bucket.used_bytes == pytest.approx((12 * 9 + 1) / 13 * GIB, abs=1)
    assert bucket.used_max_bytes == 9 * GIB


def rolled(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    """All that is rolled up, as it is stored."""
    tables = ("points_by_minute", "points_by_ten_minutes", "roll_ups")
    with reading(engine) as connection:
        return {
            name: sorted(tuple(row) for row in connection.execute(text(f"SELECT * FROM {name}")))
            for name in tables
        }


def rolled_minutes(engine: Engine) -> list[float]:
    return [row[1] / 1000 for row in rolled(engine)["points_by_minute"]]  # type: ignore[operator]


def test_a_bucket_is_made_once_it_is_closed(history: DatabaseHistory, engine: Engine) -> None:
    history.append(every(5, NOON, NOON + 3 * MINUTE))
    history.roll_up(NOON + 2 * MINUTE - 0.001)
    assert rolled_minutes(engine) == [NOON]
    history.roll_up(NOON + 2 * MINUTE)
    assert rolled_minutes(engine) == [NOON, NOON + MINUTE]


def test_rolling_up_again_changes_nothing(history: DatabaseHistory, engine: Engine) -> None:
    history.append(every(5, NOON, NOON + HOUR))
    history.roll_up(NOON + HOUR)
    once = rolled(engine)
    assert len(once["points_by_minute"]) == 60
    assert len(once["points_by_ten_minutes"]) == 6
    history.roll_up(NOON + HOUR)
    assert rolled(engine) == once


def test_a_roll_up_after_days_of_standstill_makes_what_one_every_minute_makes(
    history: DatabaseHistory, engine: Engine, tmp_path: Path
) -> None:
    points = every(30, NOON, NOON + 3 * HOUR) + every(30, NOON + 2 * DAY, NOON + 2 * DAY + HOUR)
    late = open_database(f"sqlite:///{(tmp_path / 'late.db').as_posix()}")
    other = DatabaseHistory(late)
    other.append(points)
    other.roll_up(NOON + 3 * DAY)
    for at in range(int(NOON), int(NOON + 2 * DAY + HOUR), 30 * MINUTE):
        history.append([each for each in points if at <= each.at < at + 30 * MINUTE])
        history.roll_up(at + 30 * MINUTE)
    history.roll_up(NOON + 3 * DAY)
    assert rolled(engine) == rolled(late)
    assert len(rolled(late)["points_by_minute"]) == 4 * 60
    other.close()


def test_a_point_that_comes_late_is_counted(history: DatabaseHistory, engine: Engine) -> None:
    history.append(every(5, NOON, NOON + HOUR, used_bytes=GIB))
    history.roll_up(NOON + HOUR)
    history.append([point(NOON + 31, used=15 * GIB)])
    history.roll_up(NOON + HOUR + MINUTE)
    hour = one(history.series("render-01", NOON, NOON + HOUR, max_points=100))
    assert hour.resolution_seconds == 60
    assert hour.buckets[0].used_max_bytes == 15 * GIB
    ten = one(history.series("render-01", NOON, NOON + HOUR, max_points=10))
    assert ten.resolution_seconds == 600
    assert [bucket.used_max_bytes for bucket in ten.buckets] == [15 * GIB] + [GIB] * 5


def test_a_point_that_comes_a_day_late_does_not_replace_what_many_made(
    history: DatabaseHistory,
) -> None:
    history.append(every(5, NOON, NOON + HOUR, used_bytes=GIB))
    history.roll_up(NOON + HOUR)
    history.prune(NOON + 2 * DAY)
    history.append([point(NOON + 31, used=15 * GIB), point(NOON + 2 * DAY)])
    history.roll_up(NOON + 2 * DAY)
    history.prune(NOON + 2 * DAY)
    series = one(history.series("render-01", NOON, NOON + HOUR))
    assert series.resolution_seconds == 60
    assert len(series.buckets) == 60
    assert {bucket.used_max_bytes for bucket in series.buckets} == {GIB}


def test_each_level_is_kept_as_long_as_it_is_told(history: DatabaseHistory, engine: Engine) -> None:
    for start in (NOON, NOON + 84 * DAY, NOON + 90 * DAY):
        history.append(every(5, start, start + 20 * MINUTE))
    now = NOON + 91 * DAY
    history.roll_up(now)
    history.prune(now)

    def first(name: str) -> float:
        with reading(engine) as connection:
            return connection.execute(text(f"SELECT min(at) FROM {name}")).scalar_one() / 1000

    assert first("points") == NOON + 90 * DAY
    assert first("points_by_minute") == NOON + 84 * DAY
    assert first("points_by_ten_minutes") == NOON + 84 * DAY
    history.prune(now + 10 * MINUTE)
    assert first("points") == NOON + 90 * DAY + 10 * MINUTE
    assert first("points_by_minute") == NOON + 84 * DAY + 10 * MINUTE


def test_what_is_not_rolled_up_yet_is_not_pruned(history: DatabaseHistory) -> None:
    history.append(every(5, NOON, NOON + HOUR))
    history.prune(NOON + 30 * DAY)
    assert len(one(history.series("render-01", NOON, NOON + HOUR)).buckets) == 720
    history.roll_up(NOON + 30 * DAY)
    history.prune(NOON + 30 * DAY)
    series = one(history.series("render-01", NOON, NOON + HOUR))
    assert (series.resolution_seconds, len(series.buckets)) == (600, 6)


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]
)
def grown(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[DatabaseHistory, float]]:
    """A week and a half of one machine, rolled up and pruned a moment ago, and that moment."""
    if request.param == "sqlite":
        file = tmp_path_factory.mktemp("grown") / "tierwatch.db"
        url = f"sqlite:///{file.as_posix()}"
    else:
        url = request.getfixturevalue("postgres").url("grown")
    history = DatabaseHistory(open_database(url))
    now = NOON + 11 * DAY + 95
    history.append(every(120, NOON, now - DAY))
    history.append(every(5, now - DAY, now))
    history.roll_up(now - 10)
    history.prune(now - 10)
    yield history, now
    history.close()


@pytest.mark.parametrize(
    ("hours", "resolution"), [(1, 0), (2.5, 60), (4, 60), (24, 120), (30, 180), (7 * 24, 1200)]
)
def test_a_range_is_told_at_the_finest_resolution_a_chart_can_show(
    grown: tuple[DatabaseHistory, float], hours: float, resolution: int
) -> None:
    history, now = grown
    series = one(history.series("render-01", now - hours * HOUR, now))
    assert series.resolution_seconds == resolution
    assert len(series.buckets) <= 730
    at = moments(series)
    step = resolution or 5
    if hours <= 24:
        assert {round(b - a) for a, b in itertools.pairwise(at)} == {step}
    assert at[0] - (now - hours * HOUR) < max(step, 120)
    assert now - at[-1] <= step


def test_a_range_of_the_past_is_told_at_what_is_still_kept(
    grown: tuple[DatabaseHistory, float],
) -> None:
    history, now = grown
    days_ago = [
        one(history.series("render-01", now - days * DAY, now - days * DAY + HOUR))
        for days in (0.5, 3, 9)
    ]
    assert [series.resolution_seconds for series in days_ago] == [0, 60, 600]
    assert [len(series.buckets) for series in days_ago] == [721, 30, 7]


def test_a_long_range_is_told_in_no_more_points_than_asked_for(
    grown: tuple[DatabaseHistory, float],
) -> None:
    history, now = grown
    series = one(history.series("render-01", now - 20 * DAY, now, max_points=100))
    assert series.resolution_seconds % 600 == 0
    assert 50 < len(series.buckets) <= 100
    assert now - series.buckets[-1].at <= series.resolution_seconds


def test_months_are_told_by_hours_that_are_the_mean_of_all_their_points(
    history: DatabaseHistory,
) -> None:
    for day in range(85):
        start = NOON + day * DAY
        history.append(every(600, start, start + HOUR, used_bytes=2 * GIB))
        history.append(every(60, start + HOUR, start + HOUR + 540, used_bytes=8 * GIB))
    now = NOON + 85 * DAY
    history.roll_up(now)
    history.prune(now)
    series = one(history.series("render-01", NOON, now))
    assert series.resolution_seconds % HOUR == 0
    assert len(series.buckets) <= 730
    first = series.buckets[0]
    assert first.used_bytes == pytest.approx((6 * 2 + 9 * 8) / 15 * GIB, abs=2)
    assert first.used_max_bytes == 8 * GIB


def test_a_young_history_is_told_finely_whatever_the_range(history: DatabaseHistory) -> None:
    history.append(every(5, NOON, NOON + 20 * MINUTE))
    history.roll_up(NOON + 20 * MINUTE)
    series = one(history.series("render-01", NOON - 90 * DAY, NOON + 20 * MINUTE))
    assert (series.resolution_seconds, len(series.buckets)) == (0, 240)


def test_a_chart_reaches_now_before_anything_is_rolled_up(history: DatabaseHistory) -> None:
    history.append(every(5, NOON, NOON + HOUR))
    series = one(history.series("render-01", NOON, NOON + HOUR, max_points=100))
    assert series.resolution_seconds == 60
    assert moments(series) == [NOON + k * MINUTE for k in range(60)]
    history.roll_up(NOON + 31 * MINUTE)
    assert one(history.series("render-01", NOON, NOON + HOUR, max_points=100)) == series


@pytest.mark.parametrize("max_points", [2000, 400, 40])
def test_a_gap_stays_a_gap(history: DatabaseHistory, max_points: int) -> None:
    before, after = every(5, NOON, NOON + HOUR), every(5, NOON + 5 * HOUR, NOON + 6 * HOUR)
    history.append(before + after)
    history.roll_up(NOON + 6 * HOUR)
    series = one(history.series("render-01", NOON, NOON + 6 * HOUR, max_points=max_points))
    assert series.resolution_seconds == {2000: 0, 400: 60, 40: 600}[max_points]
    at = moments(series)
    assert not [moment for moment in at if NOON + HOUR <= moment < NOON + 5 * HOUR]
    assert len(at) == 2 * HOUR // (series.resolution_seconds or 5)


def test_appending_reading_rolling_up_and_pruning_go_on_at_once(history: DatabaseHistory) -> None:
    failures: list[BaseException] = []
    done = threading.Event()

    def append(machine: str) -> None:
        for k in range(120):
            history.append([point(NOON + 5 * k, machine=machine, gpu=g) for g in ("0", "1")])

    def keep() -> None:
        while not done.is_set():
            history.roll_up(NOON + 600)
            history.prune(NOON + DAY)
            history.series("render-1", NOON, NOON + 600)

    def guarded(run: object, *arguments: str) -> None:
        try:
            run(*arguments)  # type: ignore[operator]
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    writers = [threading.Thread(target=guarded, args=(append, f"render-{n}")) for n in range(4)]
    keeper = threading.Thread(target=guarded, args=(keep,))
    for thread in (*writers, keeper):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    keeper.join()
    assert failures == []
    history.roll_up(NOON + 600)
    for machine in range(4):
        for series in history.series(f"render-{machine}", NOON, NOON + 600):
            assert len(series.buckets) == 120
        by_minute = history.series(f"render-{machine}", NOON, NOON + 600, max_points=20)
        assert [len(series.buckets) for series in by_minute] == [10, 10]


def test_the_registry_names_the_store() -> None:
    assert STORES["database"] == f"{DatabaseHistory.__module__}:{DatabaseHistory.__name__}"


@pytest.fixture
def verdicts(engine: Engine) -> VerdictStore:
    return VerdictStore(engine, now=lambda: NOON)


def test_memories_come_back_as_they_were_saved_last(verdicts: VerdictStore) -> None:
    assert verdicts.load_memories() == {}
    verdicts.save_memories({"render-01": b'{"a":1}', "render-02": b"\x00\xff"})
    verdicts.save_memories({"render-01": b'{"a":2}'})
    assert verdicts.load_memories() == {"render-01": b'{"a":2}'}
    verdicts.save_memories({})
    assert verdicts.load_memories() == {}


def change(at: float, state: str, machine: str = "render-01") -> StateChange:
    return msgspec.convert(
        {"machine": machine, "at": at, "state": state, "headline": f"It is {state}."}, StateChange
    )


def test_the_changes_of_a_range_begin_with_the_state_it_begins_in(verdicts: VerdictStore) -> None:
    told = [change(NOON, "ok"), change(NOON + 100, "below"), change(NOON + 200, "ok")]
    verdicts.append_changes([*told, change(NOON + 50, "down", machine="render-02")])
    verdicts.append_changes([])
    assert verdicts.changes("render-01", NOON - 100, NOON + 300) == tuple(told)
    assert verdicts.changes("render-01", NOON + 150, NOON + 300) == tuple(told[1:])
    assert verdicts.changes("render-01", NOON + 100, NOON + 150) == (told[1],)
    assert verdicts.changes("render-01", NOON - 100, NOON - 1) == ()


def test_the_changes_of_every_machine_begin_with_the_state_of_each(verdicts: VerdictStore) -> None:
    ours = [change(NOON, "ok"), change(NOON + 100, "below"), change(NOON + 200, "ok")]
    steady = change(NOON - DAY, "ok", machine="render-02")
    late = change(NOON + 120, "ok", machine="render-03")
    verdicts.append_changes([late, steady, *ours])
    assert verdicts.all_changes(NOON + 100, NOON + 200) == (*ours[:2], steady, late)
    assert verdicts.all_changes(NOON + 100.5, NOON + 110) == (ours[1], steady)


def test_a_change_comes_back_with_its_tier_and_its_cause(verdicts: VerdictStore) -> None:
    told = StateChange(
        machine="render-01",
        at=NOON,
        state="below",
        headline="Cannot serve mass now",
        can_serve="light",
        tier="mass",
        cause="others",
        culprit="game.exe",
    )
    verdicts.append_changes([told])
    assert verdicts.changes("render-01", NOON, NOON) == (told,)


def test_of_two_changes_at_one_moment_the_later_holds(verdicts: VerdictStore) -> None:
    verdicts.append_changes([change(NOON, "below")])
    verdicts.append_changes([change(NOON, "ok")])
    assert verdicts.changes("render-01", NOON, NOON) == (change(NOON, "ok"),)


def test_pruning_changes_leaves_the_state_that_still_holds(verdicts: VerdictStore) -> None:
    told = [change(NOON, "ok"), change(NOON + 100, "below"), change(NOON + 80 * DAY, "ok")]
    steady = change(NOON, "ok", machine="render-02")
    verdicts.append_changes([*told, steady])
    verdicts.prune(NOON + 100 * DAY)
    assert verdicts.changes("render-01", NOON, NOON + 100 * DAY) == (*told[1:],)
    assert verdicts.changes("render-02", NOON, NOON + 100 * DAY) == (steady,)
