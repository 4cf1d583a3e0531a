"""The verdict of a machine as time passes, from snapshots as agents send them."""

from __future__ import annotations

import msgspec
import pytest

from tests.dashboard.watch import MIB, START, Watch, card, machine, process, snapshot
from tierwatch_agent.snapshot import GpuMemory, GpuSample, SourceState
from tierwatch_agent.tiers import Tier
from tierwatch_agent.words import english
from tierwatch_dashboard.inventory import Inventory, Policy
from tierwatch_dashboard.verdict import Verdict

GAME = card(processes=[process(4711, "game.exe", 6144)])
LOST = card(state="lost", detail="it fell off the bus (Xid 79)")
DRIVER_DOWN = SourceState(
    name="nvml", state="down", reason="the driver and its library do not match", failures=3
)


def test_a_game_turns_the_machine_below_once_it_has_lasted() -> None:
    watch = Watch()
    assert watch.see(card()).state == "ok"
    verdict = watch.see(GAME)
    assert verdict.state == "at_risk"
    assert verdict.headline == (
        "Below mass as of now, counts after 60 s: game.exe holds 6.0 GiB of GPU 0"
    )
    verdict = watch.see_for(50, GAME)
    assert verdict.state == "at_risk"
    assert "Below mass for 55 s, counts after 60 s." in verdict.reasons
    verdict = watch.see(GAME)
    assert verdict.state == "below"
    assert verdict.since == watch.now
    assert verdict.headline == "Cannot serve mass now: game.exe holds 6.0 GiB of GPU 0"
    assert verdict.can_serve == "light"


def test_the_end_of_the_game_counts_after_ten_seconds() -> None:
    watch = Watch()
    watch.see_for(70, GAME)
    verdict = watch.see(card())
    assert (verdict.state, verdict.can_serve) == ("below", "mass")
    verdict = watch.see(card())
    assert verdict.state == "below"
    assert verdict.headline == "Serves mass again for 5 s, counts after 10 s"
    verdict = watch.see(card())
    assert verdict.state == "ok"
    assert verdict.since == watch.now
    assert verdict.headline == "Serves mass, 1.7 GiB to spare"
    assert verdict.reasons == ()


def test_one_good_sample_sets_the_clock_back_neither_before_below_nor_after() -> None:
    watch = Watch()
    watch.see_for(30, GAME)
    watch.see(card())
    assert watch.see_for(15, GAME).state == "at_risk"
    assert watch.see(GAME).state == "below"
    watch.see(card())
    assert watch.see(GAME).state == "below"


def test_a_good_time_sets_the_clock_back() -> None:
    watch = Watch()
    watch.see_for(50, GAME)
    watch.see_for(10, card())
    assert watch.see_for(55, GAME).state == "at_risk"


def test_the_policy_says_how_long() -> None:
    watch = Watch(inventory=Inventory(policy=Policy(below_for_seconds=5, clear_for_seconds=0)))
    watch.see(GAME)
    assert watch.see(GAME).state == "below"
    assert watch.see(card()).state == "ok"


def test_never_is_below_at_once() -> None:
    verdict = Watch().see(card(12282))
    assert verdict.state == "below"
    assert verdict.headline == (
        "GPU 0 can never serve mass: it has 12.0 GiB, and mass is for 16 GB cards"
    )
    assert verdict.can_serve == verdict.could_serve == "production"


def test_a_reserve_that_leaves_too_little_is_never_as_well() -> None:
    whole = Inventory(tiers=(Tier(name="whole", vram_gb=16, purpose="", allowance_gb=0),))
    verdict = Watch(machine("whole"), whole).see(card(15360, 450))
    assert verdict.state == "below"
    assert verdict.headline == (
        "GPU 0 can never serve whole: of its 15.0 GiB the driver keeps 0.4 GiB, and whole needs "
        "14.9 GiB"
    )
    assert verdict.can_serve is None


def test_another_assignment_starts_the_clock_anew() -> None:
    watch = Watch()
    watch.see_for(70, GAME)
    watch.machine = machine("production")
    verdict = watch.see(GAME)
    assert verdict.state == "at_risk"
    watch.machine = machine("light")
    assert watch.see(GAME).state == "ok"


