"""The made-up generation server: jobs come, step, end, run out of memory and stand still."""

from __future__ import annotations

import pytest

from tierwatch_agent.servers import ServerError, ServerReading
from tierwatch_agent.servers.simulated import SimulatedServer

START = 1_795_521_600.0


class Clock:
    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


def server(clock: Clock, query: str) -> SimulatedServer:
    return SimulatedServer("simulated-8188", f"simulated://127.0.0.1:8188/?{query}", clock)


def test_it_says_that_it_is_simulated(clock: Clock) -> None:
    assert server(clock, "").identify() == "simulated"


def test_a_job_steps_from_its_first_to_its_last(clock: Clock) -> None:
    simulated = server(clock, "model=flux_dev&width=832&height=1216&steps=20&seconds=40&queue=2")
    readings: list[ServerReading] = []
    for _ in range(40):
        readings.append(simulated.read())
        clock.at += 1
    steps = [reading.jobs[0].step for reading in readings]
    assert steps[0] is None
    known = [step for step in steps if step is not None]
    assert known == sorted(known)
    assert known[-1] == 20
    last = readings[-1]
    job = last.jobs[0]
    assert (job.model, job.width, job.height, job.steps) == ("flux_dev", 832, 1216, 20)
    assert (last.queue_pending, last.queue_running) == (1, 1)


def test_a_finished_job_is_told_with_what_it_made_and_a_pause_follows(clock: Clock) -> None:
    simulated = server(clock, "seconds=40&pause=9&batch=4&vram_mib=8192&gpu=SIM-0")
    (running,) = simulated.read().jobs
    clock.at += 45
    reading = simulated.read()
    assert reading.jobs == ()
    (job,) = reading.finished
    assert (job.id, job.server, job.outcome) == (running.id, "simulated-8188", "success")
    assert (job.started_at, job.ended_at, job.duration_seconds) == (START, START + 40, 40)
    assert (job.images, job.pixels) == (4, 4 * 1024 * 1024)
    assert (job.gpu, job.peak_vram_bytes) == ("SIM-0", 8192 * 2**20)
    assert reading.vram_bytes == 8192 * 2**20


def test_now_and_then_one_runs_out_of_memory_and_makes_nothing(clock: Clock) -> None:
    simulated = server(clock, "seconds=10&pause=0&oom_every=3")
    clock.at += 61
    outcomes = [job.outcome for job in simulated.read().finished]
    assert outcomes == ["success", "success", "oom", "success", "success", "oom"]
    failed = simulated.read().finished[2]
    assert (failed.error, failed.images, failed.pixels) == ("OutOfMemoryError", 0, 0)


def test_a_job_that_hangs_stands_still_and_then_goes_on(clock: Clock) -> None:
    simulated = server(clock, "seconds=10&pause=0&steps=10&hang_every=2&hang_seconds=100")
    clock.at += 10 + 5
    (job,) = simulated.read().jobs
    stands_at = job.step
    clock.at += 98
    (job,) = simulated.read().jobs
    assert job.step == stands_at
    clock.at += 4
    (job,) = simulated.read().jobs
    assert (job.step or 0) > (stands_at or 0)
    clock.at += 4
    assert [job.duration_seconds for job in simulated.read().finished] == [10, 110]


def test_each_start_has_jobs_of_its_own(clock: Clock) -> None:
    first = server(clock, "").read().jobs[0].id
    clock.at += 5
    assert server(clock, "").read().jobs[0].id != first


@pytest.mark.parametrize("query", ["modle=sdxl", "steps=many", "seconds=0"])
def test_an_address_that_says_nothing_sensible_is_an_error_in_words(
    clock: Clock, query: str
) -> None:
    with pytest.raises(ServerError, match="its address does not say what it does"):
        server(clock, query)
