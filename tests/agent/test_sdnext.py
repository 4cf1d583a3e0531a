from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.servers import FAULTS, Clock, Fault
from tests.fakes.servers.a1111 import FakeA1111
from tests.fakes.servers.sdnext import FakeSdNext
from tierwatch_agent.servers import NotThisServer, ServerError, ServerReading
from tierwatch_agent.servers.sdnext import SdNext
from tierwatch_agent.snapshot import JobRecord


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fake(clock: Clock) -> Iterator[FakeSdNext]:
    fake = FakeSdNext(clock)
    yield fake
    fake.stop()


@pytest.fixture
def server(fake: FakeSdNext, clock: Clock) -> Iterator[SdNext]:
    server = SdNext("sdnext-7860", fake.url, clock=clock, timeout_seconds=0.3)
    yield server
    server.close()


def look(server: SdNext, clock: Clock, seconds: float = 1.0) -> ServerReading:
    clock.advance(seconds)
    return server.read()


def test_an_idle_server_tells_its_version_and_memory(fake: FakeSdNext, server: SdNext) -> None:
    assert server.identify() == "2026-07-23 058a7f0cf"
    assert server.read() == ServerReading(
        queue_pending=0, queue_running=0, vram_bytes=7 * 2**30, out_of_memory_total=0
    )


def test_a_version_that_git_does_not_know_is_none(fake: FakeSdNext, server: SdNext) -> None:
    fake.version = {"app": "sd.next", "updated": "unknown", "commit": "unknown"}
    assert server.identify() is None


def test_a_job_of_the_api_is_followed_through_its_phases_to_its_record(
    fake: FakeSdNext, server: SdNext, clock: Clock
) -> None:
    look(server, clock)
    key = fake.begin("API-TXT")
    started = clock.now
    fake.begin("Inference")
    fake.sample(5, 20)
    (job,) = look(server, clock).jobs
    assert (job.started_at, job.model) == (started, "flux1-dev-fp8")
    assert (job.step, job.steps, job.progress_ratio) == (5, 20, 0.25)
    fake.sample(9, 20)
    (job,) = look(server, clock).jobs
    assert (job.step, job.progressed_at) == (9, clock.now)
    fake.end(fake.id)
    (between,) = look(server, clock).jobs
    assert (between.id, between.step) == (job.id, None)
    fake.begin("VAE Decode")
    (decoding,) = look(server, clock).jobs
    assert decoding.id == job.id
    fake.end(fake.id)
    clock.advance(0.25)
    fake.end(key)
    ended = clock.now
    reading = look(server, clock)
    assert reading.jobs == ()
    assert reading.finished == (
        JobRecord(
            id=job.id,
            server="sdnext-7860",
            outcome="success",
            ended_at=ended,
            started_at=started,
            duration_seconds=ended - started,
            model="flux1-dev-fp8",
            steps=20,
        ),
    )


def test_images_are_the_files_that_a_job_saved(
    fake: FakeSdNext, server: SdNext, clock: Clock
) -> None:
    look(server, clock)
    fake.run("Control", saved=4)
    (record,) = look(server, clock).finished
    assert record.images == 4
    assert "secret" not in repr(record)


def test_jobs_between_two_looks_are_all_told_with_their_own_moments(
    fake: FakeSdNext, server: SdNext, clock: Clock
) -> None:
    look(server, clock)
    for seconds in (0.5, 1.5, 1.0):
        fake.run("API-IMG", seconds)
    durations = [record.duration_seconds for record in look(server, clock, 2).finished]
    assert durations == [0.5, 1.5, 1.0]


def test_the_queue_and_a_pause_are_told(fake: FakeSdNext, server: SdNext, clock: Clock) -> None:
    fake.begin("Control")
    fake.pending = 2
    fake.pause()
    reading = look(server, clock)
    assert (reading.queue_pending, reading.queue_running, reading.paused) == (2, 1, True)


def test_an_interrupted_job_is_known_right_after_its_end(
    fake: FakeSdNext, server: SdNext, clock: Clock
) -> None:
    look(server, clock)
    fake.run()
    look(server, clock)
    key = fake.begin("API-TXT")
    look(server, clock)
    fake.interrupted = True
    fake.end(key)
    outcomes = [record.outcome for record in look(server, clock).finished]
    assert outcomes == ["success", "interrupted"]
    clock.advance(1)
    fake.run()
    assert look(server, clock).finished[-1].outcome == "success"


