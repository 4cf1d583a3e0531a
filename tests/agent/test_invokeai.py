from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.servers import FAULTS, Clock, Fault
from tests.fakes.servers.invokeai import QUEUE, FakeInvokeAI
from tests.fakes.servers.swarmui import FakeSwarmUI
from tierwatch_agent.servers import NotThisServer, ServerError, ServerReading
from tierwatch_agent.servers.invokeai import InvokeAI
from tierwatch_agent.snapshot import JobRecord


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fake(clock: Clock) -> Iterator[FakeInvokeAI]:
    fake = FakeInvokeAI(clock)
    yield fake
    fake.stop()


@pytest.fixture
def server(fake: FakeInvokeAI, clock: Clock) -> Iterator[InvokeAI]:
    server = InvokeAI("invokeai-9090", fake.url, clock=clock, timeout_seconds=0.3)
    yield server
    server.close()


def look(server: InvokeAI, clock: Clock, seconds: float = 1.0) -> ServerReading:
    clock.advance(seconds)
    return server.read()


def run(fake: FakeInvokeAI, clock: Clock, seconds: float = 2.0) -> int:
    """A whole job between two looks."""
    number = fake.enqueue()
    fake.start_item(number)
    clock.advance(seconds)
    fake.complete(number)
    return number


def test_an_idle_server_tells_its_version_and_an_empty_queue(server: InvokeAI) -> None:
    assert server.identify() == "6.3.0"
    assert server.read() == ServerReading(queue_pending=0, queue_running=0)


def test_a_job_is_followed_from_the_queue_to_its_record(
    fake: FakeInvokeAI, server: InvokeAI, clock: Clock
) -> None:
    look(server, clock)
    number = fake.enqueue(width=1216, height=832, steps=25)
    waiting = look(server, clock)
    assert (waiting.queue_pending, waiting.queue_running, waiting.jobs) == (1, 0, ())
    fake.start_item(number)
    started = clock.now
    reading = look(server, clock)
    (job,) = reading.jobs
    assert (reading.queue_pending, reading.queue_running) == (0, 1)
    assert job.started_at == started
    assert (job.model, job.width, job.height) == ("Juggernaut XL v9", 1216, 832)
    assert (job.step, job.steps) == (None, 25)
    look(server, clock, 7)
    fake.complete(number)
    ended = clock.now
    reading = look(server, clock)
    assert reading.jobs == ()
    assert reading.finished == (
        JobRecord(
            id=job.id,
            server="invokeai-9090",
            outcome="success",
            ended_at=ended,
            started_at=started,
            duration_seconds=8,
            model="Juggernaut XL v9",
            width=1216,
            height=832,
            steps=25,
            images=1,
            pixels=1216 * 832,
        ),
    )


def test_jobs_between_two_looks_are_all_told(
    fake: FakeInvokeAI, server: InvokeAI, clock: Clock
) -> None:
    look(server, clock)
    for seconds in (0.5, 1.5, 1.0):
        run(fake, clock, seconds)
    durations = [record.duration_seconds for record in look(server, clock).finished]
    assert durations == pytest.approx([0.5, 1.5, 1.0])


def test_more_jobs_than_one_look_takes_are_told_by_and_by(
    fake: FakeInvokeAI, server: InvokeAI, clock: Clock
) -> None:
    look(server, clock)
    for _ in range(10):
        run(fake, clock)
    seen = [len(look(server, clock).finished) for _ in range(4)]
    assert seen == [4, 8, 10, 10]


@pytest.mark.parametrize(
    ("error", "message", "outcome", "told"),
    [
        ("OutOfMemoryError", "CUDA out of memory.", "oom", "OutOfMemoryError"),
        ("RuntimeError", "CUDA error: out of memory", "oom", "RuntimeError"),
        (None, "torch.cuda.OutOfMemoryError: CUDA", "oom", "OutOfMemoryError"),
        ("ValueError", "a secret prompt", "error", "ValueError"),
        ("a secret prompt!", "", "error", None),
        (None, "", "error", None),
    ],
)
def test_a_failed_job_tells_the_class_of_its_error_and_no_more(
    fake: FakeInvokeAI,
    server: InvokeAI,
    clock: Clock,
    error: str | None,
    message: str,
    outcome: str,
    told: str | None,
) -> None:
    look(server, clock)
    number = fake.enqueue()
    fake.start_item(number)
    look(server, clock)
    fake.fail(number, error, message)
    (record,) = look(server, clock).finished
    assert (record.outcome, record.error, record.images) == (outcome, told, None)
    assert "secret" not in repr(record)


