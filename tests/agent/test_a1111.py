from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.servers import FAULTS, Clock, Fault
from tests.fakes.servers.a1111 import FakeA1111
from tests.fakes.servers.sdnext import FakeSdNext
from tierwatch_agent.servers import NotThisServer, ServerError, ServerReading
from tierwatch_agent.servers.a1111 import A1111
from tierwatch_agent.snapshot import JobRecord, RunningJob


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fake(clock: Clock) -> Iterator[FakeA1111]:
    fake = FakeA1111(clock)
    yield fake
    fake.stop()


@pytest.fixture
def server(fake: FakeA1111, clock: Clock) -> Iterator[A1111]:
    server = A1111("a1111-7860", fake.url, clock=clock, timeout_seconds=0.3)
    yield server
    server.close()


def look(server: A1111, clock: Clock, seconds: float = 1.0) -> ServerReading:
    clock.advance(seconds)
    return server.read()


def running(server: A1111, clock: Clock) -> RunningJob:
    (job,) = look(server, clock).jobs
    return job


def finished(server: A1111, clock: Clock) -> JobRecord:
    (record,) = look(server, clock).finished
    return record


def test_an_idle_server_is_up_with_its_memory_and_nothing_else(
    fake: FakeA1111, server: A1111
) -> None:
    server.identify()
    reading = server.read()
    assert reading == ServerReading(
        queue_pending=0, queue_running=0, vram_bytes=6 * 2**30, out_of_memory_total=0
    )


def test_a_job_is_followed_from_the_queue_to_its_record(
    fake: FakeA1111, server: A1111, clock: Clock
) -> None:
    fake.pending = ["task(txt2img-ABC1234)"]
    assert look(server, clock).queue_pending == 1
    fake.pending = []
    clock.advance(0.5)
    fake.begin()
    started = int(clock.now)
    job = running(server, clock)
    assert job.started_at == started
    assert job.model == "juggernautXL.safetensors"
    assert (job.step, job.steps, job.progress_ratio) == (None, None, None)
    fake.plan(passes=1, steps=20)
    fake.step(5)
    job = running(server, clock)
    assert (job.step, job.steps) == (5, 20)
    assert job.progress_ratio == pytest.approx(0.26)
    assert job.progressed_at == clock.now
    moved = clock.now
    assert running(server, clock).progressed_at == moved
    fake.finish_pass()
    fake.end()
    record = finished(server, clock)
    assert record == JobRecord(
        id=job.id,
        server="a1111-7860",
        outcome="success",
        ended_at=clock.now,
        started_at=started,
        duration_seconds=clock.now - started,
        model="juggernautXL.safetensors",
        steps=20,
        images=1,
    )
    assert look(server, clock) == ServerReading(
        queue_pending=0,
        queue_running=0,
        finished=(record,),
        vram_bytes=6 * 2**30,
        out_of_memory_total=0,
    )


def test_batches_make_an_image_each_at_least_and_second_passes_none(
    fake: FakeA1111, server: A1111, clock: Clock
) -> None:
    look(server, clock)
    fake.begin()
    fake.plan(passes=6, steps=20)
    fake.state["job"] = "Batch 1 out of 3"
    first = running(server, clock)
    fake.finish_pass()
    fake.finish_pass()
    fake.state["job"] = "Batch 2 out of 3"
    assert running(server, clock).id == first.id
    for _ in range(4):
        fake.finish_pass()
    fake.end()
    assert finished(server, clock).images == 3


def test_an_interrupted_job_is_known_by_the_flag_seen_while_it_ran(
    fake: FakeA1111, server: A1111, clock: Clock
) -> None:
    look(server, clock)
    fake.begin()
    fake.plan(passes=4, steps=20)
    fake.finish_pass()
    fake.state["interrupted"] = True
    running(server, clock)
    fake.finish_pass()
    fake.end(of_page=True)
    record = finished(server, clock)
    assert (record.outcome, record.images) == ("interrupted", 0)


@pytest.mark.parametrize("flag", ["interrupted", "skipped", "stopping_generation"])
def test_a_job_of_the_api_leaves_its_flag_after_its_end(
    fake: FakeA1111, server: A1111, clock: Clock, flag: str
) -> None:
    look(server, clock)
    fake.begin("scripts_txt2img")
    fake.plan(passes=1, steps=20)
    running(server, clock)
    fake.state[flag] = True
    fake.finish_pass()
    fake.end(of_page=False)
    assert finished(server, clock).outcome == "interrupted"


def test_a_job_that_ran_out_of_memory_is_known_by_torchs_counter(
    fake: FakeA1111, server: A1111, clock: Clock
) -> None:
    look(server, clock)
    fake.begin()
    fake.plan(passes=1, steps=20)
    fake.step(7)
    running(server, clock)
    fake.oom += 1
    fake.end()
    reading = look(server, clock)
    (record,) = reading.finished
    assert (record.outcome, record.error, record.images) == ("oom", "OutOfMemoryError", 0)
    assert reading.out_of_memory_total == 1


