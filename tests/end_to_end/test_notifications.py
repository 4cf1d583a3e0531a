"""Messages from a real dashboard to a real webhook: each once and in order, whatever dies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.end_to_end.running_dashboard import RunningDashboard, machine_table, wait_until
from tests.fakes.agents import Agents, healthy
from tests.fakes.webhook import Webhook

pytestmark = pytest.mark.slow

SETTINGS = """\
[dashboard]
poll_interval = "1s"
[policy]
stale_after = "2s"
down_after = "3s"
[[alerts.receiver]]
name = "ops"
url = "{url}"
"""


@pytest.fixture
def agents() -> Iterator[Agents]:
    with Agents() as agents:
        yield agents


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with Webhook() as hook:
        yield hook


def write_settings(
    folder: Path, hook: Webhook, machines: Mapping[str, str], more: str = ""
) -> None:
    tables = "".join(machine_table(id_, url) for id_, url in machines.items())
    content = f"{SETTINGS.format(url=hook.url)}{more}{tables}"
    (folder / "tierwatch.toml").write_text(content, encoding="utf-8")


def play(agents: Agents, count: int) -> dict[str, str]:
    """Agents that are well, by their machine's id."""
    ids = [f"render-{number:03}" for number in range(count)]
    return {id_: agents.play(healthy(id_)) for id_ in ids}


def back(agents: Agents, machines: Mapping[str, str], id_: str) -> None:
    """The agent of a machine that was away is there again."""
    agents.play(healthy(id_), port=int(machines[id_].rpartition(":")[2]))


def all_are(dashboard: RunningDashboard, state: str, machines: Mapping[str, str]) -> bool:
    shown = json.loads(dashboard.get("api/v1/fleet"))["machines"]
    assert {each["machine"]["id"] for each in shown} == machines.keys()
    return all(each["verdict"]["state"] == state for each in shown)


def waiting(dashboard: RunningDashboard) -> float:
    return dashboard.value("tierwatch_dashboard_outbox_messages", receiver="ops") or 0


def test_a_receiver_away_through_an_outage_and_a_kill_has_every_message_once_and_in_order(
    tmp_path: Path, agents: Agents, hook: Webhook
) -> None:
    hook.down()
    machines = play(agents, 2)
    write_settings(tmp_path, hook, machines)
    with RunningDashboard(tmp_path) as dashboard:
        wait_until(lambda: all_are(dashboard, "ok", machines))
        agents.end(machines["render-000"])
        wait_until(lambda: waiting(dashboard) == 1)
        dashboard.kill()
    agents.end(machines["render-001"])
    with RunningDashboard(tmp_path) as dashboard:
        wait_until(lambda: waiting(dashboard) == 2)
        dashboard.kill()
    with RunningDashboard(tmp_path) as dashboard:
        back(agents, machines, "render-001")
        wait_until(lambda: waiting(dashboard) == 3)
        back(agents, machines, "render-000")
        wait_until(lambda: all_are(dashboard, "ok", machines))
        dashboard.kill()
    assert hook.told == []
    hook.up()
    with RunningDashboard(tmp_path) as dashboard:
        wait_until(lambda: len(hook.told) >= 4)
        wait_until(lambda: waiting(dashboard) == 0)
        assert dashboard.end() == 0
        log = str(dashboard.log)
    assert hook.titles == [
        "Critical: MachineDown: render-000",
        "Critical: MachineDown: render-001",
        "Over: MachineDown: render-001",
        "Over: MachineDown: render-000",
    ]
    assert "s3cr3t" not in log


def test_a_message_whose_answer_was_lost_is_sent_again(
    tmp_path: Path, agents: Agents, hook: Webhook
) -> None:
    machines = play(agents, 1)
    write_settings(tmp_path, hook, machines)
    hook.drop_answers = 1
    with RunningDashboard(tmp_path) as dashboard:
        wait_until(lambda: all_are(dashboard, "ok", machines))
        agents.end(machines["render-000"])
        wait_until(lambda: len(hook.told) >= 2)
        wait_until(lambda: waiting(dashboard) == 0)
        outcome = "tierwatch_dashboard_deliveries_total"
        assert dashboard.value(outcome, receiver="ops", outcome="failed") == 1
        assert dashboard.value(outcome, receiver="ops", outcome="delivered") == 1
    assert hook.titles == ["Critical: MachineDown: render-000"] * 2


def test_three_hundred_machines_that_die_at_once_are_one_message_and_one_when_they_return(
    tmp_path: Path, agents: Agents, hook: Webhook
) -> None:
    machines = play(agents, 300)
    with Webhook() as other:
        second = f'[[alerts.receiver]]\nname = "artists"\nurl = "{other.url}"\n'
        write_settings(tmp_path, hook, machines, second)
        with RunningDashboard(tmp_path) as dashboard:
            wait_until(lambda: all_are(dashboard, "ok", machines))
            for url in machines.values():
                agents.end(url)
            wait_until(lambda: hook.told and other.told)
            assert dashboard.value("tierwatch_dashboard_alerts", state="firing") == 300
            for id_ in machines:
                back(agents, machines, id_)
            wait_until(lambda: len(hook.told) > 1 and len(other.told) > 1)
            assert dashboard.value("tierwatch_dashboard_alerts", state="firing") == 0
            assert dashboard.end() == 0
        assert hook.titles == other.titles
    assert hook.titles == ["Critical: MachineDown: 300 machines", "Over: MachineDown: 300 machines"]
