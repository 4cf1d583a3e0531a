"""The rules in Prometheus: the file is the printed one, and each rule says what the dashboard says.

Each scene is calm, then in trouble, then calm again, and played both ways.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from tests.dashboard.both_ways import START, BothWays, Scene, check, families_in
from tests.dashboard.watch import card, machine, process
from tests.dashboard.watch import snapshot as of_cards
from tierwatch_agent.catalogue import AGENT, DASHBOARD
from tierwatch_agent.snapshot import (
    Attribution,
    GpuSample,
    JobRecord,
    JobTotals,
    MachineSnapshot,
    Outcome,
    ServerSample,
    SourceState,
    Stall,
    StallCause,
)
from tierwatch_dashboard.alerts.inhibition import INHIBITIONS
from tierwatch_dashboard.alerts.prometheus import alerts, recordings, rules_file
from tierwatch_dashboard.alerts.rules import RULES
from tierwatch_dashboard.alerts.settings import AlertSettings, RuleSettings
from tierwatch_dashboard.cli import main
from tierwatch_dashboard.inventory import Inventory, Machine

DEPLOY = Path(__file__).parents[2] / "deploy"
FOLDER = DEPLOY / "prometheus"
INVENTORY = Inventory(machines=(machine(),))
CARD = card(processes=[process(300, "python", 6000, server="comfyui")], temperature_celsius=61.0)
COMFYUI = ServerSample(
    id="comfyui-8188", kind="comfyui", queue_pending=0, queue_running=1, totals=JobTotals()
)
NVML = SourceState(name="nvml", state="up")


def at(
    now: float,
    *cards: GpuSample,
    server: ServerSample = COMFYUI,
    jobs: tuple[JobRecord, ...] = (),
) -> MachineSnapshot:
    return msgspec.structs.replace(
        of_cards(*(cards or (CARD,)), sources=(NVML,)),
        taken_at=now,
        started_at=START - 3600,
        servers=(server,),
        jobs=jobs,
    )


def calm(now: float) -> MachineSnapshot:
    return at(now)


def of_card(**fields: object) -> Scene:
    return lambda now: at(now, msgspec.structs.replace(CARD, **fields))


def of_server(**fields: object) -> Scene:
    return lambda now: at(now, server=msgspec.structs.replace(COMFYUI, **fields))


def stalled(cause: StallCause) -> Scene:
    return of_server(stall=Stall(cause=cause, since=START, evidence="no step for 190 s"))


def finished(outcome: Outcome, *moments: float, waiting: int = 0) -> Scene:
    """Jobs that end so, at seconds of the scene; the server's totals tell them, too."""
    records = tuple(
        JobRecord(id=str(second), server=COMFYUI.id, outcome=outcome, ended_at=START + second)
        for second in moments
    )

    def scene(now: float) -> MachineSnapshot:
        ended = tuple(record for record in records if record.ended_at <= now)
        totals = JobTotals(finished={outcome: len(ended)})
        server = msgspec.structs.replace(COMFYUI, totals=totals, queue_pending=waiting)
        return at(now, server=server, jobs=ended)

    return scene


def silent(_now: float) -> None:
    return None


def holding(mib: int) -> Scene:
    game = process(4711, "game.exe", mib)
    return lambda now: at(now, card(processes=[game]))


UNSURE = of_card(attribution=Attribution(available_bytes=9 * 2**30, basis="none", lower_bound=True))
OOMS = finished("oom", 61, 70, 75)
WAITING = finished("success", 30, waiting=4)
FREED = finished("success", 30, 1300, waiting=4)

SCENES: dict[str, tuple[Scene, float, Scene, float]] = {
    "MachineDown": (silent, 40, calm, 60),
    "MachineBelowTier": (holding(6000), 90, calm, 60),
    "MachineMayBeBelowTier": (UNSURE, 90, calm, 60),
    "MachineAtRisk": (holding(1400), 90, calm, 60),
    "GenerationJobStalledOnVram": (stalled("vram"), 10, calm, 60),
    "GenerationJobOutOfMemory": (OOMS, 30, OOMS, 960),
    "GenerationSpilledToSystemMemory": (stalled("spill"), 45, calm, 60),
    "GenerationJobHung": (stalled("hang"), 10, calm, 60),
    "GenerationServerDown": (of_server(state="down"), 75, calm, 60),
    "QueueStuck": (of_server(queue_pending=3, queue_running=0), 140, calm, 60),
    "NoThroughput": (WAITING, 1240, FREED, 60),
    "GpuLost": (of_card(state="lost", memory=None, attribution=None), 45, calm, 60),
    "GpuHardwareError": (of_card(xid_errors={79: 1}, xid_last_at={79: START + 61}), 20, calm, 60),
    "GpuOverheating": (
        of_card(throttle_reasons=("sw_thermal_slowdown",), temperature_celsius=88.0),
        320,
        calm,
        60,
    ),
    "GpuThrottled": (of_card(throttle_reasons=("hw_power_brake_slowdown",)), 45, calm, 60),
}
"""Rule to its trouble and how long that lasts, and what comes after it."""