def test_who_holds_the_memory_and_what_would_help_is_said() -> None:
    processes = [process(4711, "game.exe", 4500), process(99, "python train.py", 1331)]
    verdict = Watch().see_for(70, card(processes=processes))
    assert verdict.reasons == (
        "GPU 0 has 9.9 GiB available, mass needs 14.0 GiB: 4.4 GiB held by game.exe (pid 4711), "
        "1.3 GiB by python train.py (pid 99).",
        "Ending game.exe (pid 4711) would let it serve mass.",
        "GPU 0 can still serve light.",
    )


def test_memory_of_processes_out_of_sight_is_said() -> None:
    verdict = Watch().see_for(90, card(processes=[process(1, "Xorg", 300)], used_mib=5300))
    assert verdict.state == "at_risk"
    assert verdict.reasons[1] == (
        "0.3 GiB held by Xorg (pid 1), 4.9 GiB by processes that the agent cannot see."
    )


def test_under_wddm_without_a_generation_server_the_figure_is_exact() -> None:
    silent = [process(8, "dwm.exe"), process(4711, "game.exe")]
    verdict = Watch().see_for(70, card(processes=silent, used_mib=6800, driver_model="wddm"))
    assert verdict.state == "below"
    assert verdict.reasons[0] == (
        "GPU 0 has 9.0 GiB available, mass needs 14.0 GiB: 6.6 GiB held by game.exe (pid 4711) "
        "and dwm.exe (pid 8) together."
    )


def test_under_wddm_with_a_generation_server_the_figure_is_said_to_be_a_lower_bound() -> None:
    silent = [process(8, "dwm.exe"), process(4711, "game.exe")]
    silent.append(process(12, "python main.py", None, "comfyui"))
    verdict = Watch().see_for(300, card(processes=silent, used_mib=6800, driver_model="wddm"))
    assert verdict.state == "at_risk"
    assert verdict.gpus[0].lower_bound
    assert verdict.headline == (
        "Perhaps below mass: GPU 0 has at least 9.0 GiB available, mass needs 14.0 GiB"
    )
    assert verdict.reasons == (
        "GPU 0 has at least 9.0 GiB available, mass needs 14.0 GiB; this is a lower bound: Windows "
        "does not tell how much python main.py (pid 12) holds.",
        "Also on it, without a figure: game.exe (pid 4711) and dwm.exe (pid 8).",
    )


def test_a_lower_bound_above_the_floor_is_ok() -> None:
    comfy = process(12, "python main.py", None, "comfyui")
    verdict = Watch().see(card(processes=[comfy], used_mib=900, driver_model="wddm"))
    assert (verdict.state, verdict.headline) == ("ok", "Serves mass, at least 0.8 GiB to spare")


def test_less_than_the_margin_is_at_risk_and_holds_for_a_while() -> None:
    watch = Watch()
    tight = card(processes=[process(4, "firefox", 1500)])
    verdict = watch.see(tight)
    assert verdict.state == "at_risk"
    assert verdict.headline == "Serves mass, only 0.2 GiB to spare"
    assert verdict.reasons == (
        "GPU 0 is only 0.2 GiB above the floor of mass (14.0 GiB): "
        "1.5 GiB held by firefox (pid 4).",
    )
    assert watch.see(card()).state == "at_risk"
    assert watch.see_for(10, card()).state == "ok"


def test_what_falls_short_by_less_than_a_tenth_is_not_said_with_equal_figures() -> None:
    verdict = Watch().see(card(processes=[process(4, "firefox", 1696)]))
    assert verdict.reasons[0] == (
        "GPU 0 has just under the 14.0 GiB available that mass needs: 1.7 GiB held by firefox "
        "(pid 4)."
    )


@pytest.mark.parametrize("reason", ["hw_thermal_slowdown", "sw_thermal_slowdown"])
def test_heat_is_at_risk(reason: str) -> None:
    verdict = Watch().see(card(throttle_reasons=("gpu_idle", reason)))
    assert verdict.state == "at_risk"
    assert verdict.headline == (
        "Serves mass, 1.7 GiB to spare; GPU 0 cannot run at full speed: heat slows it down"
    )


