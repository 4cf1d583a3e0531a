"""kill -9 of the dashboard while it writes, again and again: no committed sample is ever lost.

Nor is a finished job, which each agent goes on telling; and each job is there once.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import msgspec
import pytest

from tests.end_to_end.running_dashboard import (
    PATIENCE_SECONDS,
    RunningDashboard,
    machine_table,
    wait_until,
)
from tests.fakes.agents import Agents, gpu, says, snapshot
from tierwatch_agent.snapshot import JobRecord, encode

KILLS = 20
MACHINES = 16
GPUS = tuple(gpu(index) for index in range(8))


class Machine:
    """An agent whose machine finishes a job between any two answers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.jobs: tuple[JobRecord, ...] = ()

    def answer(self) -> bytes:
        number = len(self.jobs)
        job = JobRecord(
            id=f"{self.name}-{number}",
            server="comfyui-8188",
            outcome="success",
            ended_at=time.time(),
            steps=number,
        )
        self.jobs = (*self.jobs, job)
        seen = snapshot(self.name, gpus=GPUS)
        return encode(msgspec.structs.replace(seen, jobs=self.jobs))


@pytest.mark.slow
def test_twenty_kills_during_writes_lose_no_committed_sample(tmp_path: Path) -> None:
    with Agents() as agents:
        names = [f"render-{number:02}" for number in range(MACHINES)]
        machines = [Machine(name) for name in names]
        urls = {machine.name: agents.play(says(machine.answer)) for machine in machines}
        (tmp_path / "tierwatch.toml").write_text(
            '[dashboard]\npoll_interval = "0.2s"\n'
            + "".join(machine_table(name, url) for name, url in urls.items())
        )
        seen: set[tuple[int, int]] = set()
        for _ in range(KILLS):
            with RunningDashboard(tmp_path) as dashboard:
                assert integrity(dashboard.database) == "ok"
                assert seen <= dashboard.committed()
                wait_for_more_than(len(dashboard.committed()), dashboard)
                seen = dashboard.committed()
                wait_for_a_write(dashboard.database)
                dashboard.kill()
        with RunningDashboard(tmp_path) as dashboard:
            assert integrity(dashboard.database) == "ok"
            assert seen <= dashboard.committed()
            assert len(seen) >= KILLS * len(GPUS)
            told = {(m.name, job.id, job.steps) for m in machines for job in m.jobs}
            wait_until(lambda: told <= set(stored_jobs(dashboard.database)))
            assert dashboard.end() == 0
        stored = stored_jobs(dashboard.database)
        assert len(stored) == len(set(stored)) >= KILLS


def wait_for_more_than(samples: int, dashboard: RunningDashboard) -> None:
    wait_until(lambda: len(dashboard.committed()) > samples)


def wait_for_a_write(database: Path) -> None:
    """Returns as the first page of a batch arrives in the log, before its commit does."""
    log = database.with_name(f"{database.name}-wal")
    written = log.stat().st_mtime_ns
    until = time.monotonic() + PATIENCE_SECONDS
    while log.stat().st_mtime_ns == written:
        assert time.monotonic() < until, "it writes no more"
        time.sleep(0)


def stored_jobs(database: Path) -> list[tuple[str, str, int]]:
    connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=10)
    try:
        return connection.execute("SELECT machine, id, steps FROM jobs").fetchall()
    finally:
        connection.close()


def integrity(database: Path) -> str:
    connection = sqlite3.connect(database, timeout=10)
    try:
        return connection.execute("PRAGMA integrity_check").fetchone()[0]
    finally:
        connection.close()
