"""Two dashboards on one PostgreSQL: one works; when it dies, no message is lost or doubled."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.end_to_end.running_dashboard import RunningDashboard, machine_table, wait_until
from tests.end_to_end.test_notifications import SETTINGS, all_are, back, play
from tests.fakes.agents import Agents
from tests.fakes.webhook import Webhook
from tests.postgres import RunningPostgres

pytestmark = pytest.mark.slow

ROUNDS = 2


@pytest.fixture
def agents() -> Iterator[Agents]:
    with Agents() as agents:
        yield agents


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with Webhook() as hook:
        yield hook


@pytest.fixture(scope="module")
def postgres() -> Iterator[RunningPostgres]:
    with RunningPostgres() as postgres:
        yield postgres


def settle(folder: Path, database: str, hook: Webhook, machines: dict[str, str]) -> Path:
    """A folder with a dashboard's settings."""
    folder.mkdir()
    settings = SETTINGS.format(url=hook.url).replace(
        "[dashboard]\n", f'[dashboard]\ndatabase = "{database}"\n'
    )
    tables = "".join(machine_table(id_, url) for id_, url in machines.items())
    (folder / "tierwatch.toml").write_text(settings + tables, encoding="utf-8")
    return folder


def works(dashboard: RunningDashboard) -> bool:
    return dashboard.value("tierwatch_dashboard_works") == 1


def test_one_asks_and_both_show_and_whoever_ends_leaves_the_work_to_the_other(
    tmp_path: Path, agents: Agents, hook: Webhook, postgres: RunningPostgres
) -> None:
    machines, database = play(agents, 3), postgres.url("shows")
    folders = [settle(tmp_path / name, database, hook, machines) for name in ("one", "two")]
    with RunningDashboard(folders[0]) as one, RunningDashboard(folders[1]) as two:
        wait_until(lambda: all_are(one, "ok", machines) and all_are(two, "ok", machines))
        assert (works(one), works(two)) == (True, False)
        agents.end(machines["render-001"])
        wait_until(lambda: two.machine("render-001")["verdict"]["state"] == "down")
        wait_until(lambda: hook.told)
        assert agents.connections[machines["render-000"]] == 1
        assert one.end() == 0
        wait_until(lambda: works(two))
        agents.end(machines["render-002"])
        wait_until(lambda: len(hook.told) == 2)
        assert two.end() == 0
    assert hook.titles == [f"Critical: MachineDown: {id_}" for id_ in ("render-001", "render-002")]


def test_kills_of_whichever_works_neither_lose_nor_double_a_message(
    tmp_path: Path, agents: Agents, hook: Webhook, postgres: RunningPostgres
) -> None:
    machines, database = play(agents, ROUNDS + 1), postgres.url("kills")
    folders = [settle(tmp_path / str(n), database, hook, machines) for n in range(ROUNDS + 1)]
    with ExitStack() as running:
        worker = running.enter_context(RunningDashboard(folders[0]))
        wait_until(lambda: all_are(worker, "ok", machines))
        for number, id_ in enumerate(list(machines)[1:], 1):
            other = running.enter_context(RunningDashboard(folders[number]))
            wait_until(lambda other=other: other.machine("render-000")["verdict"]["state"] == "ok")
            agents.end(machines[id_])
            worker.kill()
            wait_until(lambda number=number: len(hook.told) == number)
            assert works(other)
            worker = other
        for id_ in list(machines)[1:]:
            back(agents, machines, id_)
        wait_until(lambda: len(hook.told) > ROUNDS)
        assert worker.end() == 0
    died = [f"Critical: MachineDown: render-{number:03}" for number in range(1, ROUNDS + 1)]
    assert hook.titles[:ROUNDS] == died
    assert [title.partition(":")[0] for title in hook.titles[ROUNDS:]] == ["Over"]


def test_one_that_was_stopped_and_goes_on_stands_by(
    tmp_path: Path, agents: Agents, hook: Webhook, postgres: RunningPostgres
) -> None:
    machines, database = play(agents, 2), postgres.url("stopped")
    folders = [settle(tmp_path / name, database, hook, machines) for name in ("one", "two")]
    with RunningDashboard(folders[0]) as one, RunningDashboard(folders[1]) as two:
        wait_until(lambda: works(one) and all_are(two, "ok", machines))
        one.process.send_signal(signal.SIGSTOP)
        agents.end(machines["render-000"])
        wait_until(lambda: works(two) and hook.told)
        one.process.send_signal(signal.SIGCONT)
        wait_until(lambda: one.machine("render-000")["verdict"]["state"] == "down")
        agents.end(machines["render-001"])
        wait_until(lambda: len(hook.told) == 2)
        assert (works(one), works(two)) == (False, True)
    assert hook.titles == [f"Critical: MachineDown: {id_}" for id_ in machines]
