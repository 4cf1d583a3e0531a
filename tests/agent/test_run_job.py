"""``tierwatch-agent run-job``: the command's own behaviour, and what the agent hears of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.agent.reporting import ServedJobs
from tests.processes import eventually, free_port
from tierwatch_agent.jobs import Job
from tierwatch_agent.run_job import LONGEST_LINE, Output
from tierwatch_agent.snapshot import JobRecord

pytestmark = pytest.mark.slow

BAR = "\\r 20%|##        | {i}/5 [00:01<00:04,  3.40it/s]"


@pytest.fixture
def agent() -> Iterator[ServedJobs]:
    with ServedJobs() as agent:
        yield agent


def wrapped(code: str, *options: str) -> list[str]:
    """The command line that runs Python code as a job."""
    agent = [sys.executable, "-m", "tierwatch_agent.cli", "run-job", *options, "--"]
    return [*agent, sys.executable, "-c", textwrap.dedent(code)]


def run(
    command: list[str], url: str, *, given: bytes = b"", timeout: float = 60
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command,
        input=given,
        env={**os.environ, "TIERWATCH_AGENT_URL": url},
        capture_output=True,
        check=False,
        timeout=timeout,
    )


def test_input_output_and_exit_code_are_the_command_s(agent: ServedJobs) -> None:
    code = """
        import sys
        sys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])
        sys.stderr.buffer.write(b"\\xff\\r\\n\\x00 no newline")
        sys.exit(7)
    """
    given = bytes(range(256)) * 2000
    done = run(wrapped(code), agent.url, given=given)
    assert done.returncode == 7
    assert done.stdout == given[::-1]
    assert done.stderr == b"\xff\r\n\x00 no newline"
    (record,) = agent.finished(1)
    assert (record.outcome, record.error) == ("error", "ended with exit code 7")


def test_the_job_is_as_the_options_say(agent: ServedJobs) -> None:
    options = ["--model", "sdxl", "--width", "64", "--height", "32", "--batch", "2", "--steps", "9"]
    assert run(wrapped("pass", *options), agent.url).returncode == 0
    (record,) = agent.finished(1)
    assert (record.model, record.width, record.height) == ("sdxl", 64, 32)
    assert (record.batch, record.steps, record.images, record.pixels) == (2, 9, 2, 4096)
    assert (record.outcome, record.error) == ("success", None)


def test_a_progress_bar_s_steps_are_seen_while_it_is_drawn(agent: ServedJobs) -> None:
    code = f"""
        import sys
        for i in range(1, 4):
            sys.stderr.write("{BAR}".format(i=i))
            sys.stderr.flush()
        sys.stdin.read()
    """
    with subprocess.Popen(
        wrapped(code),
        env={**os.environ, "TIERWATCH_AGENT_URL": agent.url},
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        (running,) = eventually(
            agent.running, lambda running: running and running[0].step == 3, "step 3"
        )
        assert running.steps == 5
        (pid,) = agent.reported.pids()
        assert psutil.Process(pid).children(), "the process tree is the command's"
        process.communicate(b"")
    assert agent.finished(1)[0].outcome == "success"


@pytest.mark.parametrize(
    ("ending", "outcome", "error"),
    [
        ("raise ValueError('a secret prompt')", "error", "ValueError"),
        ("raise RuntimeError('CUDA out of memory. Tried')", "oom", "RuntimeError"),
        ("print('x: out of memory'); sys.exit(3)", "oom", "OutOfMemoryError"),
        ("print('out of memory, retrying in tiles')", "success", None),
        ("print('Ran out of memory, retrying'); raise KeyError('k')", "error", "KeyError"),
        ("raise KeyboardInterrupt", "interrupted", "KeyboardInterrupt"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "error", "ended by SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "interrupted", None),
    ],
)
def test_the_outcome_is_read_from_code_and_output(
    agent: ServedJobs, ending: str, outcome: str, error: str | None
) -> None:
    done = run(wrapped(f"import os, signal, sys\n{ending}"), agent.url)
    (record,) = agent.finished(1)
    assert (record.outcome, record.error) == (outcome, error)
    assert (done.returncode == 0) == (outcome == "success")


def test_an_end_by_a_signal_has_the_shell_s_exit_code(agent: ServedJobs) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    assert run(wrapped(code), agent.url).returncode == 128 + signal.SIGSEGV


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_signals_reach_the_command(agent: ServedJobs, name: str) -> None:
    code = f"""
        import signal, sys
        def heard(number, frame):
            print("heard", number, flush=True)
            sys.exit(5)
        signal.signal(signal.{name}, heard)
        print("ready", flush=True)
        while True:
            signal.pause()
    """
    with subprocess.Popen(
        wrapped(code),
        env={**os.environ, "TIERWATCH_AGENT_URL": agent.url},
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        number = getattr(signal, name)
        process.send_signal(number)
        assert process.stdout.read() == f"heard {number:d}\n".encode()
        assert process.wait() == 5
    outcome = "error" if name == "SIGUSR1" else "interrupted"
    assert agent.finished(1)[0].outcome == outcome


def test_a_reader_that_leaves_ends_the_command_as_it_would_without(agent: ServedJobs) -> None:
    code = "import signal\nsignal.signal(signal.SIGPIPE, signal.SIG_DFL)\nwhile True: print('y')"
    with subprocess.Popen(
        wrapped(code),
        env={**os.environ, "TIERWATCH_AGENT_URL": agent.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=60) == 128 + signal.SIGPIPE
        assert process.stderr.read() == b""


def test_a_process_that_is_left_behind_does_not_hold_it_up(agent: ServedJobs) -> None:
    code = """
        import subprocess, sys
        left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(left.pid, flush=True)
    """
    done = run(wrapped(code), agent.url)
    psutil.Process(int(done.stdout)).kill()
    assert done.returncode == 0


def test_a_command_s_own_report_is_not_counted_beside_it(agent: ServedJobs) -> None:
    code = "from tierwatch_agent import job\nwith job(model='inner'): pass"
    run(wrapped(code, "--model", "outer"), agent.url)
    assert [record.model for record in agent.finished(1)] == ["outer"]


def test_without_an_agent_the_command_runs_all_the_same() -> None:
    done = run(wrapped("print('made')"), f"http://127.0.0.1:{free_port()}")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"made\n", b"")


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["run-job", "--", "no-such-program"], 127, b"no-such-program: No such file"),
        (["run-job", "--", "/"], 126, b"/: Permission denied"),
        (["run-job", "python", "x.py"], 2, b"unrecognized arguments: python x.py"),
        (["run-job"], 2, b'the command stands after "--"'),
        (["run-job", "--"], 2, b'the command stands after "--"'),
        (["run-job", "--steps", "many", "--", "true"], 2, b"invalid int value: 'many'"),
        (["check", "--", "true"], 2, b'nothing stands after "--" for check'),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line(
    agent: ServedJobs, command: list[str], code: int, words: bytes
) -> None:
    done = run([sys.executable, "-m", "tierwatch_agent.cli", *command], agent.url)
    assert done.returncode == code
    assert words in done.stderr
    assert b"Traceback" not in done.stderr
    assert agent.running() == ()


class Steps(Job):
    """Notes the steps that it is told."""

    def __init__(self) -> None:
        super().__init__({})
        self.seen: list[tuple[int | None, int | None]] = []

    def step(self, done: int | None = None, steps: int | None = None) -> None:
        self.seen.append((done, steps))


def test_bars_are_read_however_they_are_cut() -> None:
    drawn = (
        "\x1b[32m 40%|████      | 2/5 [00:01<00:02]\x1b[0m\r 60%|██████    | 3/5 [00:02<".encode()
    )
    seen = Steps()
    output = Output(seen, None)
    for at in range(len(drawn)):
        output.take(drawn[at : at + 1])
    assert seen.seen[0] == (2, 5)
    assert seen.seen[-1] == (3, 5)


def test_loading_and_bars_of_another_length_are_no_steps() -> None:
    seen = Steps()
    output = Output(seen, 30)
    output.take(b"Loading pipeline components...: 57%|#####  | 4/7 [00:01<00:01]\n")
    output.take(b"VAE: 50%|###  | 1/2 [00:01<00:01]\n")
    output.take(b"100%|#####| 30/30 [00:09<00:00]\n")
    output.take(b"model.safetensors: 12%|#   | 0.8G/6.9G [00:09<01:00]\n")
    assert seen.seen == [(30, 30)]
    seen = Steps()
    Output(seen, None).take(b"Fetching 19 files: 57%|#####  | 4/19 [00:01<00:01]\n")
    assert seen.seen == []


def test_a_line_without_an_end_is_bounded() -> None:
    output = Output(Steps(), None)
    for _ in range(100):
        output.take(b"x" * 65536)
    output.take(b" CUDA out of memory")
    output.end()
    assert output.out_of_memory
    assert len(output._rest) <= LONGEST_LINE  # noqa: SLF001


def test_a_chain_of_errors_that_began_with_memory_is_out_of_memory() -> None:
    output = Output(Steps(), None)
    output.take(
        b"| 1/5 [00:01]Traceback (most recent call last):\n"
        b"  File 'x'\ntorch.OutOfMemoryError: CUDA out of memory.\n\n"
        b"The above exception was the direct cause of the following exception:\n\n"
        b"Traceback (most recent call last):\n  File 'x'\nstudio.NoImage: secret\n"
    )
    assert (output.raised, output.raised_for_memory) == ("NoImage", True)


LOOP = """
class Pipeline:
    num_timesteps = 5
    def __call__(self, callback=None, bar=None, fails=False):
        for step in range(self.num_timesteps):
            if fails and step == 3:
                raise RuntimeError("CUDA out of memory. Tried to allocate 9.00 GiB")
            if callback:
                callback(self, step, 999 - step, {"latents": None})
            if bar:
                bar(step + 1)
