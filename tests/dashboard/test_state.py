"""The fleet's state: readings in, views out; time passes, and the version tells what changed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import pytest

from tests.fakes.agents import GIB, gpu, snapshot
from tierwatch_agent.snapshot import (
    GpuSample,
    JobRecord,
    MachineSnapshot,
    RunningJob,
    ServerSample,
)
from tierwatch_dashboard.changes import StateChange
from tierwatch_dashboard.fleet import Reading
from tierwatch_dashboard.fleet.state import FleetState, MachineView
from tierwatch_dashboard.inventory import Inventory, Machine


@dataclass
class InventoryInForce:
    current: Inventory


def machine(id_: str, tier: str | None = "mass") -> Machine:
    return Machine(id=id_, url=f"http://{id_}:9838", tier=tier)


@dataclass
class Studio:
    """A state whose clock and inventory the test moves."""

    at: float = 10_000.0
    inventory: InventoryInForce = field(
        default_factory=lambda: InventoryInForce(Inventory(machines=(machine("a"), machine("b"))))
    )
    changes: list[StateChange] = field(default_factory=list[StateChange])

    def __post_init__(self) -> None:
        self.state = FleetState(self.inventory, lambda: self.at, on_change=self.changes.append)

    def hear(self, id_: str, *gpus: GpuSample, taken_at: float | None = None) -> MachineSnapshot:
        taken_at = self.at - 0.4 if taken_at is None else taken_at
        seen = snapshot(id_, taken_at=taken_at, gpus=gpus or (gpu(),))
        self.state.receive(Reading(machine=id_, at=self.at, snapshot=seen))
        return seen

    def fail(self, id_: str, why: str) -> None:
        self.state.receive(Reading(machine=id_, at=self.at, error=why))

    def see(self, id_: str) -> MachineView:
        view = self.state.view(id_)
        assert view is not None
        return view

    def pass_time(self, seconds: float, *heard: str) -> None:
        """Time passes in steps of a second; the heard machines are heard every five."""
        for step in range(round(seconds)):
            self.at += 1
            if step % 5 == 0:
                for id_ in heard:
                    self.hear(id_)
            self.state.judge(self.at)


@pytest.fixture
def studio() -> Studio:
    return Studio()


def hear_job(studio: Studio, job: RunningJob, *finished: JobRecord) -> None:
    studio.at += 5
    server = ServerSample(id="comfyui-8188", kind="comfyui", jobs=(job,))
    seen = msgspec.structs.replace(
        snapshot("a", taken_at=studio.at - 0.4, gpus=(gpu(),)), servers=(server,), jobs=finished
    )
    studio.state.receive(Reading(machine="a", at=studio.at, snapshot=seen))


def test_a_reading_is_judged_at_once(studio: Studio) -> None:
    seen = studio.hear("a")
    view = studio.see("a")
    assert view.snapshot == seen
    assert view.heard_at == studio.at
    assert view.error is None
    assert view.verdict.state == "ok"
    assert view.verdict.can_serve == "mass"


def test_every_machine_has_a_view_before_it_was_ever_asked(studio: Studio) -> None:
    assert [view.machine.id for view in studio.state.views()] == ["a", "b"]
    assert studio.see("a").snapshot is None
    assert studio.state.view("nobody") is None


def test_a_failed_reading_keeps_the_last_snapshot_and_says_why(studio: Studio) -> None:
    seen = studio.hear("a")
    heard_at = studio.at
    studio.at += 5
    studio.fail("a", "connection refused: is the agent running on a:9838?")
    view = studio.see("a")
    assert view.snapshot == seen
    assert view.heard_at == heard_at
    assert view.error == "connection refused: is the agent running on a:9838?"


def test_time_alone_makes_a_silent_machine_down_and_the_worst_comes_first(studio: Studio) -> None:
    studio.hear("a")
    studio.hear("b")
    studio.pass_time(30, "a")
    assert [v.machine.id for v in studio.state.views()] == ["b", "a"]
    assert studio.see("b").verdict.state == "down"
    assert studio.see("a").verdict.state == "ok"


def test_an_agent_whose_figures_stand_still_goes_stale_and_down(studio: Studio) -> None:
    stuck = studio.at
    studio.hear("a", taken_at=stuck)
    heard_at = studio.at
    for _ in range(6):
        studio.at += 5
        studio.hear("a", taken_at=stuck)
    view = studio.see("a")
    assert view.heard_at == heard_at
    assert view.verdict.state == "down"
    assert view.error == "its agent answers, but its figures stand still: restart the agent"


def test_an_agent_whose_clock_was_set_back_is_heard(studio: Studio) -> None:
    studio.hear("a", taken_at=studio.at)
    studio.at += 5
    studio.hear("a", taken_at=studio.at - 3600)
    assert studio.see("a").heard_at == studio.at


def test_a_reading_of_a_machine_that_left_the_inventory_is_dropped(studio: Studio) -> None:
    studio.hear("a")
    studio.inventory.current = Inventory(machines=(machine("b"), machine("c", tier=None)))
    before = studio.state.version
    studio.hear("a")
    assert studio.state.view("a") is None
    studio.state.judge(studio.at)
    assert [view.machine.id for view in studio.state.views()] == ["b", "c"]
    assert studio.state.version > before


def test_a_changed_assignment_holds_at_the_next_judgement(studio: Studio) -> None:
    studio.hear("a")
    studio.inventory.current = Inventory(machines=(machine("a", tier="light"), machine("b")))
    studio.state.judge(studio.at)
    assert studio.see("a").verdict.tier == "light"
    assert studio.see("a").snapshot is not None


def test_the_version_stands_while_nothing_shown_changes(studio: Studio) -> None:
    studio.hear("a", gpu(available=15 * GIB))
    studio.hear("b")
    version = studio.state.version
    for _ in range(3):
        studio.at += 4
        # 2 MiB and a tenth of a degree are finer than any page shows.
        finer = msgspec.structs.replace(
            gpu(available=15 * GIB - 2 * 2**20), temperature_celsius=60.1
        )
        studio.hear("a", finer)
        studio.hear("b")
        studio.state.judge(studio.at)
    assert studio.state.version == version
    assert studio.state.views_since(version) == ()
    assert studio.see("a").heard_at == studio.at


def test_only_the_rows_that_changed_come_after_a_version(studio: Studio) -> None:
    studio.hear("a")
    studio.hear("b")
    version = studio.state.version
    studio.hear("b", gpu(available=2 * GIB))
    assert [v.machine.id for v in studio.state.views_since(version)] == ["b"]
    assert studio.see("b").row_version == studio.state.version > version
    assert len(studio.state.views_since(0)) == 2


def test_a_step_and_a_finished_job_raise_the_version_and_finer_paces_do_not(
    studio: Studio,
) -> None:
    job = RunningJob(id="1", step=3, steps=20, seconds_per_step=0.8012)
    hear_job(studio, job)
    version = studio.state.version
    hear_job(studio, msgspec.structs.replace(job, seconds_per_step=0.8009, progressed_at=1.0))
    assert studio.state.version == version
    hear_job(studio, msgspec.structs.replace(job, step=4))
    assert [view.machine.id for view in studio.state.views_since(version)] == ["a"]
    version = studio.state.version
    done = JobRecord(id="0", server="comfyui-8188", outcome="success", ended_at=9_000.0)
    hear_job(studio, msgspec.structs.replace(job, step=4), done)
    assert studio.state.version > version


def test_each_change_of_state_is_told_once(studio: Studio) -> None:
    studio.hear("a")
    studio.hear("b")
    first = [(told.machine, told.state) for told in studio.changes]
    assert first[-2:] == [("a", "ok"), ("b", "ok")]
    studio.changes.clear()
    studio.pass_time(30, "a")
    studio.hear("b")
    studio.pass_time(30, "a", "b")
    assert [(v.machine, v.state) for v in studio.changes] == [("b", "down"), ("b", "ok")]


def told(studio: Studio) -> Sequence[tuple[object, ...]]:
    found = [(each.machine, each.state, each.tier, each.cause) for each in studio.changes]
    studio.changes.clear()
    return found


def test_another_tier_and_another_cause_are_told_though_the_state_stays(studio: Studio) -> None:
    hot = msgspec.structs.replace(gpu(), throttle_reasons=("hw_thermal_slowdown",))
    lost = msgspec.structs.replace(gpu(), state="lost", memory=None, attribution=None)
    studio.hear("a")
    studio.hear("b")
    studio.changes.clear()
    studio.hear("a", hot)
    assert told(studio) == [("a", "at_risk", "mass", "heat")]
    studio.at += 1
    studio.hear("a", lost)
    assert told(studio) == [("a", "at_risk", "mass", "gpu")]
    studio.inventory.current = Inventory(machines=(machine("a"), machine("b", "light")))
    studio.state.judge(studio.at)
    studio.state.judge(studio.at + 1)
    assert told(studio) == [("b", "ok", "light", None)]


def test_a_machine_that_leaves_is_told_of_once(studio: Studio) -> None:
    studio.changes.clear()
    studio.inventory.current = Inventory(machines=(machine("a"),))
    studio.state.judge(studio.at)
    studio.state.judge(studio.at + 5)
    assert told(studio) == [("b", "unassigned", None, None)]


def test_a_machine_that_left_while_no_dashboard_ran_is_told_of_at_the_start(
    studio: Studio,
) -> None:
    studio.hear("a")
    studio.hear("b")
    memories = studio.state.memories()
    alone = InventoryInForce(Inventory(machines=(machine("a"),)))
    changes: list[StateChange] = []
    FleetState(alone, lambda: studio.at, memories, on_change=changes.append)
    assert [(each.machine, each.state) for each in changes] == [("b", "unassigned")]


def test_memories_carry_clocks_over_a_restart(studio: Studio) -> None:
    """A machine short for 50 s turns below 10 s after the restart, not 60."""
    short = gpu(available=2 * GIB)
    for _ in range(50):
        studio.at += 1
        studio.hear("a", short)
    assert studio.see("a").verdict.state == "at_risk"
    again = FleetState(studio.inventory, lambda: studio.at, studio.state.memories())
    for _ in range(15):
        studio.at += 1
        seen = snapshot("a", taken_at=studio.at, gpus=(short,))
        again.receive(Reading(machine="a", at=studio.at, snapshot=seen))
    view = again.view("a")
    assert view is not None
    assert view.verdict.state == "below"


def deafen(studio: Studio, seconds: int) -> None:
    """What would tell of the machines gives no answer for so long."""
    for _ in range(seconds):
        studio.at += 1
        for id_ in ("a", "b"):
            reading = Reading(
                machine=id_, at=studio.at, error="prometheus:9090 is away", source_failed=True
            )
            studio.state.receive(reading)
        studio.state.judge(studio.at)


def test_a_source_that_fails_takes_no_machine_down_with_it(studio: Studio) -> None:
    for id_ in ("a", "b"):
        studio.hear(id_)
    heard_at = studio.at
    deafen(studio, 300)
    view = studio.see("a")
    assert view.verdict.state == "ok"
    assert view.heard_at == heard_at
    assert view.error == "prometheus:9090 is away"
    assert view.verdict.reasons == ("This is its last known state: prometheus:9090 is away.",)
    version = studio.state.version
    deafen(studio, 30)
    assert studio.state.version == version


def test_silence_counts_from_when_the_source_answers_again(studio: Studio) -> None:
    for id_ in ("a", "b"):
        studio.hear(id_)
    deafen(studio, 45)
    studio.fail("b", "no fresh series")
    studio.pass_time(15, "a")
    assert studio.see("a").verdict.state == "ok"
    assert studio.see("a").verdict.reasons == ()
    assert studio.see("b").verdict.state == "ok"
    studio.pass_time(10, "a")
    assert studio.see("b").verdict.state == "down"


def test_a_machine_that_was_never_heard_is_not_down_while_its_source_fails(
    studio: Studio,
) -> None:
    deafen(studio, 100)
    verdict = studio.see("a").verdict
    assert verdict.state == "at_risk"
    assert verdict.headline.endswith("prometheus:9090 is away")


def test_readers_never_meet_a_half_made_fleet(studio: Studio) -> None:
    """One thread reads while others receive and judge: every answer is whole and in order."""
    done = threading.Event()
    faults: list[str] = []

    def read() -> None:
        while not done.is_set():
            versions = studio.state.version
            views = studio.state.views()
            if {view.machine.id for view in views} != {"a", "b"}:
                faults.append(f"{len(views)} machines")
            if studio.state.version < versions:
                faults.append("version ran backwards")

    def judge() -> None:
        while not done.is_set():
            studio.state.judge(studio.at)

    threads = [threading.Thread(target=run) for run in (read, read, judge)]
    for thread in threads:
        thread.start()
    for step in range(300):
        studio.hear("a", gpu(available=(2 + step % 13) * GIB), taken_at=float(step))
        studio.hear("b", taken_at=float(step))
    done.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert studio.state.version > 100
