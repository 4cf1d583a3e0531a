"""A studio in every trouble there is, judged for real: what Tierwatch has to say, in words."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tests.dashboard.alerting import NOON, World
from tests.dashboard.both_ways import TICK_SECONDS
from tests.dashboard.doubles import InventoryFile
from tests.dashboard.watch import MIB, card, machine, process, snapshot
from tierwatch_agent.snapshot import (
    GpuMemory,
    GpuSample,
    JobRecord,
    MachineSnapshot,
    ServerSample,
    SourceState,
    Stall,
    StallCause,
)
from tierwatch_agent.wording import evidence_of, pace
from tierwatch_agent.words import say
from tierwatch_dashboard.alerts import Finding
from tierwatch_dashboard.alerts.messages import Message, late, test
from tierwatch_dashboard.alerts.rules import RULES, findings
from tierwatch_dashboard.alerts.settings import AlertSettings, RuleSettings
from tierwatch_dashboard.fleet import Reading, SourceHealth
from tierwatch_dashboard.fleet.state import FleetState, MachineView
from tierwatch_dashboard.fleet.understood import understood
from tierwatch_dashboard.inventory import Inventory, Machine

COMFYUI = process(3120, "python main.py", 9000, "comfyui")
GAME = process(4711, "game.exe", 4500)
TRAINING = process(99, "python train.py", 1331)
EVERYTHING = AlertSettings(
    rules={name: RuleSettings(enabled=True, for_seconds=0) for name in RULES},
)
_CAUSES: tuple[StallCause, ...] = ("vram", "oom", "spill", "hang", "unresponsive", "gpu")


def views() -> tuple[MachineView, ...]:
    """Every machine, seventy seconds after its trouble began."""
    return _seen(70.0)


def judgements() -> Iterator[MachineView]:
    """The same, from its first second on: what waits, lasts, and is over again."""
    for seconds in (0.0, 20.0, 70.0):
        yield from _seen(seconds)
    yield from _seen(70.0, well_for=5.0)


def alerts() -> Iterator[Finding]:
    """All that the rules find of it."""
    inventory = Inventory(machines=tuple(_machines()), alerts=EVERYTHING)
    polls = {"a": Reading(machine="a", at=NOON - 90)}
    yield from findings(views(), inventory, NOON, SourceHealth(last=polls))


def messages() -> Iterator[Message]:
    """What receivers are told: of its alerts, again, when they are over, late, and as a test."""
    world = World()
    told = [msgspec.structs.replace(each, severity="critical") for each in alerts()]
    one = told[:1]
    for made in (
        *world.pass_time(5, told),
        *world.pass_time(14_500, told, every=50),
        *world.pass_time(200, one, every=10),
        *world.pass_time(60, told),
        *world.pass_time(200, (), every=10),
        test("ops"),
    ):
        yield made
        yield late(made, NOON)


def _seen(seconds: float, well_for: float = 0.0) -> tuple[MachineView, ...]:
    machines = tuple(_machines())
    file = InventoryFile(current=Inventory(machines=machines, alerts=EVERYTHING))
    now = NOON
    state = FleetState(file, lambda: now)
    told = dict(_told())
    until = NOON + seconds
    while now <= until + well_for:
        for each in machines:
            seen = told.get(each.id)
            if seen is not None and now > until:
                seen = snapshot(card())
            if seen is not None:
                aged = now - (600.0 if each.id == "young" else 0.0)
                seen = msgspec.structs.replace(seen, taken_at=now, started_at=min(aged, NOON))
                seen = understood(seen)
            refused = say("connection refused: is the agent running on {where}?", where="silent")
            error = None if seen else refused
            state.receive(Reading(machine=each.id, at=now, snapshot=seen, error=error))
        now += TICK_SECONDS
    return state.views()


def _machines() -> Iterator[Machine]:
    for id_ in (*dict(_told()), "silent"):
        one = machine("mass")
        if id_ == "missing":
            one = machine("mass", gpu_tiers={"3": "mass"})
        if id_ == "unassigned":
            one = machine(None)
        if id_ == "maintenance":
            one = machine("mass", maintenance=True)
        yield msgspec.structs.replace(one, id=id_, url=f"http://{id_}:9838")


def _told() -> Iterator[tuple[str, MachineSnapshot]]:
    yield "well", snapshot(card())
    for name, gpu in _cards():
        yield name, snapshot(gpu)
    yield "two", snapshot(card(), card(index="1", processes=[GAME]))
    yield "none", snapshot()
    yield "missing", snapshot(card())
    yield "driver", snapshot(sources=(_down("nvml"), _down("host")))
    yield "source", snapshot(card(), sources=(_down("amdgpu"),))
    for cause in _CAUSES:
        yield f"stall-{cause}", _with(ServerSample(id="comfyui-8188", kind="comfyui"), cause)
    yield "script", _with(ServerSample(id="reported", kind="reported"), "hang")
    yield "simulated", _with(ServerSample(id="simulated-1", kind="simulated"), "unresponsive")
    yield "unassigned", _with(ServerSample(id="forge-7860", kind="forge"), "hang")
    yield "maintenance", _with(ServerSample(id="forge-7860", kind="forge"), "vram")
    down = ServerSample(id="a1111-7860", kind="a1111", state="down")
    another = msgspec.structs.replace(down, id="a1111-7861")
    yield "servers", msgspec.structs.replace(snapshot(card()), servers=(down, another))
    waits = ServerSample(id="comfyui-8188", kind="comfyui", queue_pending=4, queue_running=0)
    yield "stuck", msgspec.structs.replace(snapshot(card()), servers=(waits,))
    ended = tuple(
        JobRecord(id=str(n), server="comfyui-8188", outcome="oom", ended_at=NOON) for n in range(4)
    )
    yield "memory", msgspec.structs.replace(_with(waits, None), jobs=ended)


def _cards() -> Iterator[tuple[str, GpuSample]]:
    yield "game", card(processes=[COMFYUI, GAME, TRAINING])
    yield "crowd", card(processes=[process(n, f"p{n}", 900) for n in range(9)])
    yield "unseen", card(processes=[process(1, "Xorg", 300)], used_mib=5300)
    yield "second", card(processes=[COMFYUI, process(7, "python launch.py", 6000, "a1111")])
    wddm = [
        process(1, "dwm.exe"),
        process(2, "blender.exe"),
        process(3, "comfyui", None, "comfyui"),
    ]
    yield "untold", card(processes=wddm, used_mib=6000)
    yield "silent-processes", card(processes=wddm[:2], used_mib=6000)
    yield "small", card(8188)
    yield "reserve", card(16000, 3000)
    yield "tight", card(15300, 380, [process(1, "Xorg", 300)])
    yield "just", card(14686, 380, [process(1, "Xorg", 1)])
    yield "asleep", card(state="asleep")
    yield "asleep-unknown", card(state="asleep", memory=None)
    yield "unknown", card(memory=None)
    yield "lost", card(state="lost", recovery_action="reset")
    yield "unreadable", card(state="unreadable")
    yield (
        "hot",
        card(
            throttle_reasons=(
                "hw_thermal_slowdown",
                "sw_thermal_slowdown",
                "hw_power_brake_slowdown",
            ),
            temperature_celsius=91.0,
            slowdown_celsius=90.0,
        ),
    )
    yield "xid", card(xid_errors={79: 1, 48: 1}, xid_last_at={79: NOON, 48: NOON})
    yield "split", card(partitioned=True)
    shared = GpuMemory(
        total_bytes=65536 * MIB, free_bytes=9000 * MIB, used_bytes=50000 * MIB, unified=True
    )
    yield "unified", card(memory=shared, processes=[GAME])


def _with(server: ServerSample, cause: StallCause | None) -> MachineSnapshot:
    server = msgspec.structs.replace(server, pid=3120, gpus=("GPU-0",))
    if cause is not None:
        evidence = evidence_of(
            (
                say("no {unit} for {time}", unit=say("step"), time=pace(140)),
                say("{free} free of {total}", free="180 MiB", total="16.0 GiB"),
            )
        )
        stall = Stall(cause=cause, since=NOON - 200, evidence=evidence)
        server = msgspec.structs.replace(server, stall=stall)
    return msgspec.structs.replace(snapshot(card(processes=[COMFYUI, GAME])), servers=(server,))


def _down(name: str) -> SourceState:
    return SourceState(name=name, state="down", failures=3)
