"""Jobs that scripts report of themselves: what is kept of them, and what is noticed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import psutil
import pytest

from tests.processes import eventually
from tierwatch_agent.servers.reported import (
    DIED,
    KEPT_SECONDS,
    MOST_FINISHED,
    MOST_RUNNING,
    FinishedAlready,
    JobFinish,
    JobProgress,
    JobStart,
    NotRunning,
    ReportedJobs,
    TooManyJobs,
    UnknownProcess,
    ancestors,
    process_created_at,
)

GIB = 2**30
SDXL = JobStart(pid=7, model="sdxl", width=1024, height=768, batch=4, steps=30, gpu="GPU-1")
SUCCESS = JobFinish(outcome="success")


class Machine:
    """A clock and a table of processes that a test moves by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.created: dict[int, float] = {7: 1.0, 8: 2.0}
        self.parents: dict[int, Sequence[int]] = {}
        self.jobs = ReportedJobs(
            now=lambda: self.now,
            created_at=self.created.get,
            ancestors_of=lambda pid: self.parents.get(pid, ()),
        )

    def start(self, start: JobStart = SDXL) -> str:
        return self.jobs.start(start)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_a_job_runs_with_its_steps_and_its_own_pace(machine: Machine) -> None:
    job_id = machine.start()
    for step, seconds in ((1, 5.0), (2, 1.0), (4, 2.0), (4, 9.0)):
        machine.now += seconds
        machine.jobs.progress(job_id, JobProgress(step=step))
    (job,) = machine.jobs.reading(machine.now).jobs
    assert (job.id, job.model, job.width, job.height, job.batch) == (job_id, "sdxl", 1024, 768, 4)
    assert (job.step, job.steps, job.progress_ratio) == (4, 30, 4 / 30)
    assert (job.started_at, job.progressed_at) == (1000.0, 1008.0)
    assert job.seconds_per_step == 1.0


def test_steps_without_a_known_end_have_a_pace_and_no_ratio(machine: Machine) -> None:
    job_id = machine.start(JobStart(pid=7))
    machine.jobs.progress(job_id, JobProgress(step=1))
    machine.now += 3
    job = machine.jobs.progress(job_id, JobProgress(step=2))
    assert (job.step, job.steps, job.progress_ratio, job.seconds_per_step) == (2, None, None, 3.0)


def test_a_success_made_its_batch_and_a_failure_nothing_known(machine: Machine) -> None:
    done = machine.start()
    machine.now += 12
    record = machine.jobs.finish(done, SUCCESS)
    assert (record.outcome, record.images, record.pixels) == ("success", 4, 4 * 1024 * 768)
    assert (record.duration_seconds, record.ended_at, record.steps) == (12, 1012, 30)
    assert (record.server, record.gpu, record.error) == ("reported", "GPU-1", None)
    failed = machine.start()
    record = machine.jobs.finish(failed, JobFinish(outcome="oom", error="OutOfMemoryError"))
    assert (record.images, record.pixels, record.error) == (None, None, "OutOfMemoryError")


def test_the_images_that_were_told_count_rather_than_the_batch(machine: Machine) -> None:
    record = machine.jobs.finish(machine.start(), JobFinish(outcome="success", images=3))
    assert (record.images, record.pixels) == (3, 3 * 1024 * 768)


def test_a_finished_job_is_told_for_an_hour_and_cannot_finish_twice(machine: Machine) -> None:
    job_id = machine.start()
    machine.jobs.finish(job_id, SUCCESS)
    with pytest.raises(FinishedAlready):
        machine.jobs.finish(job_id, SUCCESS)
    with pytest.raises(NotRunning, match="restarted"):
        machine.jobs.progress("0" * 32, JobProgress(step=1))
    assert [r.id for r in machine.jobs.reading(machine.now + KEPT_SECONDS).finished] == [job_id]
    assert machine.jobs.reading(machine.now + KEPT_SECONDS + 1).finished == ()


