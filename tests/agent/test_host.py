from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tierwatch_agent.host import OUT_OF_SIGHT, UNDECIDED_SECONDS, VERIFY_SECONDS, Host, ProcessTable
from tierwatch_agent.snapshot import Process

LISTENS_ON_DEMAND = """
import socket, sys
print("ready", flush=True)
for line in sys.stdin:
    listener = socket.create_server(("127.8.18.8", int(line)))
    print("listening", flush=True)
"""
HAS_A_WORKER = """
import pathlib, subprocess, sys
worker = subprocess.Popen([sys.executable, sys.argv[1]], stdin=subprocess.PIPE)
sys.stdin.read()
worker.kill()
worker.wait()
"""
WORKS = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"
WAITS = 'import sys; print("ready", flush=True); sys.stdin.read()'
NOBODYS_PID = 2**22 + 4711

Run = Callable[..., "subprocess.Popen[str]"]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Runs Python code as a script of the given path, in that script's folder, until it is up."""
    started: list[subprocess.Popen[str]] = []

    def start(path: str, code: str, *arguments: str) -> subprocess.Popen[str]:
        script = tmp_path / path
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(code)
        child = subprocess.Popen(
            [sys.executable, script.name, *arguments],
            cwd=script.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


def said(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def tell(child: subprocess.Popen[str], text: str) -> None:
    assert child.stdin is not None
    child.stdin.write(text + "\n")
    child.stdin.flush()


def created(child: subprocess.Popen[str]) -> float:
    return psutil.Process(child.pid).create_time()


def labelled(table: ProcessTable, pid: int, vram_bytes: int | None = 5) -> Process:
    (process,) = table.label([Process(pid=pid, name="", vram_bytes=vram_bytes)])
    return process


def test_a_script_is_named_without_its_arguments(run: Run) -> None:
    child = run("jobs/train.py", WAITS, "--token", "hunter2")
    said(child)
    process = labelled(ProcessTable(), child.pid)
    assert process == Process(pid=child.pid, name="python train.py", vram_bytes=5)


def test_comfyui_is_recognised_by_the_folder_it_was_started_in(run: Run) -> None:
    child = run("ComfyUI/main.py", WAITS)
    said(child)
    process = labelled(ProcessTable(), child.pid)
    assert (process.name, process.server, process.server_pid) == ("ComfyUI", "comfyui", child.pid)


def test_another_main_py_is_nobodys(run: Run) -> None:
    child = run("resnet/main.py", WAITS)
    said(child)
    process = labelled(ProcessTable(), child.pid)
    assert (process.name, process.server, process.identified) == ("python main.py", None, True)


def test_a_main_py_becomes_comfyui_once_it_listens_on_its_port(run: Run) -> None:
    child = run("app/main.py", LISTENS_ON_DEMAND)
    said(child)
    clock = Clock()
    table = ProcessTable(clock)
    assert labelled(table, child.pid).server is None
    tell(child, "8188")
    assert said(child) == "listening"
    clock.now += UNDECIDED_SECONDS - 1
    assert labelled(table, child.pid).server is None
    clock.now += VERIFY_SECONDS
    assert labelled(table, child.pid).server == "comfyui"


def test_a_servers_worker_belongs_to_the_server(run: Run, tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(WORKS)
    server = run("ComfyUI/main.py", HAS_A_WORKER, str(tmp_path / "worker.py"))
    worker = labelled(ProcessTable(), int(said(server)))
    assert worker.name == "python worker.py"
    assert (worker.server, worker.server_pid) == ("comfyui", server.pid)


def test_a_server_started_by_its_own_launcher_has_the_launcher_as_its_root(
    run: Run, tmp_path: Path
) -> None:
    inner = tmp_path / "stable-diffusion-webui" / "webui.py"
    inner.parent.mkdir()
    inner.write_text(WORKS)
    outer = run("stable-diffusion-webui/launch.py", HAS_A_WORKER, str(inner))
    process = labelled(ProcessTable(), int(said(outer)))
    assert (process.name, process.server, process.server_pid) == ("A1111", "a1111", outer.pid)


def test_a_comfyui_below_another_kind_of_server_is_a_server_of_its_own(
    run: Run, tmp_path: Path
) -> None:
    backend = tmp_path / "dlbackend" / "ComfyUI" / "main.py"
    backend.parent.mkdir(parents=True)
    backend.write_text(WORKS)
    pid = int(said(run("bin/SwarmUI.dll", HAS_A_WORKER, str(backend))))
    process = labelled(ProcessTable(), pid)
    assert (process.server, process.server_pid) == ("comfyui", pid)


def test_a_pid_that_names_no_process_here_is_out_of_sight() -> None:
    process = labelled(ProcessTable(), NOBODYS_PID)
    assert (process.name, process.server, process.identified) == (OUT_OF_SIGHT, None, False)
    assert process.vram_bytes == 5


def test_an_ended_process_keeps_its_name_while_its_memory_is_being_freed(run: Run) -> None:
    child = run("jobs/train.py", WAITS)
    said(child)
    clock = Clock()
    table = ProcessTable(clock)
    labelled(table, child.pid)
    child.kill()
    child.wait()
    clock.now += VERIFY_SECONDS
    assert labelled(table, child.pid).name == "python train.py"


def test_a_reused_pid_is_noticed(run: Run) -> None:
    first = run("jobs/train.py", WAITS)
    said(first)
    second = run("ComfyUI/main.py", WAITS)
    while created(second) == created(first):  # Within one tick of the system's clock.
        second = run("ComfyUI/main.py", WAITS)
    said(second)
    behind = {4711: first.pid}
    clock = Clock()
    table = ProcessTable(clock, find=lambda pid: psutil.Process(behind[pid]))
    assert labelled(table, 4711).name == "python train.py"
    behind[4711] = second.pid
    clock.now += VERIFY_SECONDS
    assert labelled(table, 4711).name == "ComfyUI"


def test_a_known_process_is_looked_up_no_more_often_than_it_is_verified(run: Run) -> None:
    child = run("jobs/train.py", WAITS)
    said(child)
    looked_up: list[int] = []

    def find(pid: int) -> psutil.Process:
        looked_up.append(pid)
        return psutil.Process(pid)

    clock = Clock()
    table = ProcessTable(clock, find)
    for _ in range(11):
        labelled(table, child.pid)
        clock.now += 1.0
    assert len(looked_up) == 3


class Sealed(psutil.Process):
    """A process of another user, as it looks to an agent without rights."""

    def cmdline(self) -> Any:
        raise psutil.AccessDenied(self.pid)

    def cwd(self) -> Any:
        raise psutil.AccessDenied(self.pid)

    def net_connections(self, kind: str = "inet") -> Any:
        raise psutil.AccessDenied(self.pid)


class HalfSealed(Sealed):
    """The same on Linux, where everybody may read a command line."""

    def cmdline(self) -> Any:
        return psutil.Process(self.pid).cmdline()


class Named(Sealed):
    """The same on Windows, where everybody may read a name."""

    def name(self) -> str:
        return "game.exe"


@pytest.mark.parametrize(
    ("kind", "name", "identified"),
    [
        (Named, "game.exe", True),
        (HalfSealed, "python main.py", False),
    ],
)
def test_another_users_process_is_told_as_far_as_it_can_be(
    run: Run, kind: type[psutil.Process], name: str, identified: bool
) -> None:
    child = run("app/main.py", WAITS)
    said(child)
    process = labelled(ProcessTable(find=kind), child.pid)
    assert (process.name, process.server, process.identified) == (name, None, identified)


def test_another_users_interpreter_may_be_any_script(run: Run) -> None:
    child = run("ComfyUI/main.py", WAITS)
    said(child)
    process = labelled(ProcessTable(find=Sealed), child.pid)
    assert process.name.startswith("python")
    assert (process.server, process.identified) == (None, False)


def test_a_process_that_its_driver_named_is_left_as_it_is() -> None:
    simulated = Process(pid=NOBODYS_PID, name="ComfyUI", server="comfyui", server_pid=NOBODYS_PID)
    assert ProcessTable().label([simulated]) == (simulated,)


def test_the_host_tells_memory_and_when_it_was_started() -> None:
    sample = Host().sample()
    assert sample.memory_total_bytes == psutil.virtual_memory().total
    assert 0 < sample.memory_available_bytes <= sample.memory_total_bytes
    assert sample.swap_total_bytes == psutil.swap_memory().total
    assert sample.booted_at is not None
    assert sample.booted_at < time.time()
    assert sample.cpu_count == psutil.cpu_count()


def test_cpu_in_use_is_a_share_of_the_time_between_two_samples() -> None:
    host = Host()
    assert host.sample().cpu_ratio is None
    until = time.monotonic() + 10
    ratio = None
    while ratio is None and time.monotonic() < until:
        ratio = host.sample().cpu_ratio
    assert ratio is not None
    assert 0.0 <= ratio <= 1.0
