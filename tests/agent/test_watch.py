"""Servers watched: threads of their own that ask doubles, and what the snapshot is told of them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest

from tests.processes import eventually
from tierwatch_agent.ledger import Ledger
from tierwatch_agent.servers import NotThisServer, ServerError, ServerReading
from tierwatch_agent.servers.comfyui_jobs import job_id
from tierwatch_agent.servers.course import ENDED
from tierwatch_agent.servers.discovery import Discovery, Found
from tierwatch_agent.servers.reported import JobFinish, JobStart, ReportedJobs
from tierwatch_agent.servers.step_reports import StepReports
from tierwatch_agent.servers.watching import Watching
from tierwatch_agent.snapshot import (
    GpuMemory,
    GpuSample,
    JobRecord,
    Process,
    RunningJob,
    ServerSample,
)

GIB = 2**30
START = 1_795_000_000.0
COMFYUI = Found(
    id="comfyui-8188", kind="comfyui", url="http://127.0.0.1:8188", pid=100, created=1.0
)


class Clock:
    """Unix seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Played:
    """A server that answers what a test says."""

    def __init__(self, version: str | None = "0.27.0") -> None:
        self.version = version
        self.reading = ServerReading()
        self.error: Exception | None = None
        self.readings = 0
        self.at_once = 0
        self.most_at_once = 0
        self.closed = False

    def identify(self) -> str | None:
        if self.error is not None:
            raise self.error
        return self.version

    def read(self) -> ServerReading:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.error is not None:
                raise self.error
            return self.reading
        finally:
            self.readings += 1
            self.at_once -= 1

    def wait(self, seconds: float) -> None:
        threading.Event().wait(min(seconds, 0.01))

    def close(self) -> None:
        self.closed = True


class Search(Discovery):
    """Finds what a test says."""

    def __init__(self) -> None:
        super().__init__(search=False)
        self.there: tuple[Found, ...] = ()
        self.rejected: list[Found] = []

    def find(self, gpus: Sequence[GpuSample] = ()) -> tuple[Found, ...]:
        return tuple(found for found in self.there if found not in self.rejected)

    def reject(self, found: Found) -> None:
        self.rejected.append(found)


