from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.fakes.servers.comfyui import (
    FakeComfyUI,
    Fault,
    Version,
    image,
    node,
    recorded,
    text_to_image,
)
from tests.processes import PATIENCE_SECONDS, eventually
from tierwatch_agent.servers import NotThisServer, ServerError, ServerReading
from tierwatch_agent.servers.comfyui import DEEP_QUEUE, ComfyUI
from tierwatch_agent.snapshot import JobRecord

VERSIONS: tuple[Version, ...] = ("0.27.0", "0.3.64")
OUTCOMES = ["success"] * 6 + ["oom"] * 3 + ["error", "oom", "interrupted", "interrupted", "success"]
"""Of the recorded prompts, in their order."""
ERRORS = ["OutOfMemoryError", "AcceleratorError", "RuntimeError", "ValueError", "OutOfMemoryError"]


@pytest.fixture(params=VERSIONS)
def fake(request: pytest.FixtureRequest) -> Iterator[FakeComfyUI]:
    with FakeComfyUI(request.param) as server:
        yield server


@pytest.fixture
def comfyui(fake: FakeComfyUI) -> Iterator[ComfyUI]:
    yield from watched(fake)


def watched(fake: FakeComfyUI) -> Iterator[ComfyUI]:
    server = ComfyUI("comfyui-8188", fake.url)
    yield server
    server.close()


def when_heard(fake: FakeComfyUI, comfyui: ComfyUI) -> ServerReading:
    """A reading once the server's log reaches the agent."""
    comfyui.read()
    eventually(lambda: len(fake.log_subscribers), bool, "a subscription to the log")
    return comfyui.read()


def after_news(comfyui: ComfyUI) -> ServerReading:
    """A reading once word of a change is there: it comes over the websocket, in its own time."""
    comfyui.wait(1.0)
    return comfyui.read()


def told(comfyui: ComfyUI, ledger: dict[str, JobRecord]) -> ServerReading:
    """A reading whose finished jobs are counted by id, as a ledger does."""
    reading = after_news(comfyui) if ledger else comfyui.read()
    for record in reading.finished:
        ledger.setdefault(record.id, record)
    return reading


def test_it_proves_itself_with_its_version(fake: FakeComfyUI, comfyui: ComfyUI) -> None:
    assert comfyui.identify() == fake.version


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=404),
        Fault(body=b"<html>a page for people</html>"),
        Fault(body=b'{"system": {}}'),
        Fault(body=b"[1, 2]"),
    ],
)
def test_something_else_is_told_apart(fake: FakeComfyUI, comfyui: ComfyUI, fault: Fault) -> None:
    fake.faults["/system_stats"] = fault
    with pytest.raises(NotThisServer):
        comfyui.identify()