def test_a_reporter_tells_when_it_started_and_ended_within_reason(machine: Machine) -> None:
    told = machine.start(JobStart(pid=7, started_at=900.0))
    machine.now = 1030.0
    record = machine.jobs.finish(told, JobFinish(outcome="success", ended_at=1010.0))
    assert (record.started_at, record.ended_at, record.duration_seconds) == (900, 1010, 110)
    absurd = machine.start(JobStart(pid=7, started_at=5e9))
    record = machine.jobs.finish(absurd, JobFinish(outcome="success", ended_at=1.0))
    assert (record.started_at, record.ended_at, record.duration_seconds) == (1030, 1030, 0)


def test_a_reporter_that_dies_leaves_an_error_in_words(machine: Machine) -> None:
    lost, other = machine.start(), machine.start(JobStart(pid=8))
    del machine.created[7]
    reading = machine.jobs.reading(machine.now)
    assert [job.id for job in reading.jobs] == [other]
    (record,) = reading.finished
    assert (record.id, record.outcome, record.error) == (lost, "error", DIED)


def test_a_pid_that_was_given_anew_is_another_process(machine: Machine) -> None:
    machine.start()
    machine.created[7] = 999.0
    reading = machine.jobs.reading(machine.now)
    assert (reading.jobs, reading.finished[0].error) == ((), DIED)


def test_a_job_of_a_process_that_is_not_there_does_not_start(machine: Machine) -> None:
    with pytest.raises(UnknownProcess, match="no process 9 "):
        machine.start(JobStart(pid=9))


def test_running_and_finished_jobs_are_bounded(machine: Machine) -> None:
    ids = [machine.start() for _ in range(MOST_RUNNING)]
    with pytest.raises(TooManyJobs, match="256"):
        machine.start()
    for job_id in ids:
        machine.jobs.finish(job_id, SUCCESS)
    for _ in range(MOST_FINISHED):
        machine.jobs.finish(machine.start(), SUCCESS)
    assert len(machine.jobs.reading(machine.now).finished) == MOST_FINISHED


def test_peak_vram_is_that_of_the_process_with_its_children(machine: Machine) -> None:
    machine.parents = {71: (70, 7, 1), 4711: (1,)}
    job_id, other = machine.start(JobStart(pid=7)), machine.start(JobStart(pid=8))
    gpus = {71: "GPU-2", 4711: "GPU-1"}
    machine.jobs.note_vram({7: GIB, 71: 5 * GIB, 4711: 9 * GIB}, gpus)
    machine.jobs.note_vram({7: GIB, 71: 2 * GIB})
    record = machine.jobs.finish(job_id, SUCCESS)
    assert (record.peak_vram_bytes, record.gpu) == (6 * GIB, "GPU-2")
    record = machine.jobs.finish(other, SUCCESS)
    assert (record.peak_vram_bytes, record.gpu) == (None, None)


def test_whose_child_a_process_is_is_looked_up_seldom(machine: Machine) -> None:
    asked: list[int] = []
    jobs = ReportedJobs(
        now=lambda: machine.now,
        created_at=machine.created.get,
        ancestors_of=lambda pid: (asked.append(pid), ())[1],
    )
    jobs.note_vram({71: GIB})
    assert asked == []
    jobs.start(JobStart(pid=7))
    for _ in range(10):
        machine.now += 1
        jobs.note_vram({71: GIB})
    assert len(asked) <= 3


def test_the_system_tells_of_real_processes() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert process_created_at(child.pid) == psutil.Process(child.pid).create_time()
        assert ancestors(child.pid)[0] == os.getpid()
    finally:
        child.communicate(b"\n")
    assert process_created_at(child.pid) is None
    assert ancestors(child.pid) == ()


def test_an_ended_process_that_nobody_waited_for_is_gone_too() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout as stream:
        stream.read()
    eventually(lambda: process_created_at(child.pid), lambda at: at is None, "its end")
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    child.wait()
