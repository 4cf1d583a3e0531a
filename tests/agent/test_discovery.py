"""Which generation servers are found: real processes on real sockets, and nothing configured."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from tests.fakes.plain_comfyui import PlainComfyUI
from tests.processes import free_port
from tierwatch_agent.servers import discovery
from tierwatch_agent.servers.discovery import LEAVE_ALONE_SECONDS, Discovery, Found
from tierwatch_agent.snapshot import GpuMemory, GpuSample

TWO_CARDS = tuple(
    GpuSample(
        index=str(number),
        uuid=f"GPU-{number}",
        name="NVIDIA L40S",
        vendor="nvidia",
        source="nvml",
        memory=GpuMemory(total_bytes=48 * 10**9, free_bytes=48 * 10**9, used_bytes=0),
    )
    for number in range(2)
)


class World:
    """The processes that a search may see, and a clock that a test moves."""

    def __init__(self) -> None:
        self.pids: list[int] = [1]
        self.elapsed = 0.0

    def search(
        self, configured: Iterable[tuple[str, str]] = (), *, search: bool = True
    ) -> Discovery:
        return Discovery(
            configured,
            search=search,
            pids=lambda: list(self.pids),
            monotonic=lambda: time.monotonic() + self.elapsed,
        )


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def started() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def comfyui(
    started: ExitStack, folder: Path, world: World, *arguments: str, **settings: str
) -> PlainComfyUI:
    environment = {**os.environ, **settings}
    server = PlainComfyUI(folder, free_port(), *arguments, environment=environment)
    world.pids.append(server.process.pid)
    return started.enter_context(server)


def test_a_server_is_found_by_its_process_and_its_own_port(
    started: ExitStack, tmp_path: Path, world: World
) -> None:
    server = comfyui(started, tmp_path, world)
    search = world.search()
    (found,) = search.find()
    assert found.id == f"comfyui-{server.port}"
    assert found.kind == "comfyui"
    assert found.url == f"http://127.0.0.1:{server.port}"
    assert found.pid == server.process.pid
    assert found.created == psutil.Process(server.process.pid).create_time()
    assert search.state is not None
    assert search.state.state == "up"


def test_two_servers_are_told_apart_and_tied_to_their_gpus(
    started: ExitStack, tmp_path: Path, world: World
) -> None:
    by_environment = comfyui(started, tmp_path, world, CUDA_VISIBLE_DEVICES="1")
    by_option = comfyui(started, tmp_path, world, "--cuda-device", "0")
    gpus = {found.id: found.gpus for found in world.search().find(TWO_CARDS)}
    assert gpus == {by_environment.id: ("GPU-1",), by_option.id: ("GPU-0",)}


def test_a_server_that_starts_later_is_found_and_one_that_ended_is_not(
    started: ExitStack, tmp_path: Path, world: World
) -> None:
    search = world.search()
    assert search.find() == ()
    assert search.state is not None
    assert search.state.state == "absent"
    server = comfyui(started, tmp_path, world)
    assert [found.id for found in search.find()] == [server.id]
    server.end()
    world.pids.remove(server.process.pid)
    assert search.find() == ()


def test_a_server_that_was_restarted_is_another_run_of_it(
    started: ExitStack, tmp_path: Path, world: World
) -> None:
    server, search = comfyui(started, tmp_path, world), world.search()
    (before,) = search.find()
    server.restart()
    world.pids[1:] = [server.process.pid]
    (after,) = search.find()
    assert after.id == before.id
    assert (after.pid, after.created) != (before.pid, before.created)


def test_a_script_that_turns_into_a_server_is_seen_again(tmp_path: Path, world: World) -> None:
    home = tmp_path / "ComfyUI"
    home.mkdir()
    port = free_port()
    (home / "main.py").write_text(
        f"import socket, time\ns = socket.create_server(('127.0.0.1', {port}))\n"
        "print(flush=True)\ntime.sleep(600)\n"
    )
    # As webui.sh does: it prepares for minutes, and its process is the server from then on.
    shell = subprocess.Popen(
        ["sh", "-c", f"read line; exec {sys.executable} main.py"],
        cwd=home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert shell.stdin is not None
        assert shell.stdout is not None
        world.pids.append(shell.pid)
        search = world.search()
        world.elapsed += 3600
        assert search.find() == ()
        shell.stdin.write(b"\n")
        shell.stdin.close()
        shell.stdout.readline()
        world.elapsed += 3600
        (found,) = search.find()
        assert found.id == f"comfyui-{port}"
    finally:
        shell.kill()
        shell.wait()
        if shell.stdout is not None:
            shell.stdout.close()


def test_an_address_that_is_something_else_is_left_alone_for_minutes(
    started: ExitStack, tmp_path: Path, world: World
) -> None:
    comfyui(started, tmp_path, world)
    search = world.search()
    (found,) = search.find()
    search.reject(found)
    assert search.find() == ()
    world.elapsed += LEAVE_ALONE_SECONDS + 1
    assert search.find() == (found,)


def test_of_several_ports_the_asked_one_is_tried_first_and_the_next_after_it(
    tmp_path: Path, world: World
) -> None:
    home = tmp_path / "ComfyUI"
    home.mkdir()
    ports = sorted((free_port(), free_port()))
    (home / "main.py").write_text(
        "import socket, time\n"
        f"s = [socket.create_server(('127.0.0.1', port)) for port in {ports}]\n"
        "print(flush=True)\ntime.sleep(600)\n"
    )
    command = [sys.executable, "main.py", "--port", str(ports[1])]
    with subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            world.pids.append(process.pid)
            search = world.search()
            (first,) = search.find()
            assert first.id == f"comfyui-{ports[1]}"
            search.reject(first)
            (second,) = search.find()
            assert second.id == f"comfyui-{ports[0]}"
        finally:
            process.kill()


def test_the_settings_name_a_server_that_cannot_be_found(world: World) -> None:
    search = world.search([("comfyui", "http://127.0.0.1:8188")])
    assert search.find() == (
        Found(id="comfyui-8188", kind="comfyui", url="http://127.0.0.1:8188", configured=True),
    )


def test_a_server_that_is_named_and_not_seen_uses_the_only_card(world: World) -> None:
    search = world.search([("comfyui", "http://127.0.0.1:8188"), ("comfyui", "http://elsewhere")])
    one_card = [found.gpus for found in search.find(TWO_CARDS[:1])]
    two_cards = [found.gpus for found in search.find(TWO_CARDS)]
    assert (one_card, two_cards) == ([("GPU-0",), ()], [(), ()])


def test_a_server_that_is_named_and_found_is_one(
    started: ExitStack, tmp_path: Path, world: World
) -> None:
    server = comfyui(started, tmp_path, world)
    (found,) = world.search([("comfyui", f"http://localhost:{server.port}")]).find()
    assert found.configured
    assert found.pid == server.process.pid


def test_two_machines_servers_on_the_same_port_have_ids_of_their_own(world: World) -> None:
    search = world.search([("comfyui", "http://one"), ("comfyui", "http://two:8188/")])
    assert [found.id for found in search.find()] == ["comfyui-one-8188", "comfyui-two-8188"]


def test_where_discovery_is_off_nothing_is_looked_at(
    started: ExitStack, tmp_path: Path, world: World
) -> None:
    comfyui(started, tmp_path, world)
    search = world.search(search=False)
    assert search.find() == ()
    assert search.state is None


class Closed(psutil.Process):
    """Another user's process: its command line is there to see, its sockets are not."""

    def net_connections(self, kind: str = "inet") -> NoReturn:
        raise psutil.AccessDenied(self.pid)

    def environ(self) -> NoReturn:
        raise psutil.AccessDenied(self.pid)