class Machine:
    """Servers that are played, and the watching of them; a test searches and samples."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.search = Search()
        self.servers: dict[str, Played] = {}
        self.ledger = Ledger(now=self.clock)
        self.reported = ReportedJobs(now=self.clock)
        self.steps = StepReports()
        self.watching = Watching(
            self.search,
            self.ledger,
            reported=self.reported,
            steps=self.steps,
            make=lambda found: self.servers[found.id],
            now=self.clock,
        )

    def serve(self, found: Found = COMFYUI, server: Played | None = None) -> Played:
        """A server that is there from now on."""
        self.servers[found.id] = server or Played()
        self.search.there = (*(f for f in self.search.there if f.id != found.id), found)
        self.watching.follow()
        return self.servers[found.id]

    def samples(self, *gpus: GpuSample) -> dict[str, ServerSample]:
        self.watching.note(gpus)
        return {sample.id: sample for sample in self.watching.samples(gpus)}

    def until(
        self, holds: Callable[[ServerSample], object], what: str, *gpus: GpuSample
    ) -> ServerSample:
        """The first sample of the ComfyUI of which it holds."""

        def read() -> ServerSample | None:
            return self.samples(*gpus).get(COMFYUI.id)

        seen = eventually(read, lambda sample: sample is not None and holds(sample), what)
        assert seen is not None
        return seen


@pytest.fixture
def machine() -> Iterator[Machine]:
    machine = Machine()
    yield machine
    machine.watching.stop()


def job(name: str = "a", **known: object) -> RunningJob:
    return RunningJob(id=name, **known)  # type: ignore[arg-type]


def record(name: str = "a", **known: object) -> JobRecord:
    fields = {"server": COMFYUI.id, "outcome": "success", "ended_at": START, **known}
    return JobRecord(id=name, **fields)  # type: ignore[arg-type]


def card(number: int, *processes: Process) -> GpuSample:
    return GpuSample(
        index=str(number),
        uuid=f"GPU-{number}",
        name="a card",
        vendor="nvidia",
        source="nvml",
        memory=GpuMemory(total_bytes=16 * GIB, free_bytes=16 * GIB, used_bytes=0),
        processes=processes,
    )


def comfyui(held: int | None, pid: int = 100) -> Process:
    vram = None if held is None else held * GIB
    return Process(pid=pid, name="ComfyUI", vram_bytes=vram, server="comfyui", server_pid=100)


def test_a_server_is_told_as_it_answers(machine: Machine) -> None:
    server = machine.serve()
    server.reading = ServerReading(
        queue_pending=3, queue_running=1, jobs=(job(step=4, steps=20),), vram_bytes=7 * GIB
    )
    sample = machine.until(lambda s: s.jobs, "a server with a job")
    assert (sample.state, sample.kind, sample.version) == ("up", "comfyui", "0.27.0")
    assert (sample.queue_pending, sample.queue_running) == (3, 1)
    assert (sample.pid, sample.vram_bytes) == (100, 7 * GIB)
    assert sample.jobs[0].step == 4


def test_a_server_that_fails_is_down_in_words_and_comes_back(machine: Machine) -> None:
    server = machine.serve()
    machine.until(lambda s: s.state == "up", "a server that is up")
    server.error = ServerError("/prompt does not answer in time")
    sample = machine.until(lambda s: s.state == "down", "a server that is down")
    assert sample.reason == "/prompt does not answer in time"
    assert sample.queue_running is None
    server.error = None
    sample = machine.until(lambda s: s.state == "up", "a server that is up again")
    assert sample.reason is None


def test_a_surprise_costs_that_server_alone(machine: Machine) -> None:
    broken = machine.serve()
    other = Found(id="a1111-7860", kind="a1111", url="http://127.0.0.1:7860")
    machine.serve(other)
    broken.error = ValueError("no step")
    sample = machine.until(lambda s: s.state == "down", "a server that is down")
    assert sample.reason == "unexpected ValueError: no step"
    eventually(
        lambda: machine.samples().get(other.id),
        lambda s: s is not None and s.state == "up",
        "the other one up",
    )
    assert broken.closed
    broken.error = None
    machine.until(lambda s: s.state == "up", "the broken one up again")


def test_what_is_no_such_server_is_not_told_and_left_alone(machine: Machine) -> None:
    server = Played()
    server.error = NotThisServer("/system_stats is not there")
    machine.serve(server=server)

    def rejected() -> list[Found]:
        machine.watching.follow()
        return machine.search.rejected

    eventually(rejected, bool, "a server that is rejected")
    machine.watching.follow()
    assert machine.samples() == {}
    assert server.readings == 0


def test_a_server_that_the_settings_name_and_something_else_answers_for_is_down(
    machine: Machine,
) -> None:
    server = Played()
    server.error = NotThisServer("/system_stats is not there")
    machine.serve(msgspec.structs.replace(COMFYUI, configured=True), server)
    sample = machine.until(lambda s: s.state == "down", "a server that is down")
    assert sample.reason == "something else answers there: /system_stats is not there"


def test_one_server_is_never_asked_twice_at_a_time(machine: Machine) -> None:
    server = machine.serve()
    eventually(lambda: server.readings, lambda n: n > 3, "several readings")
    machine.watching.follow()
    assert server.most_at_once == 1


def test_finished_jobs_are_counted_once_with_peak_and_gpu(machine: Machine) -> None:
    server = machine.serve()
    server.reading = ServerReading(queue_running=1, jobs=(job(),))
    machine.until(lambda s: s.jobs, "a running job", card(0, comfyui(3)))
    machine.samples(card(0, comfyui(9), comfyui(1, pid=101)))
    machine.samples(card(0, comfyui(4)))
    server.reading = ServerReading(finished=(record(), record("b", outcome="oom")))
    sample = machine.until(lambda s: s.totals.finished, "finished jobs", card(0, comfyui(4)))
    assert sample.totals.finished == {"success": 1, "oom": 1}
    read = server.readings
    eventually(lambda: server.readings, lambda n: n > read + 1, "two readings more")
    assert machine.samples()[COMFYUI.id].totals.finished == {"success": 1, "oom": 1}
    peaks = {r.id: (r.peak_vram_bytes, r.gpu) for r in machine.watching.recent()}
    assert peaks["a"] == (10 * GIB, "GPU-0")


def test_a_job_too_short_to_be_seen_has_the_peak_of_its_time(machine: Machine) -> None:
    server = machine.serve()
    machine.until(lambda s: s.state == "up", "a server that is up")
    for held in (2, 8, 3):
        machine.clock.now += 1
        machine.samples(card(0, comfyui(held)))
    server.reading = ServerReading(finished=(record(started_at=START + 1.5, ended_at=START + 2.5),))
    machine.until(lambda s: s.totals.finished, "a finished job")
    assert machine.watching.recent()[0].peak_vram_bytes == 8 * GIB


def test_where_the_driver_is_silent_there_is_no_peak(machine: Machine) -> None:
    server = machine.serve()
    server.reading = ServerReading(queue_running=1, jobs=(job(),))
    machine.until(lambda s: s.jobs, "a running job", card(0, comfyui(None)))
    server.reading = ServerReading(finished=(record(),))
    machine.until(lambda s: s.totals.finished, "a finished job", card(0, comfyui(None)))
    assert machine.watching.recent()[0].peak_vram_bytes is None


def test_when_a_job_last_moved_is_seen_where_its_server_does_not_tell(machine: Machine) -> None:
    server = machine.serve()
    machine.until(lambda s: s.state == "up", "a server that is up")
    server.reading = ServerReading(jobs=(job(step=0, steps=20),))
    machine.until(lambda s: s.jobs, "a running job")
    assert machine.samples()[COMFYUI.id].jobs[0].progressed_at is None
    assert machine.samples()[COMFYUI.id].jobs[0].started_at == START
    machine.clock.now += 10
    server.reading = ServerReading(jobs=(job(step=1, steps=20),))
    machine.until(lambda s: s.jobs[0].step == 1, "a step")
    machine.clock.now += 50
    assert machine.samples()[COMFYUI.id].jobs[0].progressed_at == START + 10


def test_when_a_job_began_that_ran_before_the_agent_did_is_not_known(machine: Machine) -> None:
    server = Played()
    server.reading = ServerReading(jobs=(job(),))
    machine.serve(server=server)
    assert machine.until(lambda s: s.jobs, "a running job").jobs[0].started_at is None


def test_a_job_that_its_server_took_along_ended_in_error(machine: Machine) -> None:
    server = machine.serve()
    server.reading = ServerReading(jobs=(job(model="sdxl", width=1024),))
    machine.until(lambda s: s.jobs, "a running job")
    machine.search.there = ()
    machine.watching.follow()
    sample = machine.samples()[COMFYUI.id]
    assert (sample.state, sample.jobs) == ("down", ())
    assert sample.reason == "it has ended: nothing listens there any more"
    (ended,) = machine.watching.recent()
    assert (ended.id, ended.outcome, ended.error, ended.model) == ("a", "error", ENDED, "sdxl")
    machine.clock.now += 301
    assert machine.samples() == {}


def test_a_restarted_server_goes_on_counting_and_its_lost_job_counts_once(machine: Machine) -> None:
    before = machine.serve()
    before.reading = ServerReading(jobs=(job(),), finished=(record("done"),))
    machine.until(lambda s: s.jobs, "a running job")
    after = Played("0.28.0")
    # Its history survived, and so it tells of the job that it lost.
    after.reading = ServerReading(finished=(record("done"), record("a", outcome="interrupted")))
    machine.serve(msgspec.structs.replace(COMFYUI, pid=200, created=2.0), after)
    sample = machine.until(lambda s: s.version == "0.28.0", "the new run")
    assert sample.pid == 200
    assert sample.totals.finished == {"success": 1, "error": 1}


def test_a_job_that_a_silence_has_swallowed_ended_in_error(machine: Machine) -> None:
    # A server that starts itself anew keeps its process, and forgets what it ran.
    server = machine.serve()
    server.reading = ServerReading(jobs=(job("lost"), job("told"), job("goes on")))
    machine.until(lambda s: s.jobs, "running jobs")
    server.error = ServerError("/prompt is refused: nothing listens there")
    machine.until(lambda s: s.state == "down", "a server that is down")
    server.reading = ServerReading(jobs=(job("goes on"),))
    server.error = None
    machine.until(lambda s: s.state == "up", "a server that is up again")
    server.reading = ServerReading(jobs=(job("goes on"),), finished=(record("told"),))
    machine.until(lambda s: s.totals.finished, "a job that is told")
    machine.clock.now += 11
    sample = machine.until(lambda s: len(s.totals.finished) > 1, "a job that is lost")
    assert sample.totals.finished == {"success": 1, "error": 1}
    assert {r.id: r.error for r in machine.watching.recent()} == {"told": None, "lost": ENDED}


def test_a_server_that_moved_is_followed(machine: Machine) -> None:
    machine.serve()
    machine.until(lambda s: s.state == "up", "a server that is up")
    machine.search.there = ()
    moved = msgspec.structs.replace(COMFYUI, id="comfyui-8189", url="http://127.0.0.1:8189")
    machine.serve(moved)
    sample = eventually(
        lambda: machine.samples().get("comfyui-8189"), lambda s: s is not None, "the new address"
    )
    assert sample is not None
    assert sample.state == "up"
    assert machine.samples()[COMFYUI.id].state == "down"


def test_a_server_uses_the_gpus_that_it_was_told_and_holds_memory_on(machine: Machine) -> None:
    told = msgspec.structs.replace(COMFYUI, gpus=("GPU-0", "GPU-1"))
    machine.serve(told)
    machine.until(lambda s: s.state == "up", "a server that is up")
    on_both = (card(0, comfyui(1)), card(1, comfyui(5)), card(2))
    assert machine.samples(*on_both)[COMFYUI.id].gpus == ("GPU-1", "GPU-0")
    assert machine.samples(card(0), card(1))[COMFYUI.id].gpus == ("GPU-0", "GPU-1")


def test_a_server_that_was_told_nothing_uses_the_gpus_that_it_holds_memory_on(
    machine: Machine,
) -> None:
    machine.serve()
    machine.until(lambda s: s.state == "up", "a server that is up")
    assert machine.samples(card(0), card(1, comfyui(5)))[COMFYUI.id].gpus == ("GPU-1",)
    assert machine.samples(card(0), card(1))[COMFYUI.id].gpus == ()


def test_what_a_server_says_that_it_holds_is_told_of_its_gpu(machine: Machine) -> None:
    server = machine.serve(msgspec.structs.replace(COMFYUI, gpus=("GPU-0",)))
    server.reading = ServerReading(vram_bytes=7 * GIB)
    machine.until(lambda s: s.vram_bytes, "its own figure", card(0))
    assert machine.watching.server_bytes("GPU-0") == {100: 7 * GIB}
    assert machine.watching.server_bytes("GPU-1") == {}
    server.error = ServerError("/prompt does not answer in time")
    machine.until(lambda s: s.state == "down", "a server that is down", card(0))
    assert machine.watching.server_bytes("GPU-0") == {100: None}


def test_of_a_server_on_two_gpus_its_figure_is_of_neither_alone(machine: Machine) -> None:
    server = machine.serve(msgspec.structs.replace(COMFYUI, gpus=("GPU-0", "GPU-1")))
    server.reading = ServerReading(vram_bytes=7 * GIB)
    machine.until(lambda s: s.vram_bytes, "its own figure", card(0), card(1))
    assert machine.watching.server_bytes("GPU-0") == {100: None}


def test_steps_that_its_extension_reports_are_its_jobs(machine: Machine) -> None:
    server = machine.serve()
    server.reading = ServerReading(jobs=(job(job_id("prompt-1")),))
    machine.steps.put(8188, "prompt-1", 7, 20, START - 2)
    sample = machine.until(lambda s: s.jobs and s.jobs[0].step, "a reported step")
    assert (sample.jobs[0].step, sample.jobs[0].steps) == (7, 20)
    assert sample.jobs[0].progressed_at == START - 2
    machine.steps.put(8188, "another", 1, 9, START)
    assert machine.samples()[COMFYUI.id].jobs[0].step is None


def test_reported_jobs_are_a_server_of_their_own_once_there_is_one(machine: Machine) -> None:
    assert machine.samples() == {}
    name = machine.reported.start(JobStart(pid=os.getpid(), model="flux"))
    sample = machine.samples()["reported"]
    assert (sample.kind, sample.queue_running, sample.jobs[0].model) == ("reported", 1, "flux")
    machine.samples(card(0, Process(pid=os.getpid(), name="python", vram_bytes=3 * GIB)))
    machine.reported.finish(name, JobFinish(outcome="oom"))
    sample = machine.samples()["reported"]
    assert sample.jobs == ()
    assert sample.totals.finished == {"oom": 1}
    (finished,) = machine.watching.recent()
    assert (finished.id, finished.peak_vram_bytes, finished.gpu) == (name, 3 * GIB, "GPU-0")


def test_the_memory_of_a_reported_jobs_process_is_productions_own(machine: Machine) -> None:
    python = Process(pid=os.getpid(), name="python generate.py", vram_bytes=3 * GIB)
    game = Process(pid=1, name="game.exe", vram_bytes=5 * GIB)
    assert machine.watching.claimed(card(0, python, game)).processes == (python, game)
    machine.reported.start(JobStart(pid=os.getpid()))
    claimed = machine.watching.claimed(card(0, python, game)).processes
    assert claimed is not None
    assert (claimed[0].server, claimed[0].server_pid) == ("reported", os.getpid())
    assert claimed[1] == game
