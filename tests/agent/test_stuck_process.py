"""A source's process that hangs, and one that not even SIGKILL ends, as on a GPU lost by its bus.

The first is stopped by a signal, the second held by a tracer at the brink of its exit
(``tests/fakes/unkillable.c``).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.compiled import compiled
from tests.processes import RunningAgent, eventually, is_alive

UNKILLABLE = Path(__file__).parent.parent / "fakes" / "unkillable.c"
IMPATIENT = """\
deadline_seconds = 0.3
sources = ["simulated"]
[source.simulated]
cards = [{name = "RTX 4090", vram_mib = 24564}]
"""

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def unkillable(process: psutil.Process) -> Iterator[None]:
    """Keeps a process from ending, whatever is sent to it."""
    holder = subprocess.Popen([compiled(UNKILLABLE), str(process.pid)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"holding\n"
    try:
        yield
    finally:
        holder.terminate()
        holder.wait()
        holder.stdout.close()


def source_process(agent: RunningAgent) -> psutil.Process:
    """The source's current process: the youngest child that runs."""
    children = psutil.Process(agent.process.pid).children()
    return max(children, key=lambda child: child.create_time())


def hang(process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGSTOP)


def test_a_hanging_source_is_down_in_words_and_up_when_it_goes_on(tmp_path: Path) -> None:
    config = IMPATIENT.replace("0.3", "2.0")
    with RunningAgent(tmp_path, config=config) as agent:
        agent.until(lambda s: s.sources[0].state == "up", "the source")
        process = source_process(agent)
        hang(process)
        stuck = agent.until(lambda s: s.sources[0].state == "down", "the source down")
        assert "has not answered for" in (stuck.sources[0].reason or "")
        assert "a call to the driver hangs" in (stuck.sources[0].reason or "")
        assert [(gpu.name, gpu.state, gpu.memory) for gpu in stuck.gpus] == [
            ("RTX 4090", "unreadable", None)
        ]
        assert agent.sample("tierwatch_source_up", source="simulated") == 0
        assert agent.sample("tierwatch_gpu_up", gpu="0") == 0
        os.kill(process.pid, signal.SIGCONT)
        again = agent.until(lambda s: s.sources[0].state == "up", "the source again")
        assert again.gpus[0].state == "ok"
        assert again.sources[0].restarts == 0
        assert source_process(agent) == process


def test_what_hangs_too_long_is_replaced(tmp_path: Path) -> None:
    with RunningAgent(tmp_path, config=IMPATIENT) as agent:
        agent.until(lambda s: s.sources[0].state == "up", "the source")
        process = source_process(agent)
        hang(process)
        again = agent.until(
            lambda s: s.sources[0].state == "up" and s.sources[0].restarts, "another process"
        )
        assert again.gpus[0].state == "ok"
        eventually(lambda: is_alive(process), lambda alive: not alive, "the end of the first")


def test_what_cannot_be_ended_holds_neither_the_agent_nor_its_port(tmp_path: Path) -> None:
    with contextlib.ExitStack() as held:
        agent = RunningAgent(tmp_path, config=IMPATIENT)
        agent.wait_until_it_answers()
        for replaced in (1, 2, 3):
            agent.until(lambda s: s.sources[0].state == "up", "the source")
            process = source_process(agent)
            held.enter_context(unkillable(process))
            hang(process)
            seen = agent.until(
                lambda s, n=replaced: s.sources[0].restarts == n, f"replacement {replaced}"
            )
            assert seen.sources[0].state == "down"
        at_its_end = agent.until(
            lambda s: "needs a reboot" in (s.sources[0].reason or ""), "the advice to reboot"
        )
        assert "3 of its processes hang" in (at_its_end.sources[0].reason or "")
        stuck = psutil.Process(agent.process.pid).children()
        assert len(stuck) == 3

        assert agent.end() == 0
        assert [process for process in stuck if is_alive(process)] == stuck
        with RunningAgent(tmp_path, config=IMPATIENT, port=agent.port) as successor:
            successor.until(lambda s: s.sources[0].state == "up", "the source of the successor")
