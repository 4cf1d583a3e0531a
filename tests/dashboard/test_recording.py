"""Readings on their way to the history: each snapshot once, none lost while it cannot write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pytest
from msgspec.structs import replace

from tests.fakes.agents import GIB, gpu, snapshot
from tierwatch_agent.snapshot import Attribution, GpuMemory, GpuSample, JobRecord, Process
from tierwatch_dashboard.changes import StateChange
from tierwatch_dashboard.fleet import Reading
from tierwatch_dashboard.history import GpuPoint
from tierwatch_dashboard.history.jobs import FinishedJob
from tierwatch_dashboard.holder_changes import Holder, HolderChange
from tierwatch_dashboard.recording import Recorder


class Store:
    """Keeps what is committed; refuses while ``fault`` is set."""

    def __init__(self) -> None:
        self.points: list[GpuPoint] = []
        self.batches = 0
        self.changes: list[StateChange] = []
        self.jobs: list[FinishedJob] = []
        self.holders: list[HolderChange] = []
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

    def append_holders(self, changes: Sequence[HolderChange]) -> None:
        if self.fault:
            raise self.fault
        self.holders.extend(changes)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def recorder(store: Store) -> Recorder:
    return recorder_of(store)


def recorder_of(store: Store, *holders: HolderChange, max_waiting: int = 5) -> Recorder:
    """One that begins where an earlier one left ``holders``."""
    return Recorder(
        store.append,
        store.append_changes,
        store.append_jobs,
        store.append_holders,
        holders=holders,
        max_waiting=max_waiting,
    )


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
            own_bytes=0,
        )
    ]


def test_what_production_s_own_server_holds_is_a_figure_of_its_own(
    recorder: Recorder, store: Store
) -> None:
    recorder.take(heard(100.0, shared(own=6, game=4)))
    recorder.take(heard(105.0, replace(shared(own=6, game=4), attribution=None)))
    recorder.write()
    assert [point.own_bytes for point in store.points] == [6 * GIB, None]


def test_of_a_unified_pool_its_own_processes_are_counted(recorder: Recorder, store: Store) -> None:
    card = shared(own=6, game=4)
    assert card.memory
    recorder.take(heard(100.0, replace(card, memory=replace(card.memory, unified=True))))
    recorder.write()
    assert store.points[0].own_bytes == 6 * GIB


@pytest.mark.parametrize(
    ("reasons", "heat", "capped"),
    [
        (None, None, None),
        ((), 0, 0),
        (("gpu_idle",), 0, 0),
        (("sw_power_cap",), 0, 1),
        (("hw_thermal_slowdown", "hw_slowdown"), 1, 0),
        (("hw_power_brake_slowdown", "sw_thermal_slowdown"), 1, 1),
    ],
)
def test_what_holds_the_clocks_back_is_told_apart(
    recorder: Recorder,
    store: Store,
    reasons: tuple[str, ...] | None,
    heat: float | None,
    capped: float | None,
) -> None:
    recorder.take(heard(100.0, replace(gpu(), throttle_reasons=reasons)))
    recorder.write()
    assert (store.points[0].heat_ratio, store.points[0].capped_ratio) == (heat, capped)


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
    seen = replace(reading.snapshot, jobs=jobs)
    return replace(reading, snapshot=seen)


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


def shared(own: float = 0, **gib: float) -> GpuSample:
    """A card of 16 GiB with ComfyUI and others on it."""
    processes = [
        Process(pid=number, name=f"{name}.exe", vram_bytes=round(size * GIB))
        for number, (name, size) in enumerate(gib.items())
    ]
    held = sum(process.vram_bytes or 0 for process in processes)
    server = Process(
        pid=99, name="python main.py", vram_bytes=round(own * GIB), server="comfyui", server_pid=99
    )
    free = 16 * GIB - held - round(own * GIB)
    return replace(
        gpu(),
        memory=GpuMemory(total_bytes=16 * GIB, free_bytes=free, used_bytes=16 * GIB - free),
        processes=(server, *processes),
        attribution=Attribution(
            available_bytes=16 * GIB - held, basis="process", others_bytes=held, server_pid=99
        ),
    )


def told_of(store: Store) -> list[tuple[str, float, float]]:
    """The changes of holders: name, moment, GiB."""
    return [(each.holder.name, each.at, each.size_bytes / GIB) for each in store.holders]


def test_who_holds_vram_is_told_as_it_comes_moves_and_goes(store: Store) -> None:
    recorder = recorder_of(store)
    for at, card in (
        (100.0, shared(own=6)),
        (105.0, shared(own=2, game=4)),
        (110.0, shared(own=2, game=6)),
        (140.0, shared(own=2, game=6.5)),
        (175.0, shared(own=2, game=6.7)),
        (180.0, shared(own=2, game=6.7)),
        (400.0, shared(own=2)),
    ):
        recorder.take(heard(at, card))
    recorder.write()
    # Not production's own; not a move of less than 5 %; none twice within 30 s.
    assert told_of(store) == [("game.exe", 105, 4), ("game.exe", 140, 6.5), ("game.exe", 400, 0)]


def test_small_holders_are_not_told_and_of_many_the_largest_eight(store: Store) -> None:
    recorder = recorder_of(store, max_waiting=20)
    many = {f"p{number}": 0.3 + number / 10 for number in range(10)}
    recorder.take(heard(100.0, shared(small=0.2, **many)))
    recorder.write()
    assert sorted(name for name, _, _ in told_of(store)) == [f"p{n}.exe" for n in range(2, 10)]


def test_two_processes_of_one_name_are_one_holder(store: Store) -> None:
    recorder = recorder_of(store)
    card = shared(game=2)
    twice = (*(card.processes or ()), Process(pid=7, name="game.exe", vram_bytes=GIB))
    recorder.take(heard(100.0, replace(card, processes=twice)))
    recorder.write()
    assert told_of(store) == [("game.exe", 100, 3)]


def test_after_a_restart_only_what_changed_meanwhile_is_told(store: Store) -> None:
    def before(name: str, gib: float) -> HolderChange:
        holder = Holder(machine="a", gpu="0", name=name)
        return HolderChange(holder=holder, at=50.0, size_bytes=round(gib * GIB))

    recorder = recorder_of(store, before("game.exe", 4), before("train.exe", 3))
    recorder.take(heard(100.0, shared(game=4)))
    recorder.write()
    assert told_of(store) == [("train.exe", 100, 0)]


def test_a_gpu_that_was_not_read_leaves_its_holders_as_they_were(store: Store) -> None:
    recorder = recorder_of(store)
    recorder.take(heard(100.0, shared(game=4)))
    recorder.take(heard(200.0, replace(shared(), state="unreadable", processes=None)))
    recorder.take(heard(300.0, shared(game=4)))
    recorder.write()
    assert told_of(store) == [("game.exe", 100, 4)]


def became(state: Literal["down", "ok"], at: float) -> StateChange:
    return StateChange(machine="a", at=at, state=state, headline=state)
