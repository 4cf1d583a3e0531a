"""What the dashboard finds of a machine: which rule, with what labels, in what words."""

from __future__ import annotations

import msgspec
import pytest

from tests.dashboard.both_ways import START, TICK_SECONDS
from tests.dashboard.doubles import InventoryFile
from tests.dashboard.watch import card, machine, process
from tests.dashboard.watch import snapshot as of_cards
from tierwatch_agent.snapshot import JobRecord, MachineSnapshot, ServerSample, Stall
from tierwatch_dashboard.alerts import Finding
from tierwatch_dashboard.alerts.rules import RULES, findings
from tierwatch_dashboard.alerts.settings import AlertSettings, RuleSettings
from tierwatch_dashboard.fleet import Reading, SourceHealth
from tierwatch_dashboard.fleet.state import FleetState
from tierwatch_dashboard.inventory import Inventory, Machine

GAME = process(4711, "game.exe", 6000)
STALL = Stall(cause="vram", since=START - 200, evidence="no step for 190 s; 0.1 GiB free")
COMFYUI = ServerSample(id="comfyui-8188", kind="comfyui")


def found(
    seen: MachineSnapshot | None,
    *,
    assigned: Machine | None = None,
    settings: AlertSettings | None = None,
    seconds: float = 0,
    lists_jobs: bool = True,
) -> dict[str, Finding]:
    """What holds of a machine that has told this for so long, by rule."""
    inventory = Inventory(machines=(assigned or machine(),), alerts=settings or AlertSettings())
    now = START
    state = FleetState(InventoryFile(current=inventory), lambda: now)
    while now <= START + seconds:
        told = None if seen is None else msgspec.structs.replace(seen, taken_at=now)
        error = "connection refused" if told is None else None
        state.receive(Reading(machine="render-01", at=now, snapshot=told, error=error))
        now += TICK_SECONDS
    return {
        each.rule: each for each in findings(state.views(), inventory, now, lists_jobs=lists_jobs)
    }


def with_server(**fields: object) -> MachineSnapshot:
    server = msgspec.structs.replace(COMFYUI, **fields)
    return msgspec.structs.replace(of_cards(card()), servers=(server,))


def test_a_machine_where_all_is_well_gives_none() -> None:
    assert found(with_server(), seconds=60) == {}


def test_a_machine_below_its_tier_names_what_it_lacks_and_who_holds_it() -> None:
    below = found(of_cards(card(processes=[GAME])), seconds=70)["MachineBelowTier"]
    assert below.labels == {"machine": "render-01", "tier": "mass", "gpu": "0"}
    assert below.summary == "render-01 cannot serve mass: GPU 0 lacks 4.2 GiB"
    assert "5.9 GiB held by game.exe (pid 4711)" in below.todo
    assert "Ending game.exe (pid 4711) would let it serve mass." in below.todo
    assert (below.severity, below.for_seconds) == ("warning", 0)


def test_a_machine_is_below_its_tier_only_once_the_policy_says_so() -> None:
    assert "MachineBelowTier" not in found(of_cards(card(processes=[GAME])), seconds=30)


def test_a_silent_machine_is_down_and_nothing_else() -> None:
    down = found(None, seconds=60)
    assert down.keys() == {"MachineDown"}
    assert down["MachineDown"].summary == "render-01 (mass) does not answer"
    assert "connection refused" in down["MachineDown"].todo
    assert "http://render-01:9838" in down["MachineDown"].todo


@pytest.mark.parametrize("assigned", [machine(maintenance=True), machine(tier=None)])
def test_nobody_hears_that_a_machine_is_down_on_which_nobody_counts(assigned: Machine) -> None:
    assert found(None, assigned=assigned, seconds=60) == {}


def test_a_stall_is_told_with_its_evidence() -> None:
    stalled = found(with_server(stall=STALL))["GenerationJobStalledOnVram"]
    assert stalled.labels == {"machine": "render-01", "tier": "mass", "server": "comfyui-8188"}
    assert stalled.summary == (
        "A job on render-01 (mass) does not move: no VRAM is left for comfyui-8188"
    )
    assert stalled.todo.startswith("No step for 190 s; 0.1 GiB free. Lower the resolution")
    assert stalled.severity == "critical"


def test_a_stall_on_an_unassigned_machine_is_told_without_a_tier() -> None:
    stalled = found(with_server(stall=STALL), assigned=machine(tier=None))
    told = stalled["GenerationJobStalledOnVram"]
    assert told.labels == {"machine": "render-01", "server": "comfyui-8188"}
    assert told.summary.startswith("A job on render-01 does not move")


def test_jobs_out_of_memory_are_told_by_their_rate_alone() -> None:
    def ended(*seconds_ago: float) -> MachineSnapshot:
        jobs = tuple(
            JobRecord(id=str(ago), server="comfyui-8188", outcome="oom", ended_at=START - ago)
            for ago in seconds_ago
        )
        return msgspec.structs.replace(with_server(), jobs=jobs)

    rule = "GenerationJobOutOfMemory"
    assert rule not in found(ended(1, 2))
    assert rule not in found(ended(1, 2, 1000))
    told = found(ended(1, 2, 800))[rule]
    assert told.summary == "comfyui-8188 on render-01 (mass) ran out of VRAM 3 times in 15 min"
    stricter = AlertSettings(rules={rule: RuleSettings(threshold=2, window_seconds=60)})
    told = found(ended(1, 2), settings=stricter)[rule]
    assert told.summary == "comfyui-8188 on render-01 (mass) ran out of VRAM 2 times in 1 min"


