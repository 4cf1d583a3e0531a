"""The verdict of machines whose jobs do not move, and of servers that do not answer."""

from __future__ import annotations

import msgspec
import pytest

from tests.dashboard.watch import START, Watch, card, machine, process, snapshot
from tierwatch_agent.snapshot import GpuSample, MachineSnapshot, ServerSample, Stall, StallCause
from tierwatch_dashboard.inventory import Machine

ROOMY = card(processes=[process(3120, "python main.py", 9000, "comfyui")])
GAME = card(
    processes=[
        process(3120, "python main.py", 9000, "comfyui"),
        process(4711, "game.exe", 6144),
    ]
)
EVIDENCE = "no step for 140 s, usually 0.9 s; 180 MiB free of 16.0 GiB"


def server(kind: str = "comfyui", port: int = 8188, **fields: object) -> ServerSample:
    sample = ServerSample(id=f"{kind}-{port}", kind=kind, pid=3120, gpus=("GPU-0",))
    return msgspec.structs.replace(sample, **fields)


def stalls(cause: StallCause, evidence: str = EVIDENCE, **fields: object) -> ServerSample:
    stall = Stall(cause=cause, since=START, evidence=evidence, job="1")
    return msgspec.structs.replace(server(), stall=stall, **fields)


def told(*servers: ServerSample, gpu: GpuSample = ROOMY) -> MachineSnapshot:
    return msgspec.structs.replace(snapshot(gpu), servers=servers)


def test_a_job_that_does_not_move_stalls_its_machine_at_once_and_as_long_as_it_lasts() -> None:
    watch = Watch()
    assert watch.hear(told(server())).state == "ok"
    verdict = watch.hear(told(stalls("vram")))
    assert (verdict.state, verdict.since) == ("stalled", watch.now)
    assert verdict.headline == "ComfyUI's job does not move: no step for 140 s, usually 0.9 s"
    assert verdict.reasons == (
        "180 MiB free of 16.0 GiB.",
        "Its GPU has no VRAM left for it to go on with.",
        "Lower the resolution or the batch, or take a smaller model.",
    )
    assert verdict.can_serve == "mass"
    assert watch.hear(told(server())).state == "ok"


@pytest.mark.parametrize(
    ("cause", "headline", "advice"),
    [
        ("vram", "ComfyUI's job does not move: no step for 140 s", "Lower the resolution"),
        ("oom", "ComfyUI: no step for 140 s", "Lower the resolution"),
        ("spill", "ComfyUI's job crawls: no step for 140 s", "Lower the resolution"),
        ("hang", "ComfyUI's job does not move: no step for 140 s", "restart ComfyUI"),
        (
            "unresponsive",
            "ComfyUI does not answer while its job runs: no step for 140 s",
            "Restart ComfyUI",
        ),
        ("gpu", "ComfyUI's job is held up by its GPU: no step for 140 s", "Look at the GPU"),
    ],
)
def test_each_cause_says_what_happened_and_what_to_do(
    cause: StallCause, headline: str, advice: str
) -> None:
    verdict = Watch().hear(told(stalls(cause, "no step for 140 s")))
    assert verdict.headline == headline
    assert advice in verdict.reasons[-1]


def test_a_game_beside_it_is_named_with_what_ending_it_would_free() -> None:
    verdict = Watch().hear(told(stalls("vram"), gpu=GAME))
    assert verdict.state == "stalled"
    assert "Ending game.exe (pid 4711) would free 6.0 GiB of GPU 0." in verdict.reasons
    assert any("mass needs 14.0 GiB" in reason for reason in verdict.reasons)


def test_what_memory_does_not_cause_ending_a_game_does_not_cure() -> None:
    verdict = Watch().hear(told(stalls("hang"), gpu=GAME))
    assert not any("would free" in reason for reason in verdict.reasons)


def test_a_stall_is_worse_than_below_and_below_is_known_when_it_ends() -> None:
    watch = Watch()
    watch.see_for(70, GAME)
    assert watch.hear(told(stalls("vram"), gpu=GAME)).state == "stalled"
    assert watch.hear(told(server(), gpu=GAME)).state == "below"


def test_a_machine_that_falls_silent_is_down_and_not_stalled() -> None:
    watch = Watch()
    watch.hear(told(stalls("hang")))
    assert watch.miss(5).state == "stalled"
    assert watch.miss(20).state == "down"


def test_the_stall_is_held_over_a_restart_of_the_dashboard() -> None:
    watch = Watch()
    watch.hear(told(stalls("hang")))
    watch.restart()
    assert watch.miss(2).state == "stalled"
    assert watch.hear(told(server())).state == "ok"


@pytest.mark.parametrize(
    ("assigned", "state", "headline"),
    [
        (machine(None), "unassigned", "; ComfyUI's job does not move: no step for 140 s"),
        (
            machine(maintenance=True),
            "maintenance",
            "In maintenance; ComfyUI's job does not move: no step for 140 s",
        ),
    ],
)
def test_a_machine_that_nobody_counts_on_says_the_stall_and_keeps_its_state(
    assigned: Machine, state: str, headline: str
) -> None:
    verdict = Watch(assigned).hear(told(stalls("hang")))
    assert verdict.state == state
    assert headline in verdict.headline


def test_the_job_of_a_script_is_called_so() -> None:
    script = {"id": "reported", "kind": "reported"}
    verdict = Watch().hear(told(stalls("hang", **script)))
    assert verdict.headline.startswith("A reported job does not move: ")
    assert verdict.reasons[-1].endswith("restart the script.")
    verdict = Watch().hear(told(stalls("oom", "a job ran out of memory", **script)))
    assert verdict.headline == "The reported jobs: a job ran out of memory"


def test_two_servers_of_a_kind_are_told_apart_and_the_older_stall_comes_first() -> None:
    young = msgspec.structs.replace(
        stalls("hang", id="comfyui-8189"),
        stall=Stall(cause="hang", since=START + 60, evidence="no step for 40 s"),
    )
    verdict = Watch().hear(told(young, stalls("vram")))
    assert verdict.headline.startswith("ComfyUI 8188's job does not move: no step for 140 s")
    assert "ComfyUI 8189's job does not move: no step for 40 s." in verdict.reasons


def test_a_server_that_does_not_answer_is_a_risk_and_no_stall() -> None:
    watch = Watch()
    verdict = watch.hear(told(server(state="down", reason="it has ended")))
    assert verdict.state == "at_risk"
    assert (
        verdict.headline == "Serves mass, 1.7 GiB to spare; ComfyUI does not answer: it has ended"
    )
    assert verdict.reasons == ("ComfyUI does not answer: it has ended.",)
    assert watch.hear(told(server())).state == "ok"


def test_a_snapshot_of_an_agent_that_knows_no_servers_is_judged_as_before() -> None:
    old = msgspec.structs.replace(snapshot(ROOMY), schema=1)
    assert Watch().hear(old).state == "ok"