"""
ABOUT = 'model="sdxl", width=64, height=64, batch=2, steps=5'
WAYS = {
    "context": f"""
from tierwatch_agent import job
with job({ABOUT}) as j:
    Pipeline()(bar=j.step, fails=FAILS)
""",
    "callback": f"""
from tierwatch_agent import job
with job({ABOUT}) as j:
    Pipeline()(callback=j.callback_on_step_end, fails=FAILS)
""",
    "run-job": """
import sys
def bar(done):
    sys.stderr.write(f"\\r {done * 20:3}%|##   | {done}/5 [00:01<00:04,  3.40it/s]")
Pipeline()(bar=bar, fails=FAILS)
""",
}


@pytest.mark.parametrize("fails", [False, True])
def test_each_of_the_three_ways_makes_the_same_record(
    agent: ServedJobs, tmp_path: Path, fails: bool
) -> None:
    options = ["--model", "sdxl", "--width", "64", "--height", "64", "--batch", "2", "--steps", "5"]
    for way, use in WAYS.items():
        code = LOOP + use.replace("FAILS", str(fails))
        command = wrapped(code, *options) if way == "run-job" else [sys.executable, "-c", code]
        assert run(command, agent.url).returncode == int(fails)
    records = {_told(record) for record in agent.finished(3)}
    assert len(agent.finished(3)) == 3
    assert len(records) == 1
    (record,) = records
    expected = ("oom", "RuntimeError", None) if fails else ("success", None, 2)
    assert record[:3] == expected


def _told(record: JobRecord) -> tuple[object, ...]:
    """A record without what differs from job to job: its id and its moments."""
    return (
        record.outcome,
        record.error,
        record.images,
        record.pixels,
        record.server,
        record.model,
        record.width,
        record.height,
        record.batch,
        record.steps,
        record.gpu,
    )