def test_an_idle_or_capped_gpu_is_no_trouble() -> None:
    reasons = ("gpu_idle", "sw_power_cap", "applications_clocks_setting")
    assert Watch().see(card(throttle_reasons=reasons)).state == "ok"


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        (
            card(throttle_reasons=("hw_power_brake_slowdown",)),
            "GPU 0 cannot run at full speed: its power supply holds it back.",
        ),
        (
            card(recovery_action="reset"),
            "GPU 0 is in error, and its driver asks for a remedy: reset.",
        ),
        (
            card(temperature_celsius=92.0, slowdown_celsius=92.0),
            "GPU 0 is at 92 °C, and from 92 °C on its driver slows it down.",
        ),
    ],
)
def test_a_gpu_in_trouble_is_at_risk(gpu: GpuSample, words: str) -> None:
    verdict = Watch().see(gpu)
    assert (verdict.state, verdict.reasons) == ("at_risk", (words,))


def test_a_lost_gpu_is_below_once_it_has_lasted() -> None:
    watch = Watch()
    watch.see(card())
    assert watch.see(LOST).state == "at_risk"
    verdict = watch.see_for(60, LOST)
    assert verdict.state == "below"
    assert (verdict.can_serve, verdict.could_serve) == ("draft", "mass")
    assert verdict.headline == "Cannot serve mass now: GPU 0 is lost: it fell off the bus (Xid 79)"
    assert verdict.gpus[0].available_bytes is None


def test_a_lost_gpu_of_a_draft_machine_is_at_risk() -> None:
    verdict = Watch(machine("draft")).see_for(90, LOST)
    assert verdict.state == "at_risk"
    assert verdict.headline == "Serves draft; GPU 0 is lost: it fell off the bus (Xid 79)"


def test_a_driver_that_is_down_is_said_and_comes_back() -> None:
    watch = Watch()
    unreadable = card(state="unreadable", detail=DRIVER_DOWN.reason)
    verdict = watch.hear(snapshot(unreadable, sources=(DRIVER_DOWN,)))
    assert verdict.state == "at_risk"
    assert verdict.reasons[0] == "GPU 0 cannot be read: the driver and its library do not match."
    assert sum("do not match" in reason for reason in verdict.reasons) == 1
    assert watch.see_for(10, card()).state == "ok"


def test_a_driver_that_was_never_up_is_said_in_place_of_its_gpus() -> None:
    watch = Watch()
    told = snapshot(sources=(DRIVER_DOWN,))
    assert watch.hear(told).state == "at_risk"
    for _ in range(11):
        watch.hear(told)
    verdict = watch.hear(told)
    assert verdict.state == "below"
    assert verdict.headline == (
        "Cannot serve mass now: no GPU answers: nvml: the driver and its library do not match"
    )
    assert Watch(machine("draft")).hear(told).state == "at_risk"


def test_a_source_that_is_down_beside_healthy_gpus_is_at_risk() -> None:
    host = SourceState(name="host", state="down", reason="permission denied", failures=1)
    verdict = Watch().hear(snapshot(card(), sources=(host,)))
    assert verdict.state == "at_risk"
    assert verdict.reasons == ("The agent lacks a source: host: permission denied.",)


def test_a_machine_without_a_gpu_serves_draft() -> None:
    verdict = Watch(machine("draft")).see()
    assert (verdict.state, verdict.headline) == ("ok", "Serves draft")
    assert verdict.reasons == verdict.gpus == ()


def test_a_machine_without_a_gpu_that_should_have_one_is_below() -> None:
    verdict = Watch().see_for(60)
    assert verdict.state == "below"
    assert verdict.headline == "Cannot serve mass now: the machine has no GPU"


def test_a_sleeping_gpu_is_judged_by_its_class() -> None:
    asleep = card(state="asleep", processes=[process(1, "game.exe", 6144)])
    verdict = Watch().see(asleep)
    assert (verdict.state, verdict.can_serve) == ("ok", "mass")
    assert verdict.reasons == (
        "GPU 0 is asleep and left so: it is judged by its 16.0 GiB, with nothing on it.",
    )
    unknown = msgspec.structs.replace(asleep, memory=None, attribution=None)
    verdict = Watch().see(unknown)
    assert (verdict.state, verdict.could_serve) == ("at_risk", None)
    assert verdict.headline == (
        "GPU 0 is asleep and left so: its memory is not known until it wakes"
    )


def test_a_gpu_that_tells_no_memory_is_at_risk() -> None:
    silent = msgspec.structs.replace(card(), memory=None, attribution=None)
    verdict = Watch().see_for(90, silent)
    assert verdict.state == "at_risk"
    assert verdict.headline == "GPU 0 does not tell its memory: what it can serve is not known"