def test_an_out_of_memory_error_that_was_caught_is_a_success(
    fake: FakeA1111, server: A1111, clock: Clock
) -> None:
    look(server, clock)
    fake.begin()
    fake.plan(passes=1, steps=20)
    running(server, clock)
    fake.oom += 1
    fake.finish_pass()
    fake.end()
    assert finished(server, clock).outcome == "success"


@pytest.mark.parametrize("step", [0, 7])
def test_a_job_that_ends_before_its_last_pass_failed(
    fake: FakeA1111, server: A1111, clock: Clock, step: int
) -> None:
    look(server, clock)
    fake.begin()
    fake.plan(passes=1, steps=20)
    running(server, clock)
    fake.step(step)
    fake.end()
    record = finished(server, clock)
    assert (record.outcome, record.error) == ("error", "ended before its last pass")


def test_a_script_that_announced_more_passes_than_it_made_did_not_fail(
    fake: FakeA1111, server: A1111, clock: Clock
) -> None:
    look(server, clock)
    fake.begin()
    fake.plan(passes=9, steps=20)
    running(server, clock)
    fake.finish_pass()
    fake.end()
    assert finished(server, clock).outcome == "success"


def test_a_job_that_another_one_follows_between_two_looks_is_told_all_the_same(
    fake: FakeA1111, server: A1111, clock: Clock
) -> None:
    look(server, clock)
    fake.begin()
    fake.plan(passes=1, steps=20)
    first = running(server, clock)
    fake.finish_pass()
    fake.end()
    fake.begin("task(txt2img-XYZ9999)")
    reading = look(server, clock)
    assert [record.id for record in reading.finished] == [first.id]
    assert reading.jobs[0].id != first.id


def test_a_job_too_short_to_be_seen_running_is_told_with_an_unknown_duration(
    fake: FakeA1111, server: A1111, clock: Clock
) -> None:
    look(server, clock)
    clock.advance(2)
    fake.run()
    record = finished(server, clock)
    assert (record.outcome, record.images, record.duration_seconds) == ("success", 1, None)


def test_a_job_before_the_agent_came_is_not_told(
    fake: FakeA1111, server: A1111, clock: Clock
) -> None:
    fake.run()
    assert look(server, clock).finished == ()
    assert look(server, clock).finished == ()


def test_a_job_that_ran_already_when_the_agent_came_has_no_known_beginning(
    fake: FakeA1111, server: A1111, clock: Clock
) -> None:
    fake.begin()
    fake.plan(passes=1, steps=20)
    assert running(server, clock).started_at is None
    fake.finish_pass()
    fake.end()
    assert finished(server, clock).duration_seconds is None


def test_a_restart_while_a_job_runs_ends_it_with_an_error(
    fake: FakeA1111, server: A1111, clock: Clock
) -> None:
    look(server, clock)
    fake.oom = 3
    fake.begin()
    fake.plan(passes=1, steps=20)
    running(server, clock)
    fake.stop()
    with pytest.raises(ServerError, match="nothing listens there"):
        look(server, clock)
    fake.restart()
    fake.start()
    record = finished(server, clock)
    assert record.outcome == "error"
    assert record.error == "the server was started anew while it ran"
    clock.advance(5)
    fake.run()
    assert [r.outcome for r in look(server, clock).finished] == ["error", "success"]


def test_a_whole_day_counts_each_job_once_under_an_id_of_its_own(
    fake: FakeA1111, server: A1111, clock: Clock
) -> None:
    told: dict[str, JobRecord] = {}
    for number in range(40):
        fake.begin()
        fake.plan(passes=1, steps=20)
        for step in (3, 9, 15):
            fake.step(step)
            look(server, clock)
        if number % 10 == 9:
            fake.oom += 1
        else:
            fake.finish_pass()
        fake.end()
        for _ in range(3):
            told |= {record.id: record for record in look(server, clock, 5).finished}
    outcomes = [record.outcome for record in told.values()]
    assert (outcomes.count("success"), outcomes.count("oom")) == (36, 4)


def test_what_makes_no_image_is_no_job(fake: FakeA1111, server: A1111, clock: Clock) -> None:
    look(server, clock)
    fake.begin("interrogate")
    assert look(server, clock).jobs == ()
    fake.end()
    assert look(server, clock).finished == ()


def test_a_forge_that_leaves_its_step_at_zero_tells_no_step(
    fake: FakeA1111, server: A1111, clock: Clock
) -> None:
    look(server, clock)
    fake.begin("scripts_txt2img")
    fake.plan(passes=1, steps=30)
    job = running(server, clock)
    assert (job.step, job.steps) == (None, 30)


