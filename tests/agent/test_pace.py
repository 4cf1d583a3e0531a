"""How fast jobs move: what is told of a running job's pace, and what is learnt for the next."""

from __future__ import annotations

import json

import msgspec
import pytest

from tests.agent.stage import GIB, MIB, Stage, Work
from tierwatch_agent.snapshot import RunningJob
from tierwatch_agent.stall import PaceMemory

SDXL = Work(seconds_per_step=2.0)


def seen(stage: Stage) -> RunningJob:
    """The running job as the snapshot will have it."""
    assert stage.judgement is not None
    (job,) = stage.judgement.jobs
    return job


def middle(stage: Stage, work: Work = SDXL) -> RunningJob:
    """A job in the middle of its steps, as the snapshot has it."""
    stage.play(work, until=12)
    return seen(stage)


@pytest.mark.parametrize("pace", [0.11, 0.6, 0.9, 2.0, 7.3, 40.0])
def test_its_own_pace_is_near_the_truth_though_it_is_polled_by_the_second(pace: float) -> None:
    work = Work(seconds_per_step=pace, steps=400)
    stage = Stage()
    stage.play(work, until=max(20, int(20 / pace)))
    assert seen(stage).seconds_per_step == pytest.approx(pace, rel=0.1)


def test_the_usual_pace_is_that_of_earlier_jobs_of_its_model_and_size() -> None:
    stage = Stage()
    assert middle(stage).usual_seconds_per_step is None
    stage.play(SDXL)
    assert middle(stage).usual_seconds_per_step == pytest.approx(2.0, rel=0.1)
    assert middle(stage, Work(width=512, height=512)).usual_seconds_per_step is None
    assert middle(stage, Work(model="flux")).usual_seconds_per_step is None


def test_jobs_of_an_unknown_model_are_not_compared() -> None:
    stage = Stage()
    unknown = Work(tells_kind=False, seconds_per_step=2.0)
    stage.play(unknown)
    assert middle(stage, unknown).usual_seconds_per_step is None


def test_a_pace_that_the_server_tells_itself_is_kept() -> None:
    stage = Stage()
    job = msgspec.structs.replace(middle(stage), seconds_per_step=1.9)
    stage.judge((job,))
    assert seen(stage).seconds_per_step == 1.9


def test_when_a_polled_job_last_advanced_is_told() -> None:
    stage = Stage()
    job = middle(stage)
    advanced = seen(stage).progressed_at
    stage.wait(20, msgspec.structs.replace(job, progressed_at=None))
    assert seen(stage).progressed_at == advanced


def test_a_share_of_progress_does_for_steps() -> None:
    stage = Stage()
    job = RunningJob(id="a", model="sdxl", width=1024, height=1024)
    for percent in range(0, 60, 2):
        job = msgspec.structs.replace(job, progress_ratio=percent / 100)
        stage.judge((job,))
    assert seen(stage).seconds_per_step is None
    stage.wait(40, job)
    assert [stall.evidence for _, stall in stage.stalls] == [
        "no percent for 31 s, usually 0.5 s a percent; 3.9 GiB free of 12.0 GiB; "
        "GPU 0% busy at 30 W of 285 W"
    ]


def test_a_stall_ends_with_the_next_step() -> None:
    stage = Stage()
    job = middle(stage)
    stage.wait(60, job)
    assert stage.causes() == ["hang"]
    assert stage.judge((msgspec.structs.replace(job, step=13),)) is None


def test_a_spill_that_lasts_is_said_for_every_job() -> None:
    stage = Stage()
    stage.load_gpu(shared=100 * MIB)
    stage.play(SDXL)
    stage.load_gpu(shared=3 * GIB, free=100 * MIB)
    slow = Work(seconds_per_step=9.0)
    for _ in range(10):
        stage.play(slow)
    assert stage.causes() == ["spill"] * 10
    assert stage.judge() is None


def test_a_wait_that_ended_by_itself_is_usual_the_next_time() -> None:
    stage = Stage()
    upscaled = Work(finish=400.0)
    stage.play(upscaled)
    assert stage.causes() == ["hang"]
    stage.play(upscaled)
    assert stage.causes() == ["hang"]


def test_a_wait_that_was_interrupted_is_not() -> None:
    stage = Stage()
    stage.play(Work(finish=400.0), outcome="interrupted")
    stage.play(Work(finish=400.0), outcome="interrupted")
    assert stage.causes() == ["hang", "hang"]


@pytest.mark.parametrize(("wait", "said"), [(0, True), (590, True), (620, False)])
def test_an_out_of_memory_is_said_for_a_quiet_time(wait: int, said: bool) -> None:
    stage = Stage()
    stage.play(SDXL, outcome="oom")
    stage.wait(wait)
    assert (stage.judge() is not None) is said


def test_an_out_of_memory_is_said_until_the_next_success() -> None:
    stage = Stage()
    stage.play(SDXL, outcome="oom")
    stage.play(SDXL, outcome="error")
    stage.play(SDXL, outcome="oom")
    stall = stage.judge()
    assert stall is not None
    assert stall.evidence.startswith(
        "a job ran out of memory (sdxl, 1024 × 1024), 2 times since the last success; "
    )
    stage.play(SDXL)
    assert stage.judge() is None


def test_many_kinds_of_jobs_take_a_bounded_memory() -> None:
    stage = Stage()
    for number in range(400):
        stage.play(Work(model=f"model-{number}", steps=4, seconds_per_step=1.0))
    assert len(json.dumps(msgspec.to_builtins(stage.memory))) < 40_000


def test_the_memory_survives_its_way_through_a_file() -> None:
    stage = Stage()
    stage.out_of_memory_total = 2
    stage.load_gpu(shared=100 * MIB, xid_errors={79: 1})
    stage.play(SDXL, outcome="oom")
    middle(stage)
    document = msgspec.json.encode(stage.memory)
    assert msgspec.json.decode(document, type=PaceMemory) == stage.memory