def test_unified_memory_is_said_to_be_shared() -> None:
    memory = GpuMemory(
        total_bytes=30000 * MIB, free_bytes=9000 * MIB, used_bytes=21000 * MIB, unified=True
    )
    verdict = Watch().see(card(memory=memory))
    assert verdict.reasons[0] == (
        "GPU 0 can have 8.8 GiB of the memory it shares with the system, mass needs 14.0 GiB."
    )


def test_an_integrated_gpu_beside_a_card_is_judged_only_by_a_tier_of_its_own() -> None:
    memory = GpuMemory(
        total_bytes=2048 * MIB, free_bytes=1024 * MIB, used_bytes=1024 * MIB, unified=True
    )
    integrated = card(index="amdgpu-0", memory=memory)
    verdict = Watch().see(card(), integrated)
    assert verdict.state == "ok"
    assert [gpu.state for gpu in verdict.gpus] == ["ok", "unassigned"]
    own = machine(gpu_tiers={"amdgpu-0": "light"})
    assert Watch(own).see(card(), integrated).state == "below"


def test_the_worst_gpu_decides_and_memory_is_not_added_up() -> None:
    small = card(8188, index="1")
    verdict = Watch().see(card(), small)
    assert verdict.state == "below"
    assert verdict.headline.startswith("GPU 1 can never serve mass")
    assert (verdict.can_serve, verdict.could_serve) == ("mass", "mass")
    two = Watch(machine("production")).see(small, card(8188))
    assert (two.state, two.can_serve) == ("below", "light")


def test_each_gpu_has_its_own_assignment_or_the_machine_s() -> None:
    watch = Watch(machine("mass", gpu_tiers={"1": "light"}))
    verdict = watch.see(card(), card(8188, index="1"))
    assert verdict.state == "ok"
    assert [(gpu.gpu, gpu.tier) for gpu in verdict.gpus] == [("0", "mass"), ("1", "light")]


def test_any_gpu_that_serves_the_tier_suffices() -> None:
    watch = Watch(machine(gpus="any"))
    small = card(8188, index="1")
    verdict = watch.see(card(), small)
    assert (verdict.state, verdict.headline) == ("ok", "Serves mass, 1.7 GiB to spare")
    assert watch.see_for(70, GAME, small).state == "below"


def test_a_gpu_with_its_own_tier_is_bound_to_it_where_any_suffices_for_the_rest() -> None:
    watch = Watch(machine(gpus="any", gpu_tiers={"1": "production"}))
    assert watch.see(card(), card(8188, index="1"), card(8188, index="2")).state == "below"


def test_an_assigned_gpu_that_is_not_there_is_said() -> None:
    verdict = Watch(machine(gpu_tiers={"2": "light"})).see_for(70, card(), card(index="1"))
    assert verdict.state == "below"
    assert verdict.headline == (
        "Cannot serve light now: GPU 2 is not there: the machine has GPU 0 and GPU 1"
    )
    assert [(gpu.gpu, gpu.state) for gpu in verdict.gpus][-1] == ("2", "below")


def test_instances_of_a_split_card_are_judged_and_the_card_is_not() -> None:
    whole = card(81920, 600, partitioned=True)
    half = card(40000, 20, index="0:0", parent_uuid="GPU-0")
    tenth = card(9800, 20, index="0:1", parent_uuid="GPU-0")
    verdict = Watch(machine(None, gpu_tiers={"0": "mass", "0:1": "light"})).see(whole, half, tenth)
    assert verdict.state == "ok"
    assert [(gpu.gpu, gpu.tier) for gpu in verdict.gpus] == [("0:0", "mass"), ("0:1", "light")]
    verdict = Watch().see(whole)
    assert verdict.reasons[0] == (
        "GPU 0 is split into MIG instances, and none of them can be read."
    )


def test_an_unassigned_machine_is_shown_with_what_it_can_serve() -> None:
    verdict = Watch(machine(None)).see(GAME)
    assert (verdict.state, verdict.tier) == ("unassigned", None)
    assert (verdict.can_serve, verdict.could_serve) == ("light", "mass")
    assert verdict.headline == "Not assigned to a tier; can serve light now"


