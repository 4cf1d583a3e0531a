"""From a machine in trouble to the studio's webhook: real agent, real dashboard, real messages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.running_dashboard import RunningDashboard
from tests.end_to_end.troubled_machines import CrowdedMachine, StallingMachine, receiver
from tests.fakes.webhook import Webhook
from tests.processes import eventually

pytestmark = pytest.mark.slow

SETTINGS = (
    '[dashboard]\npoll_interval = "1s"\n[policy]\nbelow_for = "2s"\nclear_for = "2s"\n'
    '[alerts]\ngroup_wait = "1s"\n'
)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as webhook:
        yield webhook


def serve(
    folder: Path, webhook: Webhook, machine: StallingMachine | CrowdedMachine
) -> RunningDashboard:
    (folder / "tierwatch.toml").write_text(SETTINGS + receiver(webhook) + machine.table)
    return RunningDashboard(folder)


def until_well(dashboard: RunningDashboard, machine: StallingMachine | CrowdedMachine) -> None:
    eventually(
        lambda: dashboard.machine(machine.id)["verdict"],
        lambda verdict: verdict["state"] == "ok",
        "a machine that is well",
    )


def heard(webhook: Webhook, count: int) -> dict[str, Any]:
    """The message of that number; that there is one more fails."""
    eventually(lambda: webhook.told, lambda told: len(told) >= count, f"message {count}")
    assert len(webhook.told) == count
    return webhook.told[-1]


def test_a_stalled_job_is_told_and_so_is_its_end(tmp_path: Path, webhook: Webhook) -> None:
    rule = "GenerationJobStalledOnVram"
    with (
        StallingMachine(tmp_path, "render-01") as machine,
        serve(tmp_path, webhook, machine) as dashboard,
    ):
        server = machine.comfyui.id
        machine.begin()
        machine.work(steps=12)
        until_well(dashboard, machine)
        machine.fill()
        told = heard(webhook, 1)
        assert told["title"] == f"Critical: {rule}: render-01"
        assert told["type"] == "failure"
        summary, _, todo = told["message"].partition("\n\n")
        assert summary == (f"A job on render-01 (mass) does not move: no VRAM is left for {server}")
        assert "0 MiB free of 16.0 GiB" in todo
        assert todo.endswith("see who else holds VRAM.")

        machine.relieve()
        told = heard(webhook, 2)
        assert told["title"] == f"Over: {rule}: render-01"
        assert told["type"] == "success"
        assert told["message"].startswith("render-01: over since ")
        dashboard.end()


def test_a_machine_below_its_tier_is_told_and_so_is_its_end(
    tmp_path: Path, webhook: Webhook
) -> None:
    rule = "MachineBelowTier"
    with (
        CrowdedMachine(tmp_path, "render-02") as machine,
        serve(tmp_path, webhook, machine) as dashboard,
    ):
        until_well(dashboard, machine)
        machine.crowd()
        told = heard(webhook, 1)
        assert told["title"] == f"Warning: {rule}: render-02"
        assert told["message"].startswith("render-02 cannot serve mass: GPU 0 lacks 4.3 GiB")
        assert f"(pid {machine.agent.process.pid})" in told["message"]
        machine.clear()
        told = heard(webhook, 2)
        assert told["title"] == f"Over: {rule}: render-02"
        assert told["message"].startswith("render-02: over since ")
        dashboard.end()