def test_a_job_that_ran_out_of_memory_is_known_by_torchs_counter(
    fake: FakeSdNext, server: SdNext, clock: Clock
) -> None:
    look(server, clock)
    fake.run()
    look(server, clock)
    key = fake.begin("API-TXT")
    look(server, clock)
    fake.oom, fake.interrupted = 1, True  # as its own code does at an error while sampling
    fake.end(key)
    reading = look(server, clock)
    assert [record.outcome for record in reading.finished] == ["success", "oom"]
    assert reading.finished[-1].error == "OutOfMemoryError"
    assert reading.out_of_memory_total == 1


def test_a_job_that_never_ends_while_the_server_rests_was_left_by_an_error(
    fake: FakeSdNext, server: SdNext, clock: Clock
) -> None:
    look(server, clock)
    fake.begin("API-TXT")
    look(server, clock)
    fake.job = ""
    left = clock.now + 1
    assert len(look(server, clock).jobs) == 1
    reading = look(server, clock, 40)
    assert reading.jobs == ()
    assert [(r.outcome, r.ended_at) for r in reading.finished] == [("error", left)]


def test_a_job_that_another_one_has_followed_was_left(
    fake: FakeSdNext, server: SdNext, clock: Clock
) -> None:
    look(server, clock)
    fake.begin("API-TXT")
    clock.advance(1)
    fake.run()
    outcomes = [record.outcome for record in look(server, clock).finished]
    assert outcomes == ["error", "success"]


def test_a_task_of_the_page_that_waits_does_not_end_the_one_that_runs(
    fake: FakeSdNext, server: SdNext, clock: Clock
) -> None:
    look(server, clock)
    first = fake.begin("Text", task_id="first")
    clock.advance(1)
    second = fake.begin("Text", task_id="second")
    clock.advance(1)
    fake.end(first)
    clock.advance(1)
    fake.end(second)
    records = look(server, clock).finished
    assert [(r.outcome, r.duration_seconds) for r in records] == [("success", 2), ("success", 2)]


def test_of_the_jobs_before_the_agent_came_those_of_the_last_hour_are_told(
    fake: FakeSdNext, server: SdNext, clock: Clock
) -> None:
    clock.advance(-7200)
    fake.run(seconds=11)
    clock.advance(7100)
    fake.run(seconds=7)
    clock.advance(82)
    assert [r.duration_seconds for r in look(server, clock).finished] == [7]


def test_loading_a_model_is_no_job(fake: FakeSdNext, server: SdNext, clock: Clock) -> None:
    look(server, clock)
    fake.run("Load model")
    assert look(server, clock).finished == ()
    fake.begin("Load model")
    assert look(server, clock).jobs == ()


def test_a_restart_loses_the_history_and_counts_nothing_twice(
    fake: FakeSdNext, server: SdNext, clock: Clock
) -> None:
    fake.oom = 5
    look(server, clock)
    fake.run()
    look(server, clock)
    fake.stop()
    with pytest.raises(ServerError, match="nothing listens there"):
        look(server, clock)
    fake.restart()
    fake.start()
    fake.run()
    records = look(server, clock).finished
    assert [record.outcome for record in records] == ["success", "success"]
    assert len({record.id for record in records}) == 2


def test_a_whole_day_counts_each_job_once(fake: FakeSdNext, server: SdNext, clock: Clock) -> None:
    told: dict[str, JobRecord] = {}
    look(server, clock)
    for number in range(400):
        fake.run("API-TXT", 3, saved=1)
        if number % 7 == 0:
            for _ in range(2):
                told |= {record.id: record for record in look(server, clock).finished}
    told |= {record.id: record for record in look(server, clock).finished}
    assert len(told) == 400
    assert {record.images for record in told.values()} == {1}


def test_the_history_is_read_seldom_while_a_job_runs(
    fake: FakeSdNext, server: SdNext, clock: Clock
) -> None:
    look(server, clock)
    fake.begin("Control")
    for step in range(120):
        fake.sample(step, 120)
        look(server, clock)
    assert fake.asked.count("GET /sdapi/v1/status") == 121
    assert fake.asked.count("GET /sdapi/v1/history") == 5
    assert fake.asked.count("GET /sdapi/v1/memory") == 13
    assert {asked.split()[0] for asked in fake.asked} == {"GET"}


