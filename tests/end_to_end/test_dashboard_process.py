"""The dashboard as a process: played agents on real sockets, a real database, real signals."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.running_dashboard import RunningDashboard, machine_table, wait_until
from tests.fakes.agents import GIB, Agents, gpu, healthy, raw, says, snapshot
from tierwatch_agent.snapshot import encode
from tierwatch_dashboard.database import open_database
from tierwatch_dashboard.history import GpuPoint
from tierwatch_dashboard.history.database import DatabaseHistory
from tierwatch_dashboard.history.verdicts import VerdictStore

pytestmark = pytest.mark.slow


@pytest.fixture
def agents() -> Iterator[Agents]:
    with Agents() as agents:
        yield agents


def settle(folder: Path, *tables: str, interval: str = "0.3s", policy: str = "") -> None:
    head = f'[dashboard]\npoll_interval = "{interval}"\n{policy}\n'
    (folder / "tierwatch.toml").write_text(head + "".join(tables), encoding="utf-8")


def test_it_asks_judges_records_and_shows(agents: Agents, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}"
        settle(
            tmp_path,
            machine_table("render-01", agents.play(healthy("render-01"))),
            machine_table("render-02", nobody),
        )
        with RunningDashboard(tmp_path) as dashboard:
            wait_until(dashboard.is_ready)
            machine = dashboard.machine("render-01")
            assert (machine["verdict"]["state"], machine["verdict"]["can_serve"]) == ("ok", "mass")
            assert "connection refused" in dashboard.machine("render-02")["error"]
            assert "render-01" in dashboard.get("")
            wait_until(lambda: dashboard.value("tierwatch_dashboard_history_samples_total"))
            assert dashboard.value("tierwatch_machine_state", machine="render-01", state="ok") == 1
            assert dashboard.value("tierwatch_dashboard_poll_up", machine="render-02") == 0
            assert dashboard.committed()
            check = subprocess.run(
                ["promtool", "check", "metrics"],
                input=dashboard.get("metrics"),
                text=True,
                capture_output=True,
            )
            assert (check.returncode, check.stdout, check.stderr) == (0, "", "")
            failures = [
                dashboard.value("tierwatch_dashboard_job_failures_total", job=job)
                for job in ("poll", "judge", "record", "inventory", "roll_up", "prune", "memories")
            ]
            assert failures == [0.0] * 7
            assert dashboard.end() == 0
        assert [line["level"] for line in dashboard.log if line["level"] != "info"] == []


def test_the_last_hour_s_lines_are_on_the_page_from_the_start(
    agents: Agents, tmp_path: Path
) -> None:
    settle(tmp_path, machine_table("render-01", agents.play(healthy("render-01"))))
    history = DatabaseHistory(open_database(f"sqlite:///{tmp_path / 'tierwatch.db'}"))
    now = time.time()
    history.append(
        [
            GpuPoint(machine="render-01", gpu="0", at=now - 60 * ago, available_bytes=9 * GIB)
            for ago in range(5, 30)
        ]
    )
    history.close()
    with RunningDashboard(tmp_path) as dashboard:
        wait_until(dashboard.is_ready)
        line = re.search(r'class="spark"[^>]*aria-label="([^"]+)"', dashboard.get(""))
        assert line
        assert "9.0 GiB" in line[1]
        assert "min under the floor" in line[1]


def test_an_edit_of_the_inventory_holds_while_it_runs(agents: Agents, tmp_path: Path) -> None:
    first = machine_table("render-01", agents.play(healthy("render-01")))
    settle(tmp_path, first)
    with RunningDashboard(tmp_path) as dashboard:
        wait_until(dashboard.is_ready)
        settle(tmp_path, first, machine_table("render-02", agents.play(healthy("render-02"))))
        wait_until(lambda: dashboard.value("tierwatch_dashboard_poll_up", machine="render-02") == 1)
        settle(tmp_path, first.replace('tier = "mass"', 'tier = "huge"'))
        wait_until(lambda: dashboard.value("tierwatch_dashboard_inventory_valid") == 0)
        assert dashboard.machine("render-02")["verdict"]["state"] == "ok"


def test_what_was_read_but_not_yet_written_is_flushed_at_the_end(
    agents: Agents, tmp_path: Path
) -> None:
    settle(
        tmp_path,
        machine_table("render-01", agents.play(healthy("render-01"))),
        machine_table("render-02", agents.play(raw(b"", then_close=False))),
        interval="2m",
    )
    with RunningDashboard(tmp_path) as dashboard:
        wait_until(lambda: dashboard.value("tierwatch_dashboard_poll_up", machine="render-01") == 1)
        assert dashboard.committed() == set()
        # The second machine hangs; it holds nobody up.
        assert dashboard.end() == 0
        assert len(dashboard.committed()) == 1


def test_a_machine_below_its_tier_is_so_since_the_same_moment_after_a_restart(
    agents: Agents, tmp_path: Path
) -> None:
    def short() -> bytes:
        return encode(snapshot("render-01", gpus=(gpu(available=2 * GIB),)))

    settle(
        tmp_path,
        machine_table("render-01", agents.play(says(short))),
        policy='[policy]\nbelow_for = "1s"\n',
    )
    with RunningDashboard(tmp_path) as dashboard:
        wait_until(lambda: dashboard.machine("render-01")["verdict"]["state"] == "below")
        since = dashboard.machine("render-01")["verdict"]["since"]
        assert dashboard.end() == 0
    with RunningDashboard(tmp_path) as dashboard:
        wait_until(dashboard.is_ready)
        verdict = dashboard.machine("render-01")["verdict"]
        assert (verdict["state"], verdict["since"]) == ("below", since)
        assert dashboard.end() == 0
    engine = open_database(f"sqlite:///{tmp_path / 'tierwatch.db'}")
    last = VerdictStore(engine).changes("render-01", 0, since + 3600)[-1]
    engine.dispose()
    assert (last.state, last.at) == ("below", pytest.approx(since, abs=0.001))


NAME_SERVER_AWAY = """
import socket, time
answering = socket.getaddrinfo
def getaddrinfo(host, *more, **options):
    if host == "render-02.example":
        time.sleep(3600)
    return answering(host, *more, **options)
