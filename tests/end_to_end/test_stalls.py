"""Every cause of a stall, and what looks like one and is none, on real agents.

Each scenario has a machine of its own, all at once: a fake driver with one card, a generation
server that is played over HTTP, and an agent. ``pytest -s`` prints the table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end import stall_scenes as scenes
from tests.end_to_end.running_dashboard import RunningDashboard, machine_table
from tests.end_to_end.stalling_machine import (
    Machine,
    Server,
    ToldByExtension,
    ToldByLog,
    ToldByStatus,
)
from tests.fakes.nvml import FakeNvml
from tests.processes import RunningAgent, eventually

pytestmark = pytest.mark.slow

SLACK_SECONDS = 25.0
"""How much later than its bound a stall may be noticed, on a machine that has much else to do."""
MACHINE = "render-03"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is played, what must be told of it, and how soon."""

    name: str
    play: Callable[[Machine], None]
    expected: str = "none"
    bound: float = 0.0
    """Seconds from the trouble's beginning; 0: there is none."""
    words: str = ""
    """What the evidence must match."""
    server: Callable[[Path], Server] = ToldByLog


SCENARIOS = (
    Scenario(
        name="API silent between steps",
        play=scenes.answers_no_more,
        expected="unresponsive",
        bound=66,
        words=r"no answer for \d+ s, while process \d+ runs with a job",
        server=ToldByExtension,
    ),
    Scenario(
        name="no step, hardly any VRAM free",
        play=scenes.stops_under_pressure,
        expected="vram",
        bound=32,
        words=r"no step for \d+ s, usually 0\.\d\d s a step; 180 MiB free of 12\.0 GiB",
    ),
    Scenario(
        name="no step, plenty of VRAM free",
        play=scenes.hangs,
        expected="hang",
        bound=32,
        words=r"no step for \d+ s, usually 0\.\d\d s a step; 5\.8 GiB free .*GPU 0% busy at 30 W",
    ),
    Scenario(
        name="a model never loads",
        play=scenes.never_loads,
        expected="hang",
        bound=17,
        words=r"no sign of progress for \d+ s; 5\.8 GiB free",
    ),
    Scenario(
        name="the server's record says: out of memory",
        play=scenes.runs_out_of_memory,
        expected="oom",
        bound=3,
        words=r"a job ran out of memory \(juggernaut_xl, 1024 × 768, batch of 4\)",
    ),
    Scenario(
        name="torch's counter says so, without a record",
        play=scenes.runs_out_of_memory,
        expected="oom",
        bound=7,
        words="a job ran out of memory",
        server=ToldByStatus,
    ),
    Scenario(
        name="API silent while a model loads",
        play=scenes.answers_no_more_while_it_loads,
        expected="unresponsive",
        bound=21,
        words=r"no answer for \d+ s, while process \d+ runs with a job",
        server=ToldByExtension,
    ),
    Scenario(
        name="the card is lost",
        play=scenes.loses_its_card,
        expected="gpu",
        bound=17,
        words=r"no step for \d+ s.*; its GPU is lost: ",
    ),
    Scenario(
        name="an Xid of the hardware",
        play=scenes.reports_an_xid,
        expected="gpu",
        bound=18,
        words=r"no step for \d+ s.* its GPU reported an error of its hardware \(Xid 119\)",
    ),
    Scenario(
        name="heat, 5 times slower",
        play=scenes.overheats,
        expected="gpu",
        bound=6,
        words=r"s a step, usually 0\.\d\d s; the GPU slows itself down at 97 °C",
    ),
    Scenario(
        name="the link busy at low power, 5 times slower",
        play=scenes.overflows,
        expected="spill",
        bound=14,
        words=r"s a step, usually 0\.\d\d s; the PCIe link carries 9\.8 GB/s while it samples; "
        r"GPU 100% busy at 95 W of 320 W",
    ),
    Scenario(
        name="its log says: decodes in tiles, 5 times slower",
        play=scenes.decodes_in_tiles,
        expected="spill",
        bound=14,
        words=r"s a step, usually 0\.\d\d s; the server decodes in tiles for want of memory",
    ),
    Scenario(name="first load, and once 22 s without a step", play=scenes.loads_for_the_first_time),
    Scenario(name="paused for 42 s amid its steps", play=scenes.is_paused, server=ToldByStatus),
    Scenario(name="full VRAM at its usual pace", play=scenes.has_full_vram),
    Scenario(name="stands, and is interrupted", play=scenes.is_interrupted),
    Scenario(name="decodes for 22 s, usually 10 s", play=scenes.decodes_for_long),
    Scenario(name="38 s without a step, the GPU at work", play=scenes.works_without_telling),
)
STALLED = next(scenario for scenario in SCENARIOS if scenario.expected == "vram")
"""The one that a dashboard is asked about."""


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    scenario: Scenario
    seen: str
    noticed: float | None
    evidence: str
    metric: Mapping[str, float | None]
    """What ``tierwatch_job_stalled`` says of each cause."""
    verdict: tuple[str, str] | None = None
    """The dashboard's, where one was asked: state and headline."""