def test_a_version_without_history_tells_what_runs_and_no_finished_jobs(clock: Clock) -> None:
    fake = FakeSdNext(clock, history=False)
    server = SdNext("sdnext-7860", fake.url, clock=clock)
    look(server, clock)
    key = fake.begin("Control")
    fake.sample(3, 20)
    (job,) = look(server, clock).jobs
    assert (job.step, job.started_at) == (3, None)
    fake.end(key)
    assert look(server, clock) == ServerReading(
        queue_pending=0, queue_running=0, vram_bytes=7 * 2**30, out_of_memory_total=0
    )
    assert fake.asked.count("GET /sdapi/v1/history") == 1
    server.close()
    fake.stop()


def test_a_history_that_has_become_too_large_costs_the_finished_jobs_alone(
    fake: FakeSdNext, server: SdNext, clock: Clock
) -> None:
    fake.fault, fake.faulty_page = "huge", "GET /sdapi/v1/history"
    assert look(server, clock).vram_bytes == 7 * 2**30
    fake.fault = None
    fake.begin("Control")
    fake.sample(3, 20)
    (job,) = look(server, clock).jobs
    assert job.step == 3


def test_a_version_without_a_status_page_is_told_to_be_old(
    fake: FakeSdNext, server: SdNext
) -> None:
    del fake.pages["GET /sdapi/v1/status"]
    with pytest.raises(ServerError, match="older than November 2024, update it"):
        server.read()


def test_an_a1111_is_told_apart(clock: Clock) -> None:
    fake = FakeA1111(clock)
    server = SdNext("sdnext-7860", fake.url, clock=clock)
    with pytest.raises(NotThisServer):
        server.identify()
    server.close()
    fake.stop()


def test_a_version_of_something_else_is_told_apart(fake: FakeSdNext, server: SdNext) -> None:
    fake.version = ["1.0"]
    with pytest.raises(NotThisServer):
        server.identify()


@pytest.mark.parametrize(("fault", "words"), FAULTS)
def test_a_server_in_trouble_is_down_in_words(
    fake: FakeSdNext, server: SdNext, fault: Fault, words: str
) -> None:
    fake.fault = fault
    with pytest.raises(ServerError) as failure:
        server.read()
    assert words in str(failure.value)
    fake.fault = None
    assert server.read().queue_running == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"step": "5", "steps": None, "queued": [], "progress": {}, "total": "x", "id": 17},
        {"step": -1, "steps": 1.5, "queued": -2, "progress": 1e400, "task": None, "current": 3},
        {"step": 2**70, "steps": True, "queued": 2**70, "timestamp": 20261124},
    ],
)
def test_a_field_of_the_wrong_type_costs_that_field(
    fake: FakeSdNext, server: SdNext, clock: Clock, wrong: dict[str, Any]
) -> None:
    look(server, clock)
    fake.begin("Control")
    fake.sample(5, 20)
    look(server, clock)
    fake.overlay = wrong
    reading = look(server, clock)
    (job,) = reading.jobs
    assert (job.step, job.steps) == (None, None)
    assert job.started_at is not None
    assert reading.queue_pending is None or "queued" not in wrong


def test_an_event_of_the_wrong_type_costs_that_event(
    fake: FakeSdNext, server: SdNext, clock: Clock
) -> None:
    look(server, clock)
    wrong: list[Any] = ["text", 7, None, {}, {"id": 3, "op": "begin"}, {"id": "../a", "job": []}]
    fake.events += wrong
    key = fake.begin("API-TXT")
    fake.events.append({"id": key, "job": "api-txt", "op": "end", "timestamp": "now"})
    fake.events.append({"id": "unknown", "job": "text", "op": "end", "timestamp": clock.now})
    clock.advance(2)
    fake.events.append({"id": key, "job": "api-txt", "op": "end", "timestamp": clock.now})
    fake.job = ""
    (record,) = look(server, clock).finished
    assert record.duration_seconds == 2


def test_a_status_without_a_state_is_said_in_words(fake: FakeSdNext, server: SdNext) -> None:
    fake.overlay = {"status": None}
    with pytest.raises(ServerError, match="its status has no state"):
        server.read()


def test_waiting_ends_when_it_is_closed(server: SdNext) -> None:
    server.close()
    server.wait(3600)