def test_recorded_prompts_are_told_each_once_with_outcome_and_size(
    fake: FakeComfyUI, comfyui: ComfyUI
) -> None:
    fake.history = recorded(fake.version, "history")
    finished = comfyui.read().finished
    assert [record.id for record in finished] == [f"comfyui:{key}" for key in fake.history]
    assert [record.outcome for record in finished] == OUTCOMES
    assert [record.error for record in finished if record.error] == ERRORS
    assert {(r.width, r.height, r.batch) for r in finished} == {(128, 128, 1)}
    assert [r.images for r in finished] == [1, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert [r.steps for r in finished if r.steps] == [4, 4, 4, 4, 20, 20, 6]
    slow = finished[2]
    assert slow.duration_seconds == pytest.approx(1.01, abs=0.01)
    assert slow.pixels == 128 * 128


def test_the_recorded_list_of_the_jobs_api_reads_as_the_history_does() -> None:
    """The fake's own list is made from the history: here is a real one."""
    with FakeComfyUI("0.27.0") as fake:
        fake.history = recorded("0.27.0", "history")
        fake.faults["/api/jobs"] = Fault(body=json.dumps(recorded("0.27.0", "jobs")).encode())
        for comfyui in watched(fake):
            assert [record.outcome for record in comfyui.read().finished] == OUTCOMES


def test_a_running_job_is_told_with_what_its_graph_says(
    fake: FakeComfyUI, comfyui: ComfyUI
) -> None:
    comfyui.read()
    fake.queue("a", text_to_image())
    fake.queue("b", text_to_image())
    fake.begin()
    reading = comfyui.read()
    assert (reading.queue_running, reading.queue_pending) == (1, 1)
    (job,) = reading.jobs
    assert (job.id, job.model, job.width, job.height) == ("comfyui:a", "juggernaut_xl", 1024, 768)
    assert (job.batch, job.step, job.steps) == (4, None, 30)


def test_a_job_began_when_it_was_queued_or_when_the_one_before_it_ended() -> None:
    with FakeComfyUI("0.27.0") as fake:
        for comfyui in watched(fake):
            fake.queue("a", text_to_image(), created_at=1000.0)
            fake.queue("b", text_to_image(), created_at=1001.0)
            fake.begin()
            assert [job.started_at for job in comfyui.read().jobs] == [1000.0]
            fake.finish(ended_at=1060.0)
            fake.begin()
            assert [job.started_at for job in comfyui.read().jobs] == [1060.0]


def test_without_the_time_of_its_queueing_a_job_began_as_it_was_first_seen() -> None:
    with FakeComfyUI("0.3.64") as fake:
        fake.queue("a", text_to_image())
        fake.begin()
        comfyui = ComfyUI("comfyui-8188", fake.url, now=lambda: 5000.0)
        assert [job.started_at for job in comfyui.read().jobs] == [None]
        fake.finish()
        fake.queue("b", text_to_image())
        fake.begin()
        assert [job.started_at for job in after_news(comfyui).jobs] == [5000.0]
        comfyui.close()


def test_a_rerun_that_was_wholly_cached_made_no_image(fake: FakeComfyUI, comfyui: ComfyUI) -> None:
    fake.make("a", text_to_image(), outputs={"3": {"images": [image(), image()]}})
    fake.make(
        "b",
        text_to_image(),
        outputs={"3": {"images": [image(), image()]}},
        cached=tuple(text_to_image()),
    )
    first, rerun = comfyui.read().finished
    assert (first.images, first.pixels) == (2, 2 * 1024 * 768)
    assert (rerun.outcome, rerun.images, rerun.pixels) == ("success", 0, 0)


def test_previews_are_no_images(fake: FakeComfyUI, comfyui: ComfyUI) -> None:
    graph = text_to_image(**{"8": node("PreviewImage", images=["6", 0])})
    outputs = {"3": {"images": [image()]}, "8": {"images": [image(kind="temp")]}}
    fake.make("a", graph, outputs=outputs)
    assert [record.images for record in comfyui.read().finished] == [1]


@pytest.mark.parametrize(
    ("kind", "message", "outcome", "error"),
    [
        ("torch.OutOfMemoryError", "", "oom", "OutOfMemoryError"),
        ("torch.cuda.OutOfMemoryError", "", "oom", "OutOfMemoryError"),
        ("torch.AcceleratorError", "CUDA error: out of memory", "oom", "AcceleratorError"),
        ("RuntimeError", "Allocation on device 0 would exceed", "oom", "RuntimeError"),
        ("RuntimeError", "DefaultCPUAllocator: can't allocate memory", "oom", "RuntimeError"),
        ("ValueError", "a secret is wrong", "error", "ValueError"),
        ("no class: a secret", "", "error", None),
        (None, None, "error", None),
    ],
)
def test_out_of_memory_is_told_from_other_errors_and_only_the_class_is_kept(
    fake: FakeComfyUI,
    comfyui: ComfyUI,
    kind: str | None,
    message: str | None,
    outcome: str,
    error: str | None,
) -> None:
    fake.make(
        "a",
        text_to_image(),
        ending="execution_error",
        exception_type=kind,
        exception_message=message,
    )
    (record,) = comfyui.read().finished
    assert (record.outcome, record.error) == (outcome, error)


def test_nothing_private_is_told(fake: FakeComfyUI, comfyui: ComfyUI) -> None:
    fake.make("a", text_to_image())
    fake.make(
        "b",
        text_to_image(),
        ending="execution_error",
        exception_type="ValueError",
        exception_message="a secret",
        traceback=["secret"],
        current_inputs={"text": ["a secret castle"]},
    )
    fake.queue("c", text_to_image())
    fake.begin()
    reading = when_heard(fake, comfyui)
    fake.write("a secret castle\n", "\r 5%|5    | 1/20 [00:01<00:19,  1.00s/it]")
    reading = eventually(comfyui.read, lambda r: r.jobs[0].step, "a step")
    assert len(reading.finished) == 2
    assert b"secret" not in msgspec.json.encode(reading)


def test_steps_come_from_the_log(fake: FakeComfyUI, comfyui: ComfyUI) -> None:
    fake.queue("a", text_to_image())
    fake.begin()
    when_heard(fake, comfyui)
    fake.write("\r 25%|##5       | 5/20 [00:10<00:30,  2.00s/it]")
    reading = eventually(comfyui.read, lambda r: r.jobs[0].step, "a step")
    (job,) = reading.jobs
    assert (job.step, job.steps, job.seconds_per_step) == (5, 20, 2.0)
    assert job.progressed_at is not None
    fake.write("Warning: Ran out of memory when regular VAE decoding, retrying with tiled VAE.\n")
    reading = eventually(comfyui.read, lambda r: r.strained, "strain")
    assert reading.strained == "decodes in tiles for want of memory"


def test_steps_come_from_messages_to_every_client(fake: FakeComfyUI, comfyui: ComfyUI) -> None:
    fake.queue("a", text_to_image())
    fake.begin()
    when_heard(fake, comfyui)
    fake.tell("progress", {"value": 3, "max": 8, "prompt_id": "another", "node": "5"})
    fake.tell("progress", {"value": 2, "max": 8, "prompt_id": "a", "node": "5"})
    (job,) = eventually(comfyui.read, lambda r: r.jobs[0].step, "a step").jobs
    assert (job.step, job.steps) == (2, 8)


def test_a_version_that_gives_no_log_costs_the_steps_alone(
    fake: FakeComfyUI, comfyui: ComfyUI
) -> None:
    fake.faults["/internal/logs/subscribe"] = Fault(status=404)
    fake.queue("a", text_to_image())
    fake.begin()
    comfyui.read()
    eventually(lambda: len(fake.sockets), bool, "a websocket")
    (job,) = comfyui.read().jobs
    assert (job.width, job.step) == (1024, None)


def test_a_change_of_the_queue_ends_the_wait(fake: FakeComfyUI, comfyui: ComfyUI) -> None:
    when_heard(fake, comfyui)
    comfyui.wait(0.0)
    waiting = threading.Thread(target=comfyui.wait, args=(10 * PATIENCE_SECONDS,))
    waiting.start()
    fake.queue("a", text_to_image())
    waiting.join(PATIENCE_SECONDS)
    assert not waiting.is_alive()


def test_it_takes_nobodys_place_and_changes_nothing(fake: FakeComfyUI, comfyui: ComfyUI) -> None:
    comfyui.identify()
    fake.history = recorded(fake.version, "history")
    fake.queue("a", text_to_image())
    fake.begin()
    when_heard(fake, comfyui)
    fake.finish()
    comfyui.read()
    (client,) = fake.sockets
    assert client.startswith("tierwatch-")
    changing = [asked for asked in fake.asked if not asked.startswith("GET ")]
    assert changing == ["PATCH /internal/logs/subscribe"]
    assert not [asked for asked in fake.asked if asked in ("GET /history", "GET /api/jobs")]


def test_a_server_at_rest_is_asked_for_its_queues_length_alone(
    fake: FakeComfyUI, comfyui: ComfyUI
) -> None:
    fake.make("a", text_to_image())
    when_heard(fake, comfyui)
    comfyui.read()
    fake.asked.clear()
    comfyui.read()
    assert fake.asked == ["GET /prompt"]


def test_no_job_is_left_out_however_many_finish_between_two_readings(
    fake: FakeComfyUI, comfyui: ComfyUI
) -> None:
    ledger: dict[str, JobRecord] = {}
    fake.make("first", text_to_image())
    told(comfyui, ledger)
    for number in range(45):
        fake.make(f"job-{number}", text_to_image(), created_at=1000.0 + number)
    for _ in range(4):
        told(comfyui, ledger)
    assert len(ledger) == 46
    assert {record.width for record in ledger.values()} == {1024}


def test_a_job_that_others_were_put_before_is_not_left_out(
    fake: FakeComfyUI, comfyui: ComfyUI
) -> None:
    ledger: dict[str, JobRecord] = {}
    for number in range(25):
        fake.make(f"later-{number}", text_to_image(), created_at=2000.0 + number)
    for _ in range(3):
        told(comfyui, ledger)
    fake.queue("earlier", text_to_image(), created_at=1000.0)
    fake.begin()
    told(comfyui, ledger)
    fake.finish()
    told(comfyui, ledger)
    assert ledger["comfyui:earlier"].outcome == "success"
    assert len(ledger) == 26


def test_a_cleared_history_takes_nothing_back_and_counts_nothing_twice(
    fake: FakeComfyUI, comfyui: ComfyUI
) -> None:
    ledger: dict[str, JobRecord] = {}
    fake.make("a", text_to_image())
    told(comfyui, ledger)
    fake.history.clear()
    fake.make("b", text_to_image())
    fake.make("c", text_to_image(), ending="execution_interrupted")
    told(comfyui, ledger)
    fake.history.clear()
    told(comfyui, ledger)
    assert {key: r.outcome for key, r in ledger.items()} == {
        "comfyui:a": "success",
        "comfyui:b": "success",
        "comfyui:c": "interrupted",
    }


def test_a_server_that_restarts_is_heard_again(fake: FakeComfyUI, comfyui: ComfyUI) -> None:
    ledger: dict[str, JobRecord] = {}
    fake.make("a", text_to_image())
    told(comfyui, ledger)
    fake.stop()
    with pytest.raises(ServerError, match="nothing listens there"):
        comfyui.read()
    fake.history.clear()
    fake.start()
    fake.make("b", text_to_image())
    told(comfyui, ledger)
    assert set(ledger) == {"comfyui:a", "comfyui:b"}
    eventually(lambda: len(fake.log_subscribers), bool, "a subscription to the log")


def test_the_first_versions_of_the_jobs_api_are_understood() -> None:
    with FakeComfyUI("0.27.0") as fake:
        fake.cancelled_is_known = False
        fake.history = recorded("0.27.0", "history")
        for comfyui in watched(fake):
            assert [record.outcome for record in comfyui.read().finished] == OUTCOMES


def test_a_deep_queue_is_not_read_for_its_graphs() -> None:
    with FakeComfyUI("0.27.0") as fake:
        for number in range(DEEP_QUEUE + 2):
            fake.queue(f"job-{number}", text_to_image())
        fake.begin()
        for comfyui in watched(fake):
            reading = comfyui.read()
            assert [job.id for job in reading.jobs] == ["comfyui:job-0"]
            assert reading.queue_pending == DEEP_QUEUE + 1
            assert "GET /queue" not in fake.asked


def test_a_job_full_of_embedded_images_is_counted_without_its_size() -> None:
    with FakeComfyUI("0.27.0") as fake:
        huge = text_to_image(**{"8": node("LoadImageBase64", data="x" * 5_000_000)})
        fake.make("a", huge)
        for comfyui in watched(fake):
            (record,) = comfyui.read().finished
            assert (record.outcome, record.width, record.images) == ("success", None, None)


def test_a_history_of_large_jobs_is_read_in_small_pages() -> None:
    with FakeComfyUI("0.3.64") as fake:
        large = text_to_image(**{"8": node("LoadImageBase64", data="x" * 1_500_000)})
        for comfyui in watched(fake):
            comfyui.read()
            fake.make("a", large)
            fake.make("b", large)
            fake.make("c", large)
            assert len(after_news(comfyui).finished) == 2


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param(Fault(delay_seconds=30.0), "does not answer in time", marks=pytest.mark.slow),
        (Fault(status=500), "status 500"),
        (Fault(status=401), "login"),
        (Fault(body=b"<html>"), "does not answer with JSON"),
        (Fault(body=b"x" * 5_000_000), "more than"),
        (Fault(body=b'{"exec_info": {"queue_remaining": "two"}}'), "length of the queue"),
        (Fault(body=b"[]"), "length of the queue"),
    ],
)
def test_a_server_that_does_not_answer_as_it_should_is_down_in_words(
    fake: FakeComfyUI, comfyui: ComfyUI, fault: Fault, words: str
) -> None:
    fake.faults["/prompt"] = fault
    with pytest.raises(ServerError, match=words):
        comfyui.read()


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b'{"jobs": "none", "pagination": []}',
        b'{"jobs": [null, 1, {"id": 5}, {"id": "x", "status": "completed"}]}',
        b'{"x": {"status": {"messages": [[], ["execution_success"], {"a": 1}]}}, "y": 3}',
        b'{"x": {"status": {"messages": [["execution_success", {"timestamp": "now"}]]}}}',
        b'{"queue_running": [[], [1, 2], ["a", {"b": 1}, 3, 4], 7]}',
    ],
)
@pytest.mark.parametrize("page", ["/api/jobs", "/history", "/queue"])
def test_answers_of_the_wrong_kind_cost_themselves_alone(
    fake: FakeComfyUI, comfyui: ComfyUI, page: str, body: bytes
) -> None:
    fake.queue("a", text_to_image())
    fake.begin()
    fake.faults[page] = Fault(body=body)
    assert comfyui.read().queue_pending in (0, 1)


