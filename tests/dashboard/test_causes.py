"""What keeps a machine from its tier, in the one word that hours are counted by."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.dashboard.watch import Watch, card, machine, process, snapshot
from tierwatch_agent.snapshot import GpuSample, ServerSample, SourceState, Stall

GAME = process(4711, "game.exe", 6144)
COMFYUI = process(20, "python main.py", 2000, server="comfyui")
FORGE = process(30, "python webui.py", 6000, server="forge")
STALLED = ServerSample(
    id="comfyui-8188",
    kind="comfyui",
    stall=Stall(cause="hang", since=0.0, evidence="no step for 140 s"),
)
SILENT = ServerSample(id="comfyui-8188", kind="comfyui", state="down", reason="it has ended")


def blamed(*gpus: GpuSample, watch: Watch | None = None, seconds: float = 70) -> tuple[Any, ...]:
    verdict = (watch or Watch()).see_for(seconds, *gpus)
    return verdict.state, verdict.cause, verdict.culprit


@pytest.mark.parametrize(
    ("gpu", "state", "cause", "culprit"),
    [
        (card(), "ok", None, None),
        (card(processes=[GAME]), "below", "others", "game.exe"),
        (card(24564, processes=[COMFYUI, FORGE]), "ok", None, None),
        (card(processes=[FORGE, process(31, "python webui.py", 7000, "forge")]), "below",
         "servers", "python webui.py"),
        (card(processes=[FORGE, GAME, process(5, "train.py", 2000)]), "below", "others",
         "game.exe"),
        (card(12282), "below", "card", None),
        (card(state="lost"), "below", "gpu", None),
        (card(throttle_reasons=("sw_thermal_slowdown",)), "at_risk", "heat", None),
        (card(temperature_celsius=91.0, slowdown_celsius=90.0), "at_risk", "heat", None),
        (card(throttle_reasons=("hw_power_brake_slowdown",)), "at_risk", "gpu", None),
        (card(processes=[GAME], throttle_reasons=("hw_thermal_slowdown",)), "below", "others",
         "game.exe"),
        (card(memory=None), "at_risk", "unknown", None),
        (card(processes=[process(1, "chrome.exe", 1400)]), "at_risk", None, None),
    ],
)  # fmt: skip
def test_each_cause(gpu: GpuSample, state: str, cause: str | None, culprit: str | None) -> None:
    assert blamed(gpu) == (state, cause, culprit)


def test_a_cause_is_told_before_it_counts_and_outlasts_a_short_relief() -> None:
    watch = Watch()
    watch.see(card())
    assert blamed(card(processes=[GAME]), watch=watch, seconds=0) == (
        "at_risk",
        "others",
        "game.exe",
    )
    watch.see_for(70, card(processes=[GAME]))
    relieved = watch.see(card())
    assert (relieved.state, relieved.cause, relieved.culprit) == ("below", "others", "game.exe")
    assert blamed(card(), watch=watch, seconds=10) == ("ok", None, None)


def test_heat_that_has_passed_is_no_cause_of_what_is_only_tight() -> None:
    watch = Watch()
    tight = (process(1, "chrome.exe", 1400),)
    hot = card(processes=tight, throttle_reasons=("hw_thermal_slowdown",))
    assert blamed(hot, watch=watch) == ("at_risk", "heat", None)
    assert blamed(card(processes=tight), watch=watch) == ("at_risk", None, None)


def test_a_card_that_is_not_there_and_a_machine_without_one() -> None:
    assert blamed() == ("below", "gpu", None)
    second = Watch(machine(gpu_tiers={"1": "mass"}))
    assert blamed(card(), watch=second) == ("below", "gpu", None)


def test_a_stall_a_silent_server_and_a_silent_source() -> None:
    watch = Watch()
    told = msgspec.structs.replace(snapshot(card()), servers=(STALLED,))
    stalled = watch.hear(told)
    assert (stalled.state, stalled.cause) == ("stalled", "stall")
    silent = Watch().hear(msgspec.structs.replace(told, servers=(SILENT,)))
    assert (silent.state, silent.cause) == ("at_risk", "unknown")
    source = SourceState(name="amdgpu", state="down", reason="no permission")
    lacking = Watch().hear(snapshot(card(), sources=(source,)))
    assert (lacking.state, lacking.cause) == ("at_risk", "unknown")


def test_silence_and_what_was_known_before_it() -> None:
    watch = Watch()
    assert watch.miss(1).cause == "unknown"
    watch.see_for(70, card(processes=[GAME]))
    watch.restart()
    held = watch.miss(1)
    assert (held.state, held.cause, held.culprit) == ("below", "others", "game.exe")
    down = watch.miss(30)
    assert (down.state, down.cause, down.culprit) == ("down", "down", None)


def test_nothing_is_asked_of_a_machine_in_maintenance_or_without_a_tier() -> None:
    game = card(processes=[GAME])
    assert blamed(game, watch=Watch(machine(maintenance=True))) == ("maintenance", None, None)
    assert blamed(game, watch=Watch(machine(None))) == ("unassigned", None, None)
    idle = Watch(machine(None)).hear(msgspec.structs.replace(snapshot(card()), servers=(STALLED,)))
    assert (idle.state, idle.cause) == ("unassigned", None)
