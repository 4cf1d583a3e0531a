"""Readings on their way to the history: each snapshot once, none lost while it cannot write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pytest

from tests.fakes.agents import GIB, gpu, snapshot
from tierwatch_agent.snapshot import GpuSample
from tierwatch_dashboard.fleet import Reading
from tierwatch_dashboard.history import GpuPoint
from tierwatch_dashboard.history.jobs import FinishedJob
from tierwatch_dashboard.history.verdicts import StateChange
from tierwatch_dashboard.recording import Recorder
from tierwatch_dashboard.verdict import Verdict


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
    recorder.take_change(verdict("down", 100))
    with pytest.raises(OSError, match="disk full"):
        recorder.write()
    recorder.take(heard(105.0))
    recorder.take_change(verdict("ok", 104))
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


def verdict(state: Literal["down", "ok"], since: float) -> Verdict:
    return Verdict(machine="a", state=state, since=since, headline=state)