def test_the_memory_is_asked_every_ten_seconds_and_the_model_once_a_job(
    fake: FakeA1111, server: A1111, clock: Clock
) -> None:
    look(server, clock)
    fake.begin()
    fake.plan(passes=1, steps=20)
    for step in range(20):
        fake.step(step)
        look(server, clock)
    assert fake.asked.count("GET /sdapi/v1/progress") == 21
    assert fake.asked.count("GET /sdapi/v1/memory") == 3
    assert fake.asked.count("GET /sdapi/v1/options") == 1


def test_nothing_is_asked_that_could_change_the_server(
    fake: FakeA1111, server: A1111, clock: Clock
) -> None:
    server.identify()
    fake.begin()
    look(server, clock)
    assert {asked.split()[0] for asked in fake.asked} == {"GET"}


def test_a_server_without_its_api_says_how_to_mend_it(clock: Clock) -> None:
    fake = FakeA1111(clock, api=False)
    server = A1111("a1111-7860", fake.url, clock=clock)
    with pytest.raises(ServerError, match="its API is off: start it with --api"):
        server.identify()
    with pytest.raises(ServerError, match="start it with --api"):
        server.read()
    server.close()
    fake.stop()


def test_a_server_without_its_pages_is_read_without_its_queue(clock: Clock) -> None:
    fake = FakeA1111(clock, user_interface=False)
    server = A1111("a1111-7861", fake.url, clock=clock)
    server.identify()
    assert server.read().queue_pending is None
    assert server.read().queue_running == 0
    assert fake.asked.count("GET /internal/pending-tasks") == 1
    server.close()
    fake.stop()


def test_an_sdnext_is_told_apart(clock: Clock) -> None:
    fake = FakeSdNext(clock)
    fake.pages["GET /sdapi/v1/progress"] = lambda query, body: {"progress": 0, "state": {}}
    server = A1111("a1111-7860", fake.url, clock=clock)
    with pytest.raises(NotThisServer, match=r"an SD\.Next answers"):
        server.identify()
    server.close()
    fake.stop()


def test_something_else_at_the_address_is_told_apart(fake: FakeA1111, server: A1111) -> None:
    fake.pages.clear()
    with pytest.raises(NotThisServer):
        server.identify()


@pytest.mark.parametrize(("fault", "words"), FAULTS)
def test_a_server_in_trouble_is_down_in_words(
    fake: FakeA1111, server: A1111, fault: Fault, words: str
) -> None:
    fake.fault = fault
    with pytest.raises(ServerError) as failure:
        server.read()
    assert words in str(failure.value)
    fake.fault = None
    assert server.read().queue_running == 0


@pytest.mark.parametrize(("fault", "words"), FAULTS)
def test_trouble_with_the_memory_costs_the_memory_alone(
    fake: FakeA1111, server: A1111, fault: Fault, words: str
) -> None:
    fake.fault, fake.faulty_page = fault, "GET /sdapi/v1/memory"
    assert server.read() == ServerReading(queue_pending=0, queue_running=0)


def test_a_server_without_cuda_tells_no_memory(fake: FakeA1111, server: A1111) -> None:
    fake.memory = {"ram": {}, "cuda": {"error": "unavailable"}}
    reading = server.read()
    assert (reading.vram_bytes, reading.out_of_memory_total) == (None, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sampling_step": "seven", "sampling_steps": [], "job_no": None, "job_count": True},
        {"sampling_step": -3, "sampling_steps": 1e400, "job_no": {}, "job_count": "1"},
        {"job_timestamp": 20260101, "interrupted": "no", "skipped": 1},
        {"job_timestamp": "<b>now</b>", "job": None, "job_count": 2**70},
    ],
)
def test_a_field_of_the_wrong_type_costs_that_field(
    fake: FakeA1111, server: A1111, clock: Clock, wrong: dict[str, Any]
) -> None:
    look(server, clock)
    fake.begin()
    fake.plan(passes=1, steps=20)
    fake.step(4)
    whole = running(server, clock)
    fake.overlay = wrong
    reading = look(server, clock)
    assert reading.queue_pending == 0
    for job in reading.jobs:
        assert job.step in (None, whole.step)
        assert job.steps in (None, whole.steps)


def test_an_answer_of_another_shape_is_said_in_words(fake: FakeA1111, server: A1111) -> None:
    fake.pages["GET /sdapi/v1/progress"] = lambda query, body: ["what", "else"]
    with pytest.raises(ServerError, match="its progress has no state"):
        server.read()


def test_names_and_settings_of_the_artist_are_not_kept(
    fake: FakeA1111, server: A1111, clock: Clock
) -> None:
    look(server, clock)
    fake.begin("task(a secret)")
    fake.plan(passes=1, steps=20)
    job = running(server, clock)
    fake.finish_pass()
    fake.end()
    assert "secret" not in repr((job, finished(server, clock)))


def test_waiting_ends_when_it_is_closed(server: A1111) -> None:
    server.close()
    server.wait(3600)