def row(scenario: Scenario, folder: Path, fake: FakeNvml) -> Row:
    """Plays a scenario."""
    with ExitStack() as stack:
        server = scenario.server(folder)
        stack.callback(server.close)
        config = f'sources = ["nvml"]\nstall_after_seconds = {scenes.STALL_AFTER_SECONDS}\n'
        if not server.found:
            there = json.dumps(f"http://127.0.0.1:{server.port}")
            config += f'discover = false\nservers = [{{kind = "{server.kind}", url = {there}}}]\n'
        agent = stack.enter_context(
            RunningAgent(folder, config=config, environment=fake.env, machine=MACHINE)
        )
        machine = Machine(fake, server, agent)
        machine.show(scenes.RESTING)
        agent.until(machine.is_watched, "a server that is watched, on its card")
        scenario.play(machine)
        if scenario.bound:
            machine.wait(scenario.bound + SLACK_SECONDS)
        stall, began = machine.stall, machine.began_at
        return Row(
            scenario,
            seen="none" if stall is None else stall.cause,
            noticed=None if stall is None or began is None else machine.stalled_at - began,
            evidence="" if stall is None else stall.evidence,
            metric=machine.stalled(),
            verdict=_verdict(folder, agent) if scenario is STALLED else None,
        )


def _verdict(folder: Path, agent: RunningAgent) -> tuple[str, str]:
    """What a dashboard says of the machine, once it says that it stalls."""
    settings = '[dashboard]\npoll_interval = "1s"\n'
    table = machine_table(MACHINE, f"http://127.0.0.1:{agent.port}", tier="light")
    (folder / "tierwatch.toml").write_text(settings + table)
    with RunningDashboard(folder) as dashboard:
        verdict = eventually(
            lambda: dashboard.machine(MACHINE)["verdict"],
            lambda told: told["state"] == "stalled",
            "a machine that stalls",
        )
        dashboard.end()
    return verdict["state"], verdict["headline"]


def table(rows: list[Row]) -> Iterator[str]:
    """The rows as people read them."""
    yield f"{'scenario':<48} {'expected':<13} {'seen':<13} {'noticed':>8} {'bound':>6}"
    for each in rows:
        noticed = "" if each.noticed is None else f"{each.noticed:.1f} s"
        bound = f"{each.scenario.bound:.0f} s" if each.scenario.bound else ""
        name, expected = each.scenario.name, each.scenario.expected
        yield f"{name:<48} {expected:<13} {each.seen:<13} {noticed:>8} {bound:>6}"
    for each in rows:
        if each.evidence:
            yield f"{each.scenario.name}: {each.evidence}"


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Future[Row]]:
    """Every scenario, played once."""
    with ThreadPoolExecutor(len(SCENARIOS)) as pool:
        futures: dict[str, Future[Row]] = {}
        for scenario in SCENARIOS:
            folder = tmp_path_factory.mktemp("machine")
            futures[scenario.name] = pool.submit(row, scenario, folder, FakeNvml(folder))
    rows = [future.result() for future in futures.values() if future.exception() is None]
    print("", *table(rows), sep="\n")
    return futures


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_stall_is_told_with_its_cause_and_ordinary_work_is_none(
    played: Mapping[str, Future[Row]], scenario: Scenario
) -> None:
    seen = played[scenario.name].result()
    assert seen.seen == scenario.expected, seen.evidence
    assert re.search(scenario.words, seen.evidence)
    assert seen.metric == {cause: float(cause == scenario.expected) for cause in seen.metric}
    if scenario.bound:
        assert seen.noticed is not None
        assert 0 <= seen.noticed <= scenario.bound + SLACK_SECONDS


def test_the_dashboard_says_that_the_machine_stalls_and_why(
    played: Mapping[str, Future[Row]],
) -> None:
    verdict = played[STALLED.name].result().verdict
    assert verdict is not None
    state, headline = verdict
    assert state == "stalled"
    assert re.match(r"ComfyUI's job does not move: no step for \d+ s", headline)