def test_what_a_failed_reading_missed_is_read_by_the_next(
    fake: FakeComfyUI, comfyui: ComfyUI
) -> None:
    when_heard(fake, comfyui)
    page = "/api/jobs" if fake.version == "0.27.0" else "/history"
    fake.faults[page] = Fault(status=500)
    fake.make("a", text_to_image())
    with pytest.raises(ServerError):
        eventually(comfyui.read, lambda _: False, "an error")
    fake.faults.clear()
    assert [record.id for record in comfyui.read().finished] == ["comfyui:a"]


def test_messages_of_the_wrong_kind_are_passed_over(fake: FakeComfyUI, comfyui: ComfyUI) -> None:
    fake.queue("a", text_to_image())
    fake.begin()
    when_heard(fake, comfyui)
    wrong: list[tuple[str, Any]] = [
        ("progress", None),
        ("progress", {"value": "one", "max": [], "prompt_id": {}}),
        ("logs", {"entries": [None, 3, {"m": 5}]}),
        ("logs", []),
        ("x" * 1000, {}),
    ]
    for kind, data in wrong:
        fake.tell(kind, data)
    fake.tell("progress", {"value": 2, "max": 8, "prompt_id": "a", "node": "5"})
    (job,) = eventually(comfyui.read, lambda r: r.jobs[0].step, "a step").jobs
    assert job.step == 2


