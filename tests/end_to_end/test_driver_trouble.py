"""What a driver can do to an agent: hang, lose a card, be updated, go and come back.

Fake driver, real agent, real dashboard. Throughout, the agent answers, and the page says in words
what is wrong.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.running_dashboard import RunningDashboard, machine_table
from tests.fakes.nvml import (
    ANY,
    DRIVER_NOT_LOADED,
    GPU_IS_LOST,
    Card,
    Driver,
    FakeNvml,
)
from tests.processes import RunningAgent, eventually
from tierwatch_agent.snapshot import MachineSnapshot, SourceState

MACHINE = "render-01"
CARD = Card(name="NVIDIA GeForce RTX 4090", total_mib=24564, reserved_mib=420)
WELL = Driver(cards=(CARD, CARD))

pytestmark = pytest.mark.slow


def nvml(snapshot: MachineSnapshot) -> SourceState:
    return snapshot.sources[0]


def is_up(snapshot: MachineSnapshot) -> bool:
    return nvml(snapshot).state == "up"


def is_down(snapshot: MachineSnapshot) -> bool:
    return nvml(snapshot).state == "down"


class Machine:
    """A machine with two cards, its agent, and the dashboard that shows it."""

    def __init__(self, fake: FakeNvml, agent: RunningAgent, dashboard: RunningDashboard) -> None:
        self.fake = fake
        self.agent = agent
        self.dashboard = dashboard

    def page_says(self, words: str) -> None:
        """Waits until the machine's page says so."""

        def text() -> str:
            page = self.dashboard.get(f"machines/{MACHINE}")
            return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))

        eventually(text, lambda text: words in text, f"a page that says: {words}")

    def answers(self) -> None:
        """Both of the agent's pages answer, whatever its driver does."""
        assert self.agent.get("/metrics")[0] == 200
        assert self.agent.get("/healthz")[0] == 200


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    fake = FakeNvml(tmp_path)
    fake.write(WELL)
    with contextlib.ExitStack() as stack:
        config = 'sources = ["nvml"]\ndiscover = false\ndeadline_seconds = 1.0\n'
        agent = stack.enter_context(RunningAgent(tmp_path, config=config, environment=fake.env))
        agent.until(is_up, "the driver's first answer")
        (tmp_path / "tierwatch.toml").write_text(
            '[dashboard]\npoll_interval = "1s"\n[policy]\nbelow_for = "3s"\nclear_for = "1s"\n'
            + machine_table(MACHINE, f"http://127.0.0.1:{agent.port}")
        )
        dashboard = stack.enter_context(RunningDashboard(tmp_path))
        yield Machine(fake, agent, dashboard)
        dashboard.end()


def test_a_driver_that_hangs_and_goes_on(machine: Machine) -> None:
    machine.fake.write(replace(WELL, hang=(ANY,)))
    stuck = machine.agent.until(is_down, "a source that is down")
    assert "a call to the driver hangs" in (nvml(stuck).reason or "")
    assert [gpu.state for gpu in stuck.gpus] == ["unreadable", "unreadable"]
    machine.answers()
    machine.page_says("a call to the driver hangs")
    machine.page_says("Cannot serve mass now")
    machine.fake.write(WELL)
    again = machine.agent.until(is_up, "the driver again")
    assert [gpu.state for gpu in again.gpus] == ["ok", "ok"]
    machine.page_says("Serves mass")


def test_a_driver_that_hangs_longer_than_a_process_is_given(machine: Machine) -> None:
    machine.fake.write(replace(WELL, hang=(ANY,)))
    machine.agent.until(lambda s: nvml(s).restarts, "a new process for the driver")
    machine.answers()
    machine.fake.write(WELL)
    machine.agent.until(is_up, "the driver again")


def test_a_card_that_falls_off_the_bus(machine: Machine) -> None:
    lost = replace(CARD, errors={ANY: GPU_IS_LOST})
    machine.fake.write(replace(WELL, cards=(CARD, lost)))
    seen = machine.agent.until(lambda s: s.gpus[1].state == "lost", "a lost card")
    assert seen.gpus[0].state == "ok"
    assert seen.gpus[0].memory is not None
    assert is_up(seen)
    assert machine.agent.sample("tierwatch_gpu_up", gpu="1") == 0
    assert machine.agent.sample("tierwatch_gpu_up", gpu="0") == 1
    machine.answers()
    machine.page_says("GPU 1 is lost")
    machine.fake.write(WELL)
    machine.agent.until(lambda s: s.gpus[1].state == "ok", "the card again")
    machine.page_says("Serves mass")


def test_a_card_that_the_driver_no_longer_lists(machine: Machine) -> None:
    machine.fake.write(replace(WELL, cards=(CARD,)))
    machine.agent.until(lambda s: s.gpus[1].state == "lost", "a lost card")
    (source,) = psutil.Process(machine.agent.process.pid).children()
    source.kill()
    seen = machine.agent.until(
        lambda s: is_up(s) and nvml(s).restarts, "a process that never saw the second card"
    )
    assert [(gpu.name, gpu.state) for gpu in seen.gpus] == [(CARD.name, "ok"), (CARD.name, "lost")]
    machine.page_says("GPU 1 is lost: the driver no longer lists it")


def test_an_update_of_the_driver_under_a_running_agent(machine: Machine) -> None:
    machine.fake.write(replace(WELL, version="580.65.06", library="570.124.06"))
    seen = machine.agent.until(is_down, "a source that is down")
    assert "updated" in (nvml(seen).reason or "")
    machine.answers()
    machine.page_says("updated")
    machine.fake.write(replace(WELL, version="580.65.06"))
    again = machine.agent.until(is_up, "the new driver")
    assert nvml(again).restarts >= 1
    assert again.gpus[0].driver_version == "580.65.06"


def test_a_driver_that_is_unloaded_removed_and_comes_back(machine: Machine) -> None:
    unloaded = {ANY: DRIVER_NOT_LOADED}
    machine.fake.write(replace(WELL, init_error=DRIVER_NOT_LOADED, errors=unloaded))
    seen = machine.agent.until(is_down, "a source that is down")
    assert "not loaded" in (nvml(seen).reason or "")
    assert [gpu.name for gpu in seen.gpus] == [CARD.name, CARD.name]
    machine.answers()
    machine.page_says("not loaded")
    machine.fake.remove()
    machine.answers()
    machine.fake.restore()
    machine.fake.write(WELL)
    machine.agent.until(lambda s: is_up(s) and s.gpus[0].state == "ok", "the driver again")
    machine.page_says("Serves mass")


def test_a_scrape_makes_no_call_to_the_driver(machine: Machine) -> None:
    machine.fake.write(replace(WELL, hang=(ANY,)))
    machine.agent.until(is_down, "a source that is down")
    before = machine.fake.calls()
    for _ in range(20):
        machine.answers()
    assert machine.fake.calls() == before