@pytest.mark.parametrize("rule", SCENES)
def test_both_ways_fire_and_resolve_alike(rule: str, tmp_path: Path) -> None:
    trouble, lasting, after, until = SCENES[rule]
    played = BothWays(INVENTORY)
    ticks = [played.play(60, after if after in (OOMS, FREED) else calm)]
    ticks += [played.play(lasting, trouble), played.play(until, after)]
    fired = [[a.rule for a in played.embedded[tick] if a.rule == rule] for tick in ticks]
    assert fired == [[], [rule], []]
    told = played.promtool(tmp_path, ticks, rule)
    assert told.returncode == 0, told.stdout + told.stderr


def test_neither_way_tells_of_a_trouble_that_was_shorter_than_its_bound(tmp_path: Path) -> None:
    """Though Prometheus sees a lack of VRAM on for as long as a relief of it may last."""
    played = BothWays(INVENTORY)
    played.play(60, calm)
    played.play(55, holding(6000))
    ticks = [played.play(5, calm) for _ in range(4)]
    fired = [a for tick in ticks for a in played.embedded[tick] if a.rule == "MachineBelowTier"]
    assert fired == []
    told = played.promtool(tmp_path, ticks, "MachineBelowTier")
    assert told.returncode == 0, told.stdout + told.stderr


def test_a_dashboard_that_falls_behind_is_told_both_ways(tmp_path: Path) -> None:
    played = BothWays(INVENTORY)
    ticks = [played.play(60, calm), played.play(90, calm, polled=False), played.play(60, calm)]
    rule = "DashboardPollingBehind"
    fired = [[a.summary for a in played.embedded[tick] if a.rule == rule] for tick in ticks]
    assert fired == [[], ["The dashboard has not asked one of its machines for 90 s"], []]
    told = played.promtool(tmp_path, ticks, rule)
    assert told.returncode == 0, told.stdout + told.stderr


def test_a_dashboard_that_is_down_takes_no_alert_along(tmp_path: Path) -> None:
    """Prometheus alone: it goes on with the assignments that it was told last."""
    played = BothWays(INVENTORY)
    played.play(60, holding(6000))
    gone = played.play(900, holding(6000), dashboard=False)
    told = played.promtool(tmp_path, [gone], "MachineBelowTier")
    assert told.returncode == 0, told.stdout + told.stderr