@pytest.mark.parametrize(
    ("devices", "held"),
    [
        ([{"type": "cuda", "torch_vram_total": 6 * 2**30, "torch_vram_free": 2**30}], 6 * 2**30),
        ([{"type": "cpu", "torch_vram_total": 6 * 2**30}], None),
        ([{"type": "cuda", "torch_vram_total": "6"}], None),
        ([], None),
        (None, None),
    ],
)
def test_what_torch_holds_of_a_cuda_device_is_the_servers(
    fake: FakeComfyUI, comfyui: ComfyUI, devices: object, held: int | None
) -> None:
    fake.stats = {**fake.stats, "devices": devices}
    assert comfyui.read().vram_bytes == held


def test_recorded_queues_tell_what_runs(tmp_path: Path, fake: FakeComfyUI) -> None:
    recorded_queue = recorded(fake.version, "queue")
    fake.running, fake.pending = recorded_queue["queue_running"], recorded_queue["queue_pending"]
    for comfyui in watched(fake):
        reading = comfyui.read()
        assert (reading.queue_running, reading.queue_pending) == (1, 1)
        (job,) = reading.jobs
        assert job.id == f"comfyui:{recorded_queue['queue_running'][0][1]}"
        assert (job.width, job.height, job.batch, job.steps) == (128, 128, 1, 4)