def test_a_canceled_job_was_interrupted_and_one_that_never_ran_is_none(
    fake: FakeInvokeAI, server: InvokeAI, clock: Clock
) -> None:
    look(server, clock)
    running, waiting = fake.enqueue(), fake.enqueue()
    fake.start_item(running)
    look(server, clock)
    fake.cancel(running)
    fake.cancel(waiting)
    assert [r.outcome for r in look(server, clock).finished] == ["interrupted"]


def test_a_job_that_is_removed_while_it_runs_was_interrupted(
    fake: FakeInvokeAI, server: InvokeAI, clock: Clock
) -> None:
    look(server, clock)
    number = fake.enqueue()
    fake.start_item(number)
    (job,) = look(server, clock).jobs
    fake.items.clear()
    (record,) = look(server, clock).finished
    assert (record.id, record.outcome) == (job.id, "interrupted")
    assert record.error == "removed from the queue while it ran"


def test_pruning_makes_nothing_run_backwards_and_loses_no_later_job(
    fake: FakeInvokeAI, server: InvokeAI, clock: Clock
) -> None:
    look(server, clock)
    run(fake, clock)
    first = look(server, clock).finished
    fake.prune()
    assert look(server, clock).finished == first
    run(fake, clock)
    assert len(look(server, clock).finished) == 2


def test_items_removed_unseen_do_not_hold_up_those_that_follow(
    fake: FakeInvokeAI, server: InvokeAI, clock: Clock
) -> None:
    look(server, clock)
    gone = fake.enqueue()
    del fake.items[gone]
    number = fake.enqueue()
    fake.start_item(number)
    look(server, clock)
    fake.complete(number)
    run(fake, clock)
    assert len(look(server, clock).finished) == 2


def test_a_job_that_overtakes_the_queue_is_told_and_so_are_those_it_overtook(
    fake: FakeInvokeAI, server: InvokeAI, clock: Clock
) -> None:
    look(server, clock)
    slow, fast = fake.enqueue(), fake.enqueue()
    fake.start_item(fast)
    look(server, clock)
    fake.complete(fast)
    assert len(look(server, clock).finished) == 1
    fake.start_item(slow)
    look(server, clock)
    fake.complete(slow)
    assert len(look(server, clock).finished) == 2
    assert len(look(server, clock).finished) == 2


def test_two_gpus_run_two_jobs(fake: FakeInvokeAI, server: InvokeAI, clock: Clock) -> None:
    look(server, clock)
    first, second = fake.enqueue(), fake.enqueue()
    fake.start_item(first)
    look(server, clock)
    fake.start_item(second)
    fake.items = dict(sorted(fake.items.items(), reverse=True))
    assert len(look(server, clock).jobs) == 2
    fake.complete(second)
    assert len(look(server, clock).finished) == 1
    fake.complete(first)
    assert len(look(server, clock).finished) == 2


def test_of_the_jobs_before_the_agent_came_those_of_the_last_hour_are_told(
    fake: FakeInvokeAI, server: InvokeAI, clock: Clock
) -> None:
    clock.advance(-7200)
    run(fake, clock, 11)
    clock.advance(7100)
    run(fake, clock, 7)
    clock.advance(82)
    waiting = fake.enqueue()
    assert [r.duration_seconds for r in look(server, clock).finished] == [7]
    fake.start_item(waiting)
    clock.advance(1)
    fake.complete(waiting)
    assert [r.duration_seconds for r in look(server, clock).finished] == [7, 1]


def test_of_a_long_history_a_few_items_are_looked_at(
    fake: FakeInvokeAI, server: InvokeAI, clock: Clock
) -> None:
    for _ in range(100):
        run(fake, clock)
    for _ in range(20):
        look(server, clock)
    assert sum("/i/" in asked for asked in fake.asked) == 16


def test_a_restart_cancels_what_ran_and_keeps_the_rest(
    fake: FakeInvokeAI, server: InvokeAI, clock: Clock
) -> None:
    look(server, clock)
    run(fake, clock)
    number = fake.enqueue()
    fake.start_item(number)
    look(server, clock)
    fake.stop()
    with pytest.raises(ServerError, match="nothing listens there"):
        look(server, clock)
    fake.cancel(number)
    fake.start()
    assert [r.outcome for r in look(server, clock).finished] == ["success", "interrupted"]


def test_a_whole_day_counts_each_job_once(
    fake: FakeInvokeAI, server: InvokeAI, clock: Clock
) -> None:
    told: dict[str, JobRecord] = {}
    look(server, clock)
    for number in range(200):
        run(fake, clock)
        if number % 3 == 2:
            told |= {record.id: record for record in look(server, clock).finished}
        if number % 50 == 49:
            for _ in range(2):
                told |= {record.id: record for record in look(server, clock).finished}
            fake.prune()
    assert len(told) == 200