def test_prometheus_says_that_the_dashboard_is_down(tmp_path: Path) -> None:
    (tmp_path / "tierwatch.rules.yml").write_text(rules_file(INVENTORY), encoding="utf-8")
    rule = RULES["DashboardDown"]
    annotations = {"summary": rule.summary, "todo": rule.todo}
    down = [{"exp_labels": {"severity": "warning"}, "exp_annotations": annotations}]
    values = " ".join(["1"] * 12 + ["stale"] + ["_"] * 35 + ["1"] * 12)
    told = check(
        tmp_path,
        {
            "interval": "5s",
            "input_series": [{"series": "tierwatch_dashboard_info", "values": values}],
            "alert_rule_test": [
                {"alertname": rule.name, "eval_time": when, "exp_alerts": expected}
                for when, expected in (("55s", []), ("230s", down), ("295s", []))
            ],
        },
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_every_rule_has_its_scene() -> None:
    assert SCENES.keys() | {"DashboardPollingBehind", "DashboardDown"} == RULES.keys()


@pytest.mark.parametrize(
    ("rule", "scene"),
    [
        ("GpuHardwareError", of_card(xid_errors={31: 9, 13: 2}, xid_last_at={31: START + 61})),
        ("GpuThrottled", of_card(throttle_reasons=("idle", "sw_power_cap", "sw_thermal_slowdown"))),
        ("GpuOverheating", of_card(throttle_reasons=("idle", "sw_power_cap"))),
        ("QueueStuck", of_server(queue_pending=3, queue_running=0, paused=True)),
        ("GenerationJobOutOfMemory", finished("oom", 61, 70)),
        ("MachineBelowTier", UNSURE),
        ("MachineBelowTier", holding(1400)),
    ],
)
def test_neither_way_fires_where_all_is_in_order(rule: str, scene: Scene, tmp_path: Path) -> None:
    played = BothWays(INVENTORY)
    tick = played.play(60 + 360, scene)
    assert [a for a in played.embedded[tick] if a.rule == rule] == []
    told = played.promtool(tmp_path, [tick], rule)
    assert told.returncode == 0, told.stdout + told.stderr


BELOW = (card(processes=[process(4711, "game.exe", 6000)]),)
ABLE = card(index="1")


@pytest.mark.parametrize(
    ("assigned", "cards", "fires"),
    [
        (machine(maintenance=True), BELOW, False),
        (machine(tier=None), BELOW, False),
        (machine(tier="light"), BELOW, False),
        (machine(gpus="any"), (*BELOW, ABLE), False),
        (machine(gpus="all"), (*BELOW, ABLE), True),
        (machine(gpus="any"), BELOW, True),
        (machine(tier=None, gpu_tiers={"0": "mass"}), BELOW, True),
        (machine(), (card(11264, 200),), True),
        (machine(tier="production"), (card(11264, 200),), True),
    ],
)
def test_both_ways_judge_by_the_assignment(
    assigned: Machine, cards: tuple[GpuSample, ...], fires: bool, tmp_path: Path
) -> None:
    played = BothWays(Inventory(machines=(assigned,)))
    tick = played.play(120, lambda now: at(now, *cards))
    below = [a.labels for a in played.embedded[tick] if a.rule == "MachineBelowTier"]
    assert bool(below) == fires
    told = played.promtool(tmp_path, [tick], "MachineBelowTier")
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize(
    ("assigned", "cards", "gpu"),
    [
        (machine(gpu_tiers={"1": "light"}), (CARD,), "1"),
        (machine(), (), ""),
        (machine(tier="draft"), (), None),
    ],
)
def test_both_ways_miss_a_gpu_that_is_assigned_and_not_there(
    assigned: Machine, cards: tuple[GpuSample, ...], gpu: str | None, tmp_path: Path
) -> None:
    played = BothWays(Inventory(machines=(assigned,)))
    bare = msgspec.structs.replace(at(START), gpus=())
    tick = played.play(
        120, lambda now: at(now, *cards) if cards else msgspec.structs.replace(bare, taken_at=now)
    )
    lost = [a.labels.get("gpu", "") for a in played.embedded[tick] if a.rule == "GpuLost"]
    assert lost == ([] if gpu is None else [gpu])
    told = played.promtool(tmp_path, [tick], "GpuLost")
    assert told.returncode == 0, told.stdout + told.stderr


def test_a_tier_may_differ_both_ways(tmp_path: Path) -> None:
    for_mass = RuleSettings(severity="critical", for_seconds=120)
    rule = "GenerationJobHung"
    settings = AlertSettings(rules={rule: RuleSettings(tiers={"mass": for_mass})})
    for tier, severity in (("mass", []), ("light", ["critical"])):
        played = BothWays(Inventory(machines=(machine(tier=tier),), alerts=settings))
        tick = played.play(60, stalled("hang"))
        assert [a.severity for a in played.embedded[tick] if a.rule == rule] == severity
        told = played.promtool(tmp_path, [tick], rule)
        assert told.returncode == 0, told.stdout + told.stderr


def test_a_rule_that_is_off_is_not_in_the_file() -> None:
    off = AlertSettings(rules={"MachineAtRisk": RuleSettings(enabled=False)})
    names = [pairs["alert"] for pairs in alerts(Inventory(alerts=off))]
    assert "MachineAtRisk" not in names
    assert "MachineDown" in names


def test_expressions_name_only_families_of_the_catalogue() -> None:
    named = families_in(rules_file(INVENTORY))
    assert len(named) > 20
    assert named <= AGENT.keys() | DASHBOARD.keys()


def test_expressions_read_only_what_is_recorded_before() -> None:
    known: set[str] = set()
    for pairs in (*recordings(), *alerts(INVENTORY)):
        expression = str(pairs["expr"])
        recorded = str(pairs.get("record", ""))
        assert set(re.findall(r"\w+:tierwatch_\w+:\w+", expression)) <= known | {recorded}
        known.add(recorded)


def test_the_deployed_file_is_the_printed_one(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["rules", "--config", str(DEPLOY / "tierwatch.toml")]) == 0
    assert capsysbinary.readouterr().out == (FOLDER / "tierwatch.rules.yml").read_bytes()


@pytest.mark.parametrize(
    "command",
    [
        ["promtool", "check", "config", "prometheus.yml"],
        ["promtool", "check", "rules", "tierwatch.rules.yml"],
        ["amtool", "check-config", "alertmanager.yml"],
    ],
)
def test_the_deployed_configuration_is_valid(command: list[str]) -> None:
    told = subprocess.run(command, cwd=FOLDER, text=True, capture_output=True)
    assert told.returncode == 0, told.stdout + told.stderr


def test_alertmanager_inhibits_what_the_dashboard_inhibits() -> None:
    written = (FOLDER / "alertmanager.yml").read_text(encoding="utf-8")
    inhibitions: list[str] = []
    for inhibition in INHIBITIONS:
        targets = inhibition.targets
        held = f'=~"{"|".join(targets)}"' if targets[1:] else f'="{targets[0]}"' if targets else ""
        held = held or f'!="{inhibition.source}"'
        inhibitions.append(
            f"- source_matchers: ['alertname=\"{inhibition.source}\"']\n"
            f"  target_matchers: ['alertname{held}']\n"
            f"  equal: [{', '.join(inhibition.equal)}]\n"
        )
    assert written.partition("inhibit_rules:\n")[2] == "".join(inhibitions)


def test_inhibitions_name_rules_that_exist() -> None:
    for inhibition in INHIBITIONS:
        assert {inhibition.source, *inhibition.targets} <= RULES.keys()