def test_an_error_of_the_hardware_is_told_with_its_meaning() -> None:
    def with_xids(**xids: float) -> MachineSnapshot:
        last = {int(name.removeprefix("xid")): at for name, at in xids.items()}
        return of_cards(card(xid_errors=dict.fromkeys(last, 1), xid_last_at=last))

    rule = "GpuHardwareError"
    told = found(with_xids(xid79=START - 5, xid31=START - 5, xid48=START - 900))[rule]
    assert told.labels == {"machine": "render-01", "tier": "mass", "gpu": "0"}
    assert told.todo.startswith("Xid 79: it fell off the bus. ")
    for application_fault in (13, 31, 43, 45, 63, 92):
        assert rule not in found(with_xids(**{f"xid{application_fault}": START - 5}))


@pytest.mark.parametrize("reason", ["idle", "sw_power_cap", "applications_clocks_setting"])
def test_ordinary_reasons_to_hold_clocks_back_are_no_alert(reason: str) -> None:
    seen = of_cards(card(throttle_reasons=(reason,), temperature_celsius=61.0))
    assert found(seen) == {}


def test_no_throughput_is_for_the_mass_tier_unless_the_studio_says_otherwise() -> None:
    seen = with_server(queue_pending=4, queue_running=1)
    rule = "NoThroughput"
    assert found(seen)[rule].summary == (
        "render-01 (mass) finished no job in 10 min while jobs wait (4)"
    )
    assert rule not in found(seen, assigned=machine(tier="light"))
    light = AlertSettings(rules={rule: RuleSettings(tiers={"light": RuleSettings(enabled=True)})})
    assert rule in found(seen, assigned=machine(tier="light"), settings=light)
    everywhere = AlertSettings(rules={rule: RuleSettings(enabled=True)})
    assert rule in found(seen, assigned=machine(tier="draft"), settings=everywhere)


def test_where_nobody_lists_finished_jobs_none_is_said_to_be_lacking() -> None:
    seen = with_server(queue_pending=4, queue_running=1)
    assert "NoThroughput" in found(seen, lists_jobs=True)
    assert "NoThroughput" not in found(seen, lists_jobs=False)
    stalled = with_server(stall=STALL, queue_pending=4)
    assert set(found(stalled, lists_jobs=False)) == {"GenerationJobStalledOnVram"}


def test_a_queue_that_a_person_holds_back_is_not_stuck() -> None:
    stuck = with_server(queue_pending=4, queue_running=0)
    assert "QueueStuck" in found(stuck)
    assert not found(with_server(queue_pending=4, queue_running=0, paused=True))


def test_a_server_that_hangs_or_ended_is_told_with_the_reason() -> None:
    rule = "GenerationServerDown"
    ended = found(with_server(state="down", reason="its process has ended"))[rule]
    assert ended.todo.startswith("Its process has ended. ")
    hangs = Stall(cause="unresponsive", since=START, evidence="no answer for 70 s")
    assert found(with_server(stall=hangs))[rule].todo.startswith("No answer for 70 s. ")
    assert rule not in found(with_server(state="down"), assigned=machine(tier=None))


def test_what_a_rule_says_of_a_tier_goes_before_what_it_says_of_all() -> None:
    rule = "GenerationJobStalledOnVram"
    settings = AlertSettings(
        rules={
            rule: RuleSettings(
                severity="info",
                for_seconds=30,
                tiers={
                    "mass": RuleSettings(for_seconds=5),
                    "light": RuleSettings(enabled=False),
                },
            )
        }
    )
    told = found(with_server(stall=STALL), settings=settings)[rule]
    assert (told.severity, told.for_seconds) == ("info", 5)
    seen = with_server(stall=STALL)
    assert rule not in found(seen, assigned=machine(tier="light"), settings=settings)


def test_the_oldest_poll_says_whether_polling_falls_behind() -> None:
    old = Reading(machine="a", at=START - 40, error="timeout")
    new = Reading(machine="b", at=START - 2, error="timeout")

    def behind(*readings: Reading) -> list[str]:
        polling = SourceHealth(last={reading.machine: reading for reading in readings})
        return [each.summary for each in findings((), Inventory(), START, polling)]

    assert behind(old, new) == ["The dashboard has not asked one of its machines for 40 s"]
    assert behind(new) == []
    assert behind() == []


def test_fingerprints_stay_while_figures_change() -> None:
    def below(mib: int) -> Finding:
        cards = of_cards(card(processes=[process(4711, "game.exe", mib)]))
        return found(cards, seconds=70)["MachineBelowTier"]

    assert below(6000).summary != below(7000).summary
    assert below(6000).fingerprint == below(7000).fingerprint


def test_every_rule_says_what_is_wrong_and_what_to_do() -> None:
    for name, rule in RULES.items():
        assert name == rule.name
        assert rule.summary
        assert rule.todo.endswith((".", "?"))
        assert not rule.summary.endswith(".")
