"""Readings on their way to the history: each snapshot once, none lost while it cannot write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import pytest

from tests.fakes.agents import GIB, gpu, snapshot
from tierwatch_agent.snapshot import GpuSample, JobRecord
from tierwatch_dashboard.changes import StateChange
from tierwatch_dashboard.fleet import Reading
from tierwatch_dashboard.history import GpuPoint
from tierwatch_dashboard.history.jobs import FinishedJob
from tierwatch_dashboard.recording import Recorder


class Store:
    """Keeps what is committed; refuses while ``fault`` is set."""

    def __init__(self) -> None:
        self.points: list[GpuPoint] = []
        self.batches = 0
        self.changes: list[StateChange] = []
        self.jobs: list[FinishedJob] = []
        self.fault: Exception | None = None

    def append(self, points: Sequence[GpuPoint]) -> None:
        if self.fault:
            raise self.fault
        self.points.extend(points)
        self.batches += 1

    def append_changes(self, changes: Sequence[StateChange]) -> None:
        if self.fault:
            raise self.fault
        self.changes.extend(changes)

    def append_jobs(self, jobs: Sequence[FinishedJob]) -> None:
        if self.fault:
            raise self.fault
        self.jobs.extend(jobs)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def recorder(store: Store) -> Recorder:
    return Recorder(store.append, store.append_changes, store.append_jobs, max_waiting=5)


def heard(at: float, *gpus: GpuSample, taken_at: float | None = None) -> Reading:
    seen = snapshot("a", taken_at=at if taken_at is None else taken_at, gpus=gpus or (gpu(),))
    return Reading(machine="a", at=at, snapshot=seen)


def test_readings_are_committed_in_one_batch_in_the_order_they_came(
    recorder: Recorder, store: Store
) -> None:
    recorder.take(heard(100.0, gpu(0), gpu(1)))
    recorder.take(heard(105.0, gpu(0), gpu(1)))
    recorder.write()
    assert store.batches == 1
    assert [(point.gpu, point.at) for point in store.points] == [
        ("0", 100.0),
        ("1", 100.0),
        ("0", 105.0),
        ("1", 105.0),
    ]
    assert recorder.health().written == 4


def test_a_point_bears_the_figures_of_its_gpu(recorder: Recorder, store: Store) -> None:
    recorder.take(heard(100.0, gpu(0, available=10 * GIB, total=16 * GIB)))
    recorder.write()
    assert store.points == [
        GpuPoint(
            machine="a",
            gpu="0",
            at=100.0,
            total_bytes=16 * GIB,
            used_bytes=6 * GIB,
            available_bytes=10 * GIB,
            others_bytes=6 * GIB,
            utilization_ratio=0.5,
            temperature_celsius=60.0,
            power_watts=200.0,
        )
    ]


def test_a_snapshot_that_comes_again_is_kept_once(recorder: Recorder, store: Store) -> None:
    recorder.take(heard(100.0, taken_at=99.0))
    recorder.take(heard(105.0, taken_at=99.0))
    recorder.write()
    recorder.take(heard(110.0, taken_at=99.0))
    recorder.write()
    assert [point.at for point in store.points] == [100.0]


def test_a_failed_poll_and_a_lost_gpu_leave_a_gap(recorder: Recorder, store: Store) -> None:
    recorder.take(Reading(machine="a", at=100.0, error="timeout"))
    lost = GpuSample(index="1", uuid="x", name="x", vendor="nvidia", source="nvml", state="lost")
    recorder.take(heard(105.0, gpu(0), lost))
    recorder.write()
    assert [(point.gpu, point.at) for point in store.points] == [("0", 105.0)]


def test_what_could_not_be_written_is_written_the_next_time(
    recorder: Recorder, store: Store
) -> None:
    store.fault = OSError("disk full")
    recorder.take(heard(100.0))
    recorder.take_change(became("down", 100))
    with pytest.raises(OSError, match="disk full"):
        recorder.write()
    recorder.take(heard(105.0))
    recorder.take_change(became("ok", 104))
    store.fault = None
    recorder.write()
    recorder.write()
    assert [point.at for point in store.points] == [100.0, 105.0]
    assert [(change.state, change.at) for change in store.changes] == [("down", 100), ("ok", 104)]
    assert recorder.health().failures == 1
    assert recorder.health().dropped == 0


def test_the_oldest_is_given_up_where_the_store_is_away_too_long(
    recorder: Recorder, store: Store
) -> None:
    store.fault = OSError("disk full")
    for at in range(100, 108):
        recorder.take(heard(float(at)))
        with pytest.raises(OSError, match="disk full"):
            recorder.write()
    store.fault = None
    recorder.write()
    assert [point.at for point in store.points] == [103.0, 104.0, 105.0, 106.0, 107.0]
    assert recorder.health().dropped == 3
    assert recorder.health().written == 5
    assert recorder.health().failures == 8


def told(at: float, *jobs: JobRecord, taken_at: float | None = None) -> Reading:
    reading = heard(at, taken_at=taken_at)
    assert reading.snapshot
    seen = msgspec.structs.replace(reading.snapshot, jobs=jobs)
    return msgspec.structs.replace(reading, snapshot=seen)


def job(id_: str, ended_at: float) -> JobRecord:
    return JobRecord(
        id=id_, server="comfyui-8188", outcome="success", ended_at=ended_at, started_at=ended_at - 9
    )


def test_a_job_that_each_snapshot_tells_is_handed_over_once(
    recorder: Recorder, store: Store
) -> None:
    first, second = job("1", 90.0), job("2", 103.0)
    recorder.take(told(100.0, first))
    recorder.take(told(105.0, first, second))
    recorder.write()
    recorder.take(told(110.0, first, second))
    recorder.write()
    assert store.jobs == [
        FinishedJob(machine="a", job=first),
        FinishedJob(machine="a", job=second),
    ]


def test_a_job_is_handed_over_again_where_it_could_not_be_written(
    recorder: Recorder, store: Store
) -> None:
    store.fault = OSError("disk full")
    recorder.take(told(100.0, job("1", 90.0)))
    with pytest.raises(OSError, match="disk full"):
        recorder.write()
    store.fault = None
    recorder.write()
    recorder.write()
    assert [each.job.id for each in store.jobs] == ["1"]


def test_jobs_of_a_machine_whose_clock_is_wrong_are_in_their_place(
    recorder: Recorder, store: Store
) -> None:
    at = 1_795_521_600.0
    recorder.take(told(at, job("1", 60.0), job("lead", 150.0), taken_at=100.0))
    recorder.write()
    assert [(each.job.id, each.job.started_at, each.job.ended_at) for each in store.jobs] == [
        ("1", at - 49, at - 40),
        ("lead", at + 41, at),
    ]


def test_a_job_of_no_sensible_moment_holds_up_no_other(recorder: Recorder, store: Store) -> None:
    at = 1_795_521_600.0
    recorder.take(told(at, job("long ago", -1e300), job("now", at)))
    recorder.write()
    assert [each.job.id for each in store.jobs] == ["now"]


def became(state: Literal["down", "ok"], at: float) -> StateChange:
    return StateChange(machine="a", at=at, state=state, headline=state)
