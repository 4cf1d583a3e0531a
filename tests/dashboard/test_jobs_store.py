"""Finished jobs: each is kept once, comes back as it was, is counted, and goes after 90 days."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, event

from tierwatch_agent.snapshot import JobRecord
from tierwatch_dashboard.history.jobs import FinishedJob, JobFilter, JobStore, Throughput

NOON = 1_795_521_600.0
HOUR = 3600.0
DAY = 24 * HOUR
MEGAPIXEL = 1024 * 1024


@pytest.fixture
def store(engine: Engine) -> JobStore:
    return JobStore(engine)


def job(id_: str, ended_at: float = NOON, machine: str = "a", **fields: object) -> FinishedJob:
    record = JobRecord(
        id=id_,
        server="comfyui-8188",
        outcome="success",
        ended_at=ended_at,
        duration_seconds=20.0,
        images=1,
        pixels=MEGAPIXEL,
    )
    return FinishedJob(machine=machine, job=msgspec.structs.replace(record, **fields))


def ids(store: JobStore, limit: int = 100, **asked: Any) -> list[str]:
    return [each.job.id for each in store.recent(limit, **asked)]


def test_a_job_comes_back_with_everything_that_its_agent_told(store: JobStore) -> None:
    whole = JobRecord(
        id="8f6c",
        server="comfyui-8188",
        outcome="oom",
        ended_at=NOON + 0.125,
        started_at=NOON - 31.5,
        duration_seconds=31.625,
        model="flux1-dev",
        width=1344,
        height=768,
        batch=4,
        steps=28,
        images=0,
        pixels=0,
        gpu="GPU-1",
        peak_vram_bytes=17_000_000_000,
        error="OutOfMemoryError",
    )
    store.append([FinishedJob(machine="render-01", job=whole)])
    (kept,) = store.recent(10)
    assert (kept.machine, kept.job) == ("render-01", whole)


def test_what_is_not_known_stays_unknown(store: JobStore) -> None:
    bare = JobRecord(id="x", server="a1111-7860", outcome="success", ended_at=NOON)
    store.append([FinishedJob(machine="a", job=bare)])
    assert store.recent(1)[0].job == bare


def test_a_figure_that_is_none_is_unknown_and_keeps_no_other_job_out(store: JobStore) -> None:
    absurd = job("absurd", pixels=2**70, width=-1, steps=2**40, duration_seconds=-5.0, error="a\0")
    store.append([absurd, job("sound")])
    (sound, kept) = store.recent(2)
    assert sound.job.id == "sound"
    assert (kept.job.pixels, kept.job.width, kept.job.steps) == (None, None, None)
    assert (kept.job.duration_seconds, kept.job.error) == (None, "a")


def test_a_job_that_is_told_again_is_kept_once_and_as_it_was(store: JobStore) -> None:
    store.append([job("1"), job("2"), job("1")])
    store.append([job("2", outcome="error"), job("3"), job("1", machine="b")])
    assert sorted((each.machine, each.job.id) for each in store.recent(10)) == [
        ("a", "1"),
        ("a", "2"),
        ("a", "3"),
        ("b", "1"),
    ]
    assert {each.job.outcome for each in store.recent(10)} == {"success"}


def test_the_latest_comes_first_and_a_filter_holds(store: JobStore) -> None:
    store.append(
        [
            job("early", NOON - 60),
            job("late", NOON + 60),
            job("other", NOON, machine="b"),
            job("failed", NOON + 30, outcome="error"),
        ]
    )
    assert ids(store) == ["late", "failed", "other", "early"]
    assert ids(store, limit=2) == ["late", "failed"]
    assert ids(store, machine="b") == ["other"]
    assert ids(store, outcome="error") == ["failed"]
    assert ids(store, machine="b", outcome="error") == []


def test_pages_follow_each_other_without_a_gap_where_jobs_end_together(store: JobStore) -> None:
    store.append([job(str(number), NOON + number // 5) for number in range(20)])
    seen: list[str] = []
    before = None
    while page := store.recent(3, before=before):
        seen += [each.job.id for each in page]
        before = page[-1].key
    assert len(seen) == 20
    assert seen == ids(store)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_list_is_read_from_an_index_however_many_jobs_there_are(
    store: JobStore, engine: Engine
) -> None:
    plans: list[str] = []

    def explain(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        if statement.startswith("SELECT jobs"):
            with engine.connect() as connection:
                asked = f"EXPLAIN QUERY PLAN {statement}"
                plans.extend(row[3] for row in connection.exec_driver_sql(asked, parameters))

    event.listen(engine, "before_cursor_execute", explain)
    store.append([job("1")])
    key = store.recent(1)[0].key
    store.recent(1, machine="a", before=key)
    store.recent(1, outcome="oom", before=key)
    event.remove(engine, "before_cursor_execute", explain)
    assert plans
    # For the "right part" of an order only those are sorted that ended in one millisecond.
    assert not [plan for plan in plans if "TEMP B-TREE FOR ORDER BY" in plan]
    assert not [plan for plan in plans if plan.startswith("SCAN") and "USING INDEX" not in plan]


def test_throughput_counts_each_gpu_s_jobs_of_a_span(store: JobStore) -> None:
    store.append(
        [
            job("before", NOON - 1),
            job("1", NOON, gpu="GPU-0", images=4, pixels=4 * MEGAPIXEL),
            job("2", NOON + 10, gpu="GPU-0", images=0, pixels=0, outcome="oom"),
            job("3", NOON + 20, gpu="GPU-1"),
            job("4", NOON + 30, machine="b", images=None, pixels=None, duration_seconds=None),
            job("after", NOON + HOUR),
        ]
    )
    assert sorted(store.throughput(NOON, NOON + HOUR), key=lambda t: (t.machine, t.gpu or "")) == [
        Throughput(
            machine="a",
            gpu="GPU-0",
            jobs={"oom": 1, "success": 1},
            images=4,
            pixels=4 * MEGAPIXEL,
            busy_seconds=40.0,
        ),
        Throughput(
            machine="a",
            gpu="GPU-1",
            jobs={"success": 1},
            images=1,
            pixels=MEGAPIXEL,
            busy_seconds=20,
        ),
        Throughput(machine="b", gpu=None, jobs={"success": 1}, images=0, pixels=0, busy_seconds=0),
    ]


def test_a_job_s_usual_duration_is_the_median_of_those_that_succeeded(store: JobStore) -> None:
    store.append(
        [
            *(job(str(s), NOON + s, duration_seconds=float(s)) for s in (10, 12, 300)),
            job("quick failure", NOON, duration_seconds=0.1, outcome="error"),
            job("unknown", NOON, duration_seconds=None),
            job("other", NOON, server="a1111-7860", duration_seconds=7.0),
        ]
    )
    assert store.usual_seconds(NOON, NOON + HOUR) == {
        ("a", "comfyui-8188"): 12.0,
        ("a", "a1111-7860"): 7.0,
    }


def test_jobs_of_more_than_90_days_ago_are_removed(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tierwatch_dashboard.history.jobs._PRUNED_AT_ONCE", 7)
    store.append([job(f"old {number}", NOON + number) for number in range(30)])
    store.append([job("young", NOON + 31)])
    store.prune(NOON + 90 * DAY + 30)
    assert ids(store) == ["young"]


def found(store: JobStore, limit: int = 100, before: int | None = None, **sought: Any) -> list[str]:
    return [each.job.id for each in store.find(limit, JobFilter(**sought), before)]


@pytest.fixture
def varied(store: JobStore) -> JobStore:
    store.append(
        [
            job("1", NOON, "a", model="sdxl_base", outcome="oom", error="OutOfMemoryError"),
            job("2", NOON + 10, "b", model="FLUX1-dev", server="a1111-7860"),
            job("3", NOON + 20, "c", model="flux1-schnell", outcome="error", error="ValueError"),
            job("4", NOON + 30, "a", server="reported", model="100%_own"),
            job("5", NOON + 40, "b"),
        ]
    )
    return store


@pytest.mark.parametrize(
    ("sought", "ids"),
    [
        ({}, "54321"),
        ({"machines": frozenset("a")}, "41"),
        ({"machines": frozenset("ac")}, "431"),
        ({"machines": frozenset()}, ""),
        ({"machines": frozenset(map(str, range(60))) | {"b"}}, "52"),
        ({"server": "comfyui"}, "531"),
        ({"server": "reported"}, "4"),
        ({"server": "comfy"}, ""),
        ({"model": "flux1"}, "32"),
        ({"model": "%_"}, "4"),
        ({"error": "memory"}, "1"),
        ({"outcome": "error"}, "3"),
        ({"since": NOON + 10, "until": NOON + 30}, "32"),
        ({"machines": frozenset("abc"), "model": "FLUX", "outcome": "success"}, "2"),
    ],
)
def test_jobs_are_found_by_what_is_known_of_them(
    varied: JobStore, sought: dict[str, Any], ids: str
) -> None:
    assert "".join(found(varied, **sought)) == ids
    # In pages of one, too.
    keys: list[int] = []
    for id_ in ids:
        (only,) = varied.find(1, JobFilter(**sought), keys[-1] if keys else None)
        assert only.job.id == id_
        keys.append(only.key)
    if keys:
        assert varied.find(1, JobFilter(**sought), keys[-1]) == ()
