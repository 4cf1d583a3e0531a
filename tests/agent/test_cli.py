"""The command ``tierwatch-agent`` as a user meets it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.processes import RunningAgent, eventually, is_alive

CARD = (
    '{name = "RTX 4080 SUPER", vram_mib = 16376, holders = ['
    '{name = "ComfyUI", server = "comfyui", mib = 4900}, {name = "game.exe", mib = 6144}]}'
)
SIMULATED = f'sources = ["simulated"]\n[source.simulated]\ncards = [{CARD}]\n'

pytestmark = pytest.mark.slow


def agent(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tierwatch_agent.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


def test_check_says_who_holds_what_and_what_would_lift_it(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(SIMULATED)
    done = agent("check", "--config", "agent.toml", "--machine", "render-02", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "render-02 (linux, simulated)" in done.stdout
    assert "total        16.0 GiB VRAM, 0.3 GiB kept by the driver" in done.stdout
    assert "available    9.7 GiB (of it 4.8 GiB held by its generation server)" in done.stdout
    assert "6.0 GiB  held by game.exe (pid 4001)" in done.stdout
    assert "serves now   light" in done.stdout
    assert "could serve  mass" in done.stdout
    assert "for production, 0.5 GiB more must be available" in done.stdout
    assert "ending game.exe (pid 4001) would do" in done.stdout


def test_check_as_json_is_the_snapshot_and_the_tiers(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(SIMULATED)
    done = agent("check", "--json", "--config", "agent.toml", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert document["tiers"] == {"0": {"can_serve": "light", "could_serve": "mass"}}
    assert document["snapshot"]["simulated"] is True


def test_a_machine_without_a_gpu_is_a_draft_machine_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text("sources = []\n")
    done = agent("check", "--config", "agent.toml", cwd=tmp_path)
    assert done.returncode == 0
    assert "serves now   draft" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--listen", "9838"], '--listen: listen: "9838" is not HOST:PORT'),
        (["run", "--config", "none.toml"], "none.toml: cannot be read: No such file"),
        (["run", "--log-format", "xml"], '"xml" is neither text nor json'),
        (["fly"], "invalid choice: 'fly'"),
    ],
)
def test_a_usage_error_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = agent(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_every_help_has_an_example(tmp_path: Path) -> None:
    for command in ("run", "check"):
        assert "example: tierwatch-agent" in agent(command, "--help", cwd=tmp_path).stdout


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = agent("run", "--listen", address, cwd=tmp_path)
    assert done.returncode == 2
    assert f"cannot listen on {address}" in done.stderr


def test_run_serves_and_ends_with_its_sources(tmp_path: Path) -> None:
    with RunningAgent(tmp_path, config=SIMULATED) as running:
        snapshot = running.until(lambda snapshot: snapshot.gpus, "a simulated GPU")
        assert snapshot.machine == "render-01"
        assert snapshot.simulated
        assert running.sample("tierwatch_source_up", source="simulated") == 1
        children = psutil.Process(running.process.pid).children()
        assert children
        assert running.end() == 0
        eventually(lambda: [c for c in children if is_alive(c)], lambda alive: not alive, "the end")


def test_a_wrong_card_marks_the_source_down_with_the_key(tmp_path: Path) -> None:
    config = 'sources = ["simulated"]\n[source.simulated]\ncards = [{name = "X", vram = 1}]\n'
    with RunningAgent(tmp_path, config=config) as running:
        state = running.until(lambda s: s.sources[0].failures, "a failure").sources[0]
        assert state.state == "down"
        assert "source.simulated.cards" in (state.reason or "")
        assert "vram" in (state.reason or "")


def test_a_killed_source_process_is_replaced(tmp_path: Path) -> None:
    with RunningAgent(tmp_path, config=SIMULATED) as running:
        running.until(lambda snapshot: snapshot.gpus, "a simulated GPU")
        (child,) = psutil.Process(running.process.pid).children()
        child.send_signal(signal.SIGSEGV)
        running.until(lambda s: s.sources[0].restarts == 1, "a restart")
        again = running.until(lambda s: s.sources[0].state == "up", "the source again")
        assert again.gpus[0].state == "ok"
        assert "ended by SIGSEGV" in running.said()


def test_logs_are_json_where_asked(tmp_path: Path) -> None:
    with RunningAgent(
        tmp_path, config=SIMULATED, environment={"TIERWATCH_AGENT_LOG_FORMAT": "json"}
    ) as running:
        running.until(lambda snapshot: snapshot.gpus, "a simulated GPU")
        entries = [json.loads(line) for line in running.said().splitlines()]
    assert {"time", "level", "logger", "message"} <= entries[0].keys()
    assert any("source simulated is up" in entry["message"] for entry in entries)


def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    running = RunningAgent(tmp_path, config=SIMULATED)
    running.wait_until_it_answers()
    running.process.send_signal(signal.SIGINT)
    assert running.end() == 0
    assert "Traceback" not in running.said()
