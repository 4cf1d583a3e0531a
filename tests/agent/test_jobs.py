"""Jobs as scripts report them: the context manager, the callback, and what happens without."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import tierwatch_agent
from tests.agent.reporting import ServedJobs
from tests.processes import eventually, free_port
from tierwatch_agent import job, jobs
from tierwatch_agent.jobs import flush, outcome_of
from tierwatch_agent.servers.reported import DIED


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedJobs]:
    with ServedJobs() as agent:
        monkeypatch.setenv("TIERWATCH_AGENT_URL", agent.url)
        yield agent


def test_a_job_is_told_from_its_start_to_its_end(agent: ServedJobs) -> None:
    with job(model="sdxl", width=64, height=32, steps=30, batch=4, gpu="0") as j:
        for done in range(1, 8):
            j.step(done)
        (running,) = eventually(
            agent.running, lambda running: running and running[0].step == 7, "step 7"
        )
        assert (running.model, running.width, running.height) == ("sdxl", 64, 32)
        assert (running.batch, running.steps) == (4, 30)
    (record,) = agent.finished(1)
    assert (record.id, record.outcome, record.error) == (running.id, "success", None)
    assert (record.images, record.pixels, record.gpu) == (4, 4 * 64 * 32, "GPU-4080")


def test_a_step_without_a_number_is_one_more(agent: ServedJobs) -> None:
    with job() as j:
        for _ in range(5):
            j.step()
        eventually(agent.running, lambda running: running and running[0].step == 5, "step 5")


def test_images_may_be_said_at_the_end(agent: ServedJobs) -> None:
    with job(batch=4, width=8, height=8) as j:
        j.images = 3
    assert agent.finished(1)[0].images == 3


class Pipeline:
    """What diffusers hands to a callback."""

    num_timesteps = 25


def test_diffusers_callback_tells_steps_and_gives_back_what_it_got(agent: ServedJobs) -> None:
    with job() as j:
        given = {"latents": object()}
        assert j.callback_on_step_end(Pipeline(), 0, 999, given) is given
        (running,) = eventually(
            agent.running, lambda running: running and running[0].step, "a step"
        )
    assert (running.step, running.steps) == (1, 25)


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (OutOfMemoryError("Tried to allocate 20.00 MiB"), "oom"),
        (RuntimeError("CUDA error: out of memory"), "oom"),
        (RuntimeError("HIP out of memory. Tried to allocate"), "oom"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "oom"),
        (RuntimeError("Allocation on device 0 would exceed allowed memory"), "oom"),
        (ValueError("a secret prompt"), "error"),
        (KeyboardInterrupt(), "interrupted"),
        (SystemExit(1), "error"),
    ],
)
def test_the_outcome_is_read_from_the_exception(
    agent: ServedJobs, error: BaseException, outcome: str
) -> None:
    with pytest.raises(type(error)), job():
        raise error
    (record,) = agent.finished(1)
    assert (record.outcome, record.error) == (outcome, type(error).__name__)
    assert record.images is None


def test_out_of_memory_behind_another_error_is_out_of_memory() -> None:
    def fails() -> None:
        try:
            raise OutOfMemoryError
        except OutOfMemoryError as error:
            raise ValueError("no image") from error

    with pytest.raises(ValueError, match="no image") as caught:
        fails()
    assert outcome_of(caught.value) == "oom"


def test_whole_numbers_of_other_kinds_and_long_names_are_told(agent: ServedJobs) -> None:
    class Index:
        def __index__(self) -> int:
            return 512

    with job(model="x" * 300, width=Index(), height=Index()):  # type: ignore[arg-type]
        (running,) = eventually(agent.running, len, "a running job")
    assert (running.width, running.height, running.model) == (512, 512, "x" * 200)


def test_what_the_agent_refuses_is_warned_of_once_and_harms_nothing(
    agent: ServedJobs, caplog: pytest.LogCaptureFixture
) -> None:
    with job(gpu="9") as j:
        j.step()
    flush()
    assert [r.getMessage().partition("report: ")[2] for r in caplog.records] == [
        "gpu: there is no GPU 9; there are: 0"
    ]
    with job():
        pass
    agent.finished(1)


def test_several_jobs_of_one_process_are_told_apart(agent: ServedJobs) -> None:
    def work(number: int) -> None:
        with job(model=f"m{number}", batch=number) as j:
            j.step()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = agent.finished(5)
    assert {(r.model, r.images) for r in records} == {(f"m{n}", n) for n in range(1, 6)}


def test_without_an_agent_nothing_happens_and_it_is_asked_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port()
    monkeypatch.setenv("TIERWATCH_AGENT_URL", f"http://127.0.0.1:{port}")
    with job() as j:
        j.step()
    flush()
    with socket.socket() as late:
        late.bind(("127.0.0.1", port))
        late.listen()
        late.setblocking(False)
        with job() as j:
            j.step()
        flush()
        with pytest.raises(BlockingIOError):
            late.accept()


@pytest.mark.parametrize("url", ["", "127.0.0.1:9838", "http://127.0.0.1:port", "https://x"])
def test_an_address_that_is_none_reports_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERWATCH_AGENT_URL", url)
    with job() as j:
        j.step()
        assert j.callback_on_step_end(None, 1, 2, "kept") == "kept"


def test_an_agent_that_hangs_delays_neither_the_steps_nor_the_end_of_a_script(
    tmp_path: Path,
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        done = script(
            """
            from tierwatch_agent import job
            with job() as j:
                for i in range(1000):
                    j.step(i)
            print("done", flush=True)
            """,
            f"http://127.0.0.1:{silent.getsockname()[1]}",
            tmp_path,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_another_program_at_the_address_harms_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ]
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setenv("TIERWATCH_AGENT_URL", f"http://127.0.0.1:{other.getsockname()[1]}")

        def serve() -> None:
            for answer in answers:
                connection, _ = other.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        for _ in answers:
            with job() as j:
                j.step()
            flush()
        thread.join()
    said = [record.getMessage().partition("report: ")[2] for record in caplog.records]
    assert said == ["another program answers there", "status 404"]


def test_a_job_outlives_a_restart_of_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "RETRY_SECONDS", 0.1)
    first = ServedJobs(port=free_port())
    monkeypatch.setenv("TIERWATCH_AGENT_URL", first.url)
    with job(model="sdxl") as j:
        eventually(first.running, len, "the job")
        first.close()
        j.step(1)
        with ServedJobs(port=first.port) as second:

            def step() -> object:
                j.step()
                return second.running()

            eventually(step, bool, "the job, told anew")
            j.finish("success")
            (record,) = second.finished(1)
    assert (record.model, record.outcome) == ("sdxl", "success")
    assert len(second.reported.reading(record.ended_at).finished) == 1


def test_an_end_that_a_restarting_agent_missed_is_told_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "RETRY_SECONDS", 0.1)
    first = ServedJobs(port=free_port())
    monkeypatch.setenv("TIERWATCH_AGENT_URL", first.url)
    with job(model="sdxl"):
        eventually(first.running, len, "the job")
        first.close()
    flush()
    with ServedJobs(port=first.port) as second:
        (record,) = second.finished(1)
    assert (record.model, record.outcome) == ("sdxl", "success")


def script(text: str, url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a script to its end, reporting to that address."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)],
        env={**os.environ, "TIERWATCH_AGENT_URL": url},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_script_s_last_words_are_told_as_it_exits(agent: ServedJobs, tmp_path: Path) -> None:
    done = script(
        """
        from tierwatch_agent import job
        with job(steps=3):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        """,
        agent.url,
        tmp_path,
    )
    assert done.returncode == 1
    (record,) = agent.finished(1)
    assert (record.outcome, record.error) == ("oom", "RuntimeError")


def test_a_script_that_is_killed_is_noticed(agent: ServedJobs, tmp_path: Path) -> None:
    script(
        """
        import os
        from tierwatch_agent import job
        from tierwatch_agent.jobs import flush
        with job(model="sdxl"):
            flush()
            os.kill(os.getpid(), 9)
        """,
        agent.url,
        tmp_path,
    )
    (record,) = agent.finished(1)
    assert (record.model, record.outcome, record.error) == ("sdxl", "error", DIED)


def test_a_forked_child_reports_by_itself(agent: ServedJobs, tmp_path: Path) -> None:
    done = script(
        """
        import os
        from tierwatch_agent import job
        from tierwatch_agent.jobs import flush
        with job(model="parent") as j:
            flush()
            child = os.fork()
            if child == 0:
                j.step()
                with job(model="child"):
                    pass
                flush()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        """,
        agent.url,
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert {(r.model, r.outcome) for r in agent.finished(2)} == {
        ("parent", "success"),
        ("child", "success"),
    }


def test_the_file_needs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_bytes(Path(jobs.__file__).read_bytes())
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import sys; sys.path[:0] = ['.']; import jobs"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_the_package_imports_none_of_its_modules() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, tierwatch_agent;"
            "print(sorted(m for m in sys.modules if m.startswith('tierwatch_agent')));"
            "print('http.client' in sys.modules, tierwatch_agent.job.__name__)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "['tierwatch_agent']\nFalse job\n"
    with pytest.raises(AttributeError, match="nothing"):
        _ = tierwatch_agent.nothing