def test_another_users_server_is_tried_where_it_was_asked_to_listen(
    started: ExitStack, tmp_path: Path, world: World
) -> None:
    server = comfyui(started, tmp_path, world)
    search = Discovery(pids=lambda: world.pids, process=Closed)
    (found,) = search.find()
    assert found.url == f"http://127.0.0.1:{server.port}"


def test_what_the_agent_may_not_see_is_said_once_with_the_mend(
    started: ExitStack, tmp_path: Path, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    server = comfyui(started, tmp_path, world)
    search = Discovery(pids=lambda: world.pids, process=Closed)
    with caplog.at_level(logging.WARNING):
        (found,) = search.find()
        search.reject(found)
        assert search.find() == ()
        assert search.find() == ()
    assert search.state is not None
    assert search.state.state == "down"
    assert search.state.reason == (
        f"may not see where ComfyUI (pid {server.process.pid}) listens: run the agent as that "
        "user or an administrator, or name the server's address in the settings (servers)"
    )
    assert len(caplog.records) == 1


def test_a_system_that_hides_others_processes_is_noticed(world: World) -> None:
    world.pids = [os.getpid()]
    search = world.search()
    search.find()
    assert search.state is not None
    assert "may not see other users' processes" in (search.state.reason or "")


def test_every_kind_that_can_be_found_has_a_usual_port() -> None:
    kinds = set(discovery.TITLES)
    assert kinds == set(discovery.DEFAULT_PORTS)