def test_a_machine_in_maintenance_is_beside_the_scale() -> None:
    watch = Watch(machine(maintenance=True))
    verdict = watch.see_for(70, GAME)
    assert verdict.state == "maintenance"
    assert verdict.headline == (
        "In maintenance; cannot serve mass now: game.exe holds 6.0 GiB of GPU 0"
    )
    assert watch.miss(60).state == "maintenance"
    watch.machine = machine()
    assert watch.see(GAME).state == "below"


def test_a_machine_that_falls_silent_is_said_to_be_stale_and_then_is_down() -> None:
    watch = Watch()
    watch.see(card())
    assert watch.miss(14).reasons == ()
    verdict = watch.miss(3)
    assert verdict.state == "ok"
    assert verdict.reasons == ("Last heard 17 s ago: connection refused.",)
    verdict = watch.miss(3)
    assert verdict.state == "down"
    assert verdict.since == watch.now
    verdict = watch.miss(22)
    assert verdict.headline == "Not heard for 42 s: connection refused"
    assert (verdict.can_serve, verdict.could_serve) == (None, "mass")
    assert [(gpu.state, gpu.available_bytes) for gpu in verdict.gpus] == [("down", None)]
    assert watch.miss(200).headline == "Not heard for 4 min: connection refused"
    assert watch.see(card()).state == "ok"


def test_a_machine_that_was_never_heard_gets_its_time() -> None:
    watch = Watch()
    verdict = watch.miss(20)
    assert verdict.state == "at_risk"
    assert verdict.headline == "Not heard yet since the dashboard started: connection refused"
    verdict = watch.miss(1)
    assert (verdict.state, verdict.headline) == ("down", "Never heard: connection refused")


def test_trouble_that_counted_outlasts_a_silence_and_trouble_that_did_not_starts_anew() -> None:
    below = Watch()
    below.see_for(60, GAME)
    assert below.miss(300).state == "down"
    assert below.see(GAME).state == "below"
    counting = Watch()
    counting.see_for(30, GAME)
    assert counting.miss(300).state == "down"
    assert counting.see_for(55, GAME).state == "at_risk"


def test_a_restarted_dashboard_goes_on_where_it_was() -> None:
    watch = Watch()
    began = watch.see_for(70, GAME)
    watch.restart()
    verdict = watch.miss(2, None)
    assert verdict.state == "below"
    assert verdict.headline == "Not heard yet since the dashboard started"
    verdict = watch.see(GAME)
    assert (verdict.state, verdict.since) == ("below", began.since)


def test_a_clock_goes_on_through_a_short_restart_and_starts_anew_after_a_long_one() -> None:
    short, long = Watch(), Watch()
    for watch in (short, long):
        watch.see_for(50, GAME)
    short.restart(after=6)
    assert short.see(GAME).state == "below"
    long.restart(after=600)
    assert long.see_for(55, GAME).state == "at_risk"


def test_a_dashboard_that_was_stopped_for_hours_calls_nobody_down_before_it_has_asked() -> None:
    watch = Watch()
    watch.see(card())
    watch.restart(after=7200)
    assert watch.miss(20).state == "ok"
    verdict = watch.miss(1)
    assert (verdict.state, verdict.headline) == ("down", "Not heard for 2 h: connection refused")


def test_a_suspended_dashboard_calls_nobody_down_before_it_has_asked() -> None:
    watch = Watch()
    watch.see(card())
    watch.now += 7200
    assert watch.miss(15).state == "ok"
    assert watch.miss(10).state == "down"


def test_a_machine_that_was_down_stays_so_through_a_restart() -> None:
    watch = Watch()
    watch.see(card())
    down = watch.miss(60)
    watch.restart()
    verdict = watch.miss(1)
    assert (verdict.state, verdict.since) == ("down", down.since)


def test_an_agent_that_has_just_started_gets_time_for_its_first_figures() -> None:
    young = msgspec.structs.replace(
        snapshot(sources=(SourceState(name="nvml", state="down", reason="has not answered yet"),)),
        started_at=START - 1,
    )
    watch = Watch()
    watch.see(card())
    verdict = watch.hear(young)
    assert verdict.state == "ok"
    assert verdict.headline == "Its agent has just started: no figures yet"
    watch.see_for(60, GAME)
    assert watch.hear(young).state == "below"


def test_every_state_of_a_verdict_and_its_gpus_is_serialisable() -> None:
    verdict = Watch().see(GAME, card(8188, index="1"))
    document = msgspec.json.encode(verdict, enc_hook=english)
    assert msgspec.json.decode(document, type=Verdict) == verdict