def test_a_version_without_the_list_of_numbers_begins_with_the_first_job_seen(
    clock: Clock,
) -> None:
    fake = FakeInvokeAI(clock, lists_numbers=False)
    server = InvokeAI("invokeai-9090", fake.url, clock=clock)
    look(server, clock)
    run(fake, clock)
    number = fake.enqueue()
    fake.start_item(number)
    look(server, clock)
    fake.complete(number)
    run(fake, clock)
    assert len(look(server, clock).finished) == 2
    assert fake.asked.count(f"GET {QUEUE}/item_ids") == 1
    server.close()
    fake.stop()


def test_a_resting_server_is_asked_for_its_status_alone(
    fake: FakeInvokeAI, server: InvokeAI, clock: Clock
) -> None:
    number = fake.enqueue()
    fake.start_item(number)
    look(server, clock)
    before = len(fake.asked)
    for _ in range(20):
        look(server, clock)
    assert set(fake.asked[before:]) == {f"GET {QUEUE}/status"}
    assert {asked.split()[0] for asked in fake.asked} == {"GET"}


def test_a_paused_processor_is_told(fake: FakeInvokeAI, server: InvokeAI) -> None:
    assert not server.read().paused
    fake.is_started = False
    assert server.read().paused


def test_an_item_too_large_to_be_read_holds_nothing_up(
    fake: FakeInvokeAI, server: InvokeAI, clock: Clock
) -> None:
    look(server, clock)
    large = fake.enqueue()
    fake.start_item(large)
    fake.fault, fake.faulty_page = "huge", f"GET {QUEUE}/i/{large}"
    reading = look(server, clock)
    assert (reading.queue_running, reading.jobs) == (1, ())
    fake.complete(large)
    run(fake, clock)
    assert len(look(server, clock).finished) == 1


def test_figures_come_from_where_newer_models_have_them(
    fake: FakeInvokeAI, server: InvokeAI, clock: Clock
) -> None:
    look(server, clock)
    number = fake.enqueue()
    fake.items[number]["session"]["graph"]["nodes"] = {
        "a": {"type": "flux_model_loader", "model": {"name": "FLUX.1 dev"}},
        "b": {"type": "flux_denoise", "num_steps": 28, "width": 1344, "height": 768},
        "c": {"type": "flux_vae_decode", "is_intermediate": False},
    }
    fake.start_item(number)
    (job,) = look(server, clock).jobs
    assert (job.model, job.width, job.height, job.steps) == ("FLUX.1 dev", 1344, 768, 28)


@pytest.mark.parametrize("version", [None, 7, {"version": 6}, ["6.3.0"]])
def test_something_else_at_the_address_is_told_apart(
    fake: FakeInvokeAI, server: InvokeAI, version: object
) -> None:
    fake.version = version
    with pytest.raises(NotThisServer):
        server.identify()


def test_another_kind_of_server_is_told_apart() -> None:
    fake = FakeSwarmUI()
    server = InvokeAI("invokeai-9090", fake.url)
    with pytest.raises(NotThisServer):
        server.identify()
    server.close()
    fake.stop()


@pytest.mark.parametrize(("fault", "words"), FAULTS)
def test_a_server_in_trouble_is_down_in_words(
    fake: FakeInvokeAI, server: InvokeAI, fault: Fault, words: str
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
        {"pending": "3", "in_progress": None, "completed": [], "item_id": "7"},
        {"pending": -1, "in_progress": 1.5, "failed": {}, "item_id": True},
    ],
)
def test_a_count_of_the_wrong_type_costs_that_count(
    fake: FakeInvokeAI, server: InvokeAI, wrong: dict[str, Any]
) -> None:
    fake.overlay = wrong
    assert server.read() == ServerReading()


def test_figures_of_the_wrong_type_cost_those_figures(
    fake: FakeInvokeAI, server: InvokeAI, clock: Clock
) -> None:
    look(server, clock)
    number = fake.enqueue()
    fake.items[number]["session"]["graph"]["nodes"] = {
        "a": None,
        "b": {"type": ["denoise"], "steps": 3},
        "c": {"type": "denoise_latents", "steps": "many"},
        "d": {"type": "noise", "width": 1024, "height": None},
        "e": {"type": "sdxl_model_loader", "model": "a name"},
    }
    fake.start_item(number)
    fake.items[number] |= {"started_at": "yesterday"}
    (job,) = look(server, clock).jobs
    assert (job.model, job.width, job.height, job.steps) == (None, None, None, None)
    assert job.started_at is None


def test_a_status_without_a_queue_is_said_in_words(fake: FakeInvokeAI, server: InvokeAI) -> None:
    fake.status = {"detail": "no queue today"}
    with pytest.raises(ServerError, match="its status has no queue"):
        server.read()


def test_waiting_ends_when_it_is_closed(server: InvokeAI) -> None:
    server.close()
    server.wait(3600)