socket.getaddrinfo = getaddrinfo
"""


def test_a_name_lookup_that_hangs_delays_neither_the_others_nor_the_end(
    agents: Agents, tmp_path: Path
) -> None:
    settle(
        tmp_path,
        machine_table("render-01", agents.play(healthy("render-01"))),
        machine_table("render-02", "http://render-02.example:9838"),
    )
    with RunningDashboard(tmp_path, prelude=NAME_SERVER_AWAY) as dashboard:
        wait_until(dashboard.is_ready)
        assert dashboard.machine("render-01")["verdict"]["state"] == "ok"
        assert "no connection to render-02.example:9838" in dashboard.machine("render-02")["error"]
        assert dashboard.end() == 0


def refused(folder: Path, *arguments: str) -> str:
    """The one line of a dashboard that cannot start."""
    ended = subprocess.run(
        [sys.executable, "-m", "tierwatch_dashboard.cli", "serve", *arguments],
        cwd=folder,
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    return ended.stderr


def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Path) -> None:
    settle(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        assert refused(tmp_path, "--listen", listen) == (
            f"tierwatch: cannot listen on {listen}: another program has the port, or the address "
            "is not this machine's\n"
        )


def test_a_database_or_inventory_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    settle(tmp_path)
    (tmp_path / "tierwatch.db").write_bytes(b"not a database, " * 100)
    assert "tierwatch.db is damaged, or no SQLite database" in refused(tmp_path)
    (tmp_path / "tierwatch.db").unlink()
    settle(tmp_path, '[[machine]]\nid = "render-01"\n')
    assert "tierwatch.toml: machine 1 (render-01): url is missing" in refused(tmp_path)
