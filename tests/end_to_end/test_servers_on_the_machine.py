"""A real agent finds real server processes with nothing configured, and counts each job once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fakes.nvml import Card, Driver, FakeNvml, Proc
from tests.fakes.plain_comfyui import PlainComfyUI
from tests.processes import RunningAgent, eventually, free_port
from tierwatch_agent.servers.comfyui_jobs import job_id
from tierwatch_agent.servers.course import ENDED
from tierwatch_agent.snapshot import JobRecord, MachineSnapshot, ServerSample

pytestmark = pytest.mark.slow

NO_GPU = "sources = []\n"


@pytest.fixture
def comfyui(tmp_path: Path) -> Iterator[PlainComfyUI]:
    with PlainComfyUI(tmp_path, free_port()) as server:
        yield server


def told(snapshot: MachineSnapshot, server: str) -> ServerSample | None:
    return next((sample for sample in snapshot.servers if sample.id == server), None)


def is_up(snapshot: MachineSnapshot, server: str) -> bool:
    sample = told(snapshot, server)
    return sample is not None and sample.state == "up"


def finished(snapshot: MachineSnapshot, server: str) -> int:
    sample = told(snapshot, server)
    return 0 if sample is None else sum(sample.totals.finished.values())


def records(snapshot: MachineSnapshot, server: str) -> dict[str, JobRecord]:
    """Its jobs of the last hour; a job that is told twice fails."""
    jobs = [job for job in snapshot.jobs if job.server == server]
    by_id = {job.id: job for job in jobs}
    assert len(by_id) == len(jobs)
    return by_id


def make(server: PlainComfyUI, *names: str, outcome: str = "success") -> None:
    for name in names:
        server.play(start=name)
        time.sleep(0.06)  # A job that made an image and took no time is a cached one.
        server.play(finish=name, outcome=outcome)


def test_each_job_counts_once_whatever_restarts(tmp_path: Path, comfyui: PlainComfyUI) -> None:
    make(comfyui, "before-the-agent")
    with RunningAgent(tmp_path, config=NO_GPU) as agent:
        agent.until(lambda s: is_up(s, comfyui.id), "the server found")
        make(comfyui, "a", "b")
        make(comfyui, "c", outcome="error")
        make(comfyui, "d", outcome="interrupted")
        agent.until(lambda s: finished(s, comfyui.id) >= 5, "five finished jobs")
        comfyui.play(clear=True)
        make(comfyui, "e")
        agent.until(lambda s: finished(s, comfyui.id) >= 6, "six finished jobs")
    # The agent is away; meanwhile the server goes on.
    make(comfyui, "f")
    with RunningAgent(tmp_path, config=NO_GPU) as agent:
        seen = agent.until(lambda s: finished(s, comfyui.id) >= 7, "seven finished jobs")
        assert set(records(seen, comfyui.id)) == {
            job_id(name) for name in ("before-the-agent", "a", "b", "c", "d", "e", "f")
        }
        comfyui.play(start="lost")
        agent.until(lambda s: (t := told(s, comfyui.id)) and t.jobs, "a running job")
        comfyui.restart()
        make(comfyui, "g")
        seen = agent.until(lambda s: finished(s, comfyui.id) >= 9, "nine finished jobs")
        outcomes = {key: job.outcome for key, job in records(seen, comfyui.id).items()}
        assert outcomes[job_id("c")] == "oom"
        assert outcomes[job_id("d")] == "interrupted"
        assert outcomes[job_id("lost")] == "error"
        assert records(seen, comfyui.id)[job_id("lost")].error == ENDED
        assert finished(seen, comfyui.id) == 9
        server = {"server": comfyui.id}
        jobs = "tierwatch_jobs_finished_total"
        assert agent.sample(jobs, outcome="success", **server) == 6
        assert agent.sample(jobs, outcome="oom", **server) == 1
        assert agent.sample(jobs, outcome="error", **server) == 1
        assert agent.sample("tierwatch_images_generated_total", **server) == 12
        assert agent.sample("tierwatch_image_pixels_total", **server) == 12 * 1024 * 768
        assert agent.sample("tierwatch_job_duration_seconds_count", **server) == 8


def test_what_a_job_is_and_nothing_of_what_it_shows_leaves_the_machine(
    tmp_path: Path, comfyui: PlainComfyUI
) -> None:
    with RunningAgent(tmp_path, config=NO_GPU) as agent:
        agent.until(lambda s: is_up(s, comfyui.id), "the server found")
        comfyui.play(start="a")
        seen = agent.until(lambda s: (t := told(s, comfyui.id)) and t.jobs, "a running job")
        sample = told(seen, comfyui.id)
        assert sample is not None
        (job,) = sample.jobs
        assert (job.model, job.width, job.height, job.batch) == ("sdxl", 1024, 768, 2)
        assert (sample.version, sample.queue_running) == ("0.3.64", 1)
        comfyui.play(finish="a")
        agent.until(lambda s: finished(s, comfyui.id) == 1, "a finished job")
        document = agent.get("/api/v1/snapshot")[1]
        assert ".png" not in document
        assert "somebody" not in document
    assert all("/history?max_items=" in path for path in comfyui.asked() if "history" in path)


def test_two_servers_are_tied_to_the_gpus_that_they_use(tmp_path: Path) -> None:
    fake = FakeNvml(tmp_path)
    with ExitStack() as stack:
        one = stack.enter_context(
            PlainComfyUI(tmp_path, free_port(), "--cuda-device", "0", home="ComfyUI")
        )
        two = stack.enter_context(
            PlainComfyUI(tmp_path, free_port(), "--cuda-device", "1", home="ComfyUI-2")
        )
        cards = [
            Card(uuid=f"GPU-{number}", total_mib=49152, procs=(Proc(server.process.pid, held),))
            for number, server, held in ((0, one, 9000), (1, two, 20000))
        ]
        fake.write(Driver(cards=tuple(cards)))
        agent = stack.enter_context(RunningAgent(tmp_path, environment=fake.env))
        seen = agent.until(
            lambda s: is_up(s, one.id) and is_up(s, two.id) and len(s.gpus) == 2, "both servers"
        )
        gpus = {sample.id: sample.gpus for sample in seen.servers}
        assert (gpus[one.id], gpus[two.id]) == (("GPU-0",), ("GPU-1",))
        two.play(start="a")
        agent.until(lambda s: (t := told(s, two.id)) and t.jobs, "a running job")
        agent.until(
            lambda s: (t := told(s, two.id)) and t.jobs[0].peak_vram_bytes == 20000 * 2**20,
            "the peak of a running job",
        )
        two.play(finish="a")
        seen = agent.until(lambda s: finished(s, two.id) == 1, "a finished job")
        (job,) = records(seen, two.id).values()
        assert (job.gpu, job.peak_vram_bytes) == ("GPU-1", 20000 * 2**20)


def test_where_windows_does_not_tell_who_holds_vram_the_server_does(tmp_path: Path) -> None:
    fake = FakeNvml(tmp_path)
    with PlainComfyUI(tmp_path, free_port(), "--holds", str(7 * 2**30)) as server:
        card = Card(
            total_mib=16384,
            reserved_mib=384,
            used_mib=9000,
            procs=(Proc(server.process.pid, None),),
            driver_model="wddm",
        )
        fake.write(Driver(cards=(card,)))
        with RunningAgent(tmp_path, environment=fake.env) as agent:
            seen = agent.until(
                lambda s: s.gpus and (a := s.gpus[0].attribution) and a.basis == "server",
                "memory attributed by the server's own figure",
            )
            attribution = seen.gpus[0].attribution
            assert attribution is not None
            assert attribution.available_bytes == (16384 - 384 - 9000) * 2**20 + 7 * 2**30
            assert not attribution.lower_bound
            assert attribution.server_pid == server.process.pid


def test_a_server_that_falls_silent_is_down_in_words_and_the_scrape_goes_on(
    tmp_path: Path, comfyui: PlainComfyUI
) -> None:
    with RunningAgent(tmp_path, config=NO_GPU) as agent:
        agent.until(lambda s: is_up(s, comfyui.id), "the server found")
        comfyui.play(silent=True)
        seen = agent.until(lambda s: not is_up(s, comfyui.id), "the server down")
        sample = told(seen, comfyui.id)
        assert sample is not None
        assert "does not answer in time" in (sample.reason or "")
        assert agent.sample("tierwatch_server_up", server=comfyui.id) == 0
        comfyui.play(silent=False)
        agent.until(lambda s: is_up(s, comfyui.id), "the server up again")


def test_where_discovery_is_off_the_settings_say_where_to_look(
    tmp_path: Path, comfyui: PlainComfyUI
) -> None:
    there = json.dumps(f"http://127.0.0.1:{comfyui.port}")
    config = f'{NO_GPU}discover = false\nservers = [{{kind = "comfyui", url = {there}}}]\n'
    with RunningAgent(tmp_path, config=config) as agent:
        agent.until(lambda s: is_up(s, comfyui.id), "the server that is named")
        seen = agent.snapshot()
        assert [sample.id for sample in seen.servers] == [comfyui.id]
        assert [source.name for source in seen.sources] == ["host"]


def test_another_program_in_a_folder_of_that_name_is_asked_once_and_left_alone(
    tmp_path: Path,
) -> None:
    with (
        PlainComfyUI(tmp_path, free_port(), "--something-else") as other,
        RunningAgent(tmp_path, config=NO_GPU) as agent,
    ):
        eventually(agent.said, lambda log: f":{other.port} is no comfyui" in log, "a word of it")
        assert told(agent.snapshot(), other.id) is None
        assert len([path for path in other.asked() if path != "/asked"]) == 1
