"""The scenario that alerts are held to, as data: what befalls which machine when, and who is told.

Each story has a machine of its own. Its agent is played: what it shows is made anew for each asker,
``/metrics`` by the agent's own exposition and ``/api/v1/snapshot`` by its own encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from msgspec.structs import replace

from tests.fakes import agents
from tierwatch_agent.snapshot import (
    Attribution,
    GpuMemory,
    GpuSample,
    JobRecord,
    JobTotals,
    MachineSnapshot,
    ServerSample,
    Stall,
    StallCause,
)

GIB = 2**30

Change = Callable[[MachineSnapshot, float], MachineSnapshot]
"""A healthy snapshot, and since when in Unix seconds, to what the machine shows from then on."""

SERVER = ServerSample(id="comfyui-8188", kind="comfyui", queue_pending=0, queue_running=0)

SETTINGS = """\
[policy]
below_for = "6s"
clear_for = "6s"
stale_after = "5s"
down_after = "8s"

[alerts]
group_wait = "1s"

[alerts.rule]
MachineAtRisk.for = "3s"
MachineMayBeBelowTier.for = "3s"
MachineBelowTier.tier.light.severity = "critical"
GenerationSpilledToSystemMemory.for = "3s"
GenerationServerDown.for = "3s"
GenerationJobOutOfMemory = { threshold = 2, window = "1m" }
QueueStuck.for = "3s"
NoThroughput = { for = "3s", window = "1m" }
GpuLost.for = "3s"
GpuHardwareError.window = "1m"
GpuOverheating.for = "3s"
GpuThrottled = { for = "3s", tier.light.enabled = false }
"""
"""Every rule, only sooner."""


class Told(NamedTuple):
    """One alert as somebody is told of it."""

    rule: str
    severity: str
    labels: str
    """"gpu=0 machine=short tier=mass": every label but those two, by name."""
    summary: str

    @property
    def receiver(self) -> str:
        """Who is to hear of it."""
        return "archive" if self.severity == "info" else "studio"


@dataclass(frozen=True, kw_only=True)
class Story:
    """One machine's part in the scenario."""

    machine: str
    steps: tuple[tuple[float, Change | None], ...]
    """At which second it begins to show what; None: it does not answer."""
    told: tuple[Told, ...] = ()
    """In no order; empty: nobody must hear of it."""
    tier: str | None = "mass"
    assigned: str = ""
    """More of the inventory's lines."""
    cards: int = 1


def healthy(story: Story, now: float) -> MachineSnapshot:
    """What its machine shows where nothing is wrong."""
    gpus = tuple(agents.gpu(index) for index in range(story.cards))
    shown = agents.snapshot(story.machine, taken_at=now, gpus=gpus)
    return replace(shown, servers=(SERVER,))


def inventory(story: Story, url: str) -> str:
    """Its machine in ``tierwatch.toml``."""
    lines = ["[[machine]]", f'id = "{story.machine}"', f'url = "{url}"']
    if story.tier:
        lines.append(f'tier = "{story.tier}"')
    return "\n".join([*lines, story.assigned, ""])


def well(snapshot: MachineSnapshot, _since: float) -> MachineSnapshot:
    return snapshot


def stands_still(snapshot: MachineSnapshot, since: float) -> MachineSnapshot:
    return replace(snapshot, taken_at=since)


def _gpu(*which: int, **fields: Any) -> Change:
    """Those of its cards, the first unless told, are otherwise."""

    def change(snapshot: MachineSnapshot, _since: float) -> MachineSnapshot:
        gpus = enumerate(snapshot.gpus)
        return replace(
            snapshot,
            gpus=tuple(replace(g, **fields) if n in (which or (0,)) else g for n, g in gpus),
        )

    return change


def _gpus(*gpus: GpuSample) -> Change:
    return lambda snapshot, _since: replace(snapshot, gpus=gpus)


def _available(gib: float, *, lower_bound: bool = False) -> dict[str, Attribution]:
    basis = "none" if lower_bound else "process"
    amount = round(gib * GIB)
    return {
        "attribution": Attribution(
            available_bytes=amount, basis=basis, lower_bound=lower_bound, others_bytes=0
        )
    }


def _xid(number: int, seconds_ago: float) -> Change:
    def change(snapshot: MachineSnapshot, since: float) -> MachineSnapshot:
        gpu = replace(
            snapshot.gpus[0], xid_errors={number: 1}, xid_last_at={number: since - seconds_ago}
        )
        return replace(snapshot, gpus=(gpu,))

    return change


def _server(**fields: Any) -> Change:
    return lambda snapshot, _since: replace(snapshot, servers=(replace(SERVER, **fields),))


def _stall(cause: StallCause, waiting: int = 0) -> Change:
    def change(snapshot: MachineSnapshot, since: float) -> MachineSnapshot:
        stall = Stall(cause=cause, since=since, evidence="no step for 41 s")
        server = replace(SERVER, queue_running=1, queue_pending=waiting, stall=stall)
        return replace(snapshot, servers=(server,))

    return change


def _out_of_memory(times: int) -> Change:
    def change(snapshot: MachineSnapshot, since: float) -> MachineSnapshot:
        records = tuple(
            JobRecord(id=f"job-{n}", server=SERVER.id, outcome="oom", ended_at=since)
            for n in range(times)
        )
        server = replace(SERVER, totals=JobTotals(finished={"oom": times}))
        return replace(snapshot, servers=(server,), jobs=records)

    return change


SMALL_CARD = replace(
    agents.gpu(),
    uuid="GPU-small",
    memory=GpuMemory(total_bytes=8 * GIB, free_bytes=7 * GIB, used_bytes=GIB),
    **_available(7),
)
LOST: dict[str, Any] = {
    "state": "lost",
    "detail": "it fell off the bus",
    "memory": None,
    "attribution": None,
}

STORIES = (
    # --- Machines -------------------------------------------------------------------------------
    Story(
        machine="short",
        steps=((2, _gpu(**_available(12))), (26, well)),
        told=(
            Told(
                "MachineBelowTier",
                "warning",
                "gpu=0 machine=short tier=mass",
                "short cannot serve mass: GPU 0 lacks 2.0 GiB",
            ),
        ),
    ),
    Story(
        machine="short-by-its-own-tier",
        assigned='gpu_tiers = { "1" = "light" }',
        cards=2,
        steps=((3, _gpu(1, **_available(4))), (27, well)),
        told=(
            Told(
                "MachineBelowTier",
                "critical",
                "gpu=1 machine=short-by-its-own-tier tier=light",
                "short-by-its-own-tier cannot serve light: GPU 1 lacks 0.7 GiB",
            ),
        ),
    ),
    Story(
        machine="small-card",
        steps=((2, _gpus(SMALL_CARD)), (28, well)),
        told=(
            Told(
                "MachineBelowTier",
                "warning",
                "gpu=0 machine=small-card tier=mass",
                "small-card cannot serve mass: GPU 0 lacks 7.0 GiB",
            ),
        ),
    ),
    Story(
        machine="both-short",
        assigned='gpus = "any"',
        cards=2,
        steps=((3, _gpu(0, 1, **_available(13))), (28, well)),
        told=tuple(
            Told(
                "MachineBelowTier",
                "warning",
                f"gpu={gpu} machine=both-short tier=mass",
                f"both-short cannot serve mass: GPU {gpu} lacks 1.0 GiB",
            )
            for gpu in (0, 1)
        ),
    ),
    Story(
        machine="one-suffices",
        assigned='gpus = "any"',
        cards=2,
        steps=((2, _gpu(**_available(12))), (28, well)),
    ),
    Story(machine="swaps-a-model", steps=((10, _gpu(**_available(2))), (12, well))),
    Story(
        machine="may-be-short",
        steps=((2, _gpu(**_available(11, lower_bound=True))), (22, well)),
        told=(
            Told(
                "MachineMayBeBelowTier",
                "info",
                "gpu=0 machine=may-be-short tier=mass",
                "may-be-short may be unable to serve mass: GPU 0 lacks up to 3.0 GiB",
            ),
        ),
    ),
    Story(
        machine="tight",
        steps=((2, _gpu(**_available(14.2))), (20, well)),
        told=(
            Told(
                "MachineAtRisk",
                "info",
                "gpu=0 machine=tight tier=mass",
                "tight only just serves mass: GPU 0 has 0.2 GiB to spare",
            ),
        ),
    ),
    Story(
        machine="away",
        steps=((4, None), (34, well)),
        told=(
            Told(
                "MachineDown",
                "critical",
                "machine=away tier=mass",
                "away (mass) does not answer",
            ),
        ),
    ),
    Story(
        machine="frozen",
        tier="production",
        steps=((2, stands_still), (34, well)),
        told=(
            Told(
                "MachineDown",
                "critical",
                "machine=frozen tier=production",
                "frozen (production) does not answer",
            ),
        ),
    ),
    Story(machine="nobody-counts-on-it", tier=None, steps=((4, None), (34, well))),
    Story(
        machine="in-maintenance",
        assigned="maintenance = true",
        steps=((2, _gpu(**LOST)), (16, _stall("vram")), (30, None), (46, well)),
    ),
    # --- Jobs -----------------------------------------------------------------------------------
    Story(
        machine="stalled",
        # Its queue waits as well, of which nobody must hear beside the stall.
        steps=((5, _stall("vram", waiting=2)), (22, _stall("vram")), (28, well)),
        told=(
            Told(
                "GenerationJobStalledOnVram",
                "critical",
                "machine=stalled server=comfyui-8188 tier=mass",
                "A job on stalled (mass) does not move: no VRAM is left for comfyui-8188",
            ),
        ),
    ),
    Story(
        machine="out-of-memory",
        tier="production",
        steps=((0, _out_of_memory(2)),),
        told=(
            Told(
                "GenerationJobOutOfMemory",
                "warning",
                "machine=out-of-memory server=comfyui-8188 tier=production",
                "comfyui-8188 on out-of-memory (production) ran out of VRAM 2 times in 1 min",
            ),
        ),
    ),
    Story(machine="out-of-memory-once", steps=((0, _out_of_memory(1)),)),
    Story(
        machine="spilled",
        steps=((3, _stall("spill")), (20, well)),
        told=(
            Told(
                "GenerationSpilledToSystemMemory",
                "warning",
                "machine=spilled server=comfyui-8188 tier=mass",
                "A job on spilled (mass) crawls: comfyui-8188 overflows into the system's RAM",
            ),
        ),
    ),
    Story(
        machine="hung",
        tier=None,
        steps=((4, _stall("hang")), (20, well)),
        told=(
            Told(
                "GenerationJobHung",
                "critical",
                "machine=hung server=comfyui-8188",
                "A job on hung does not move, and comfyui-8188 is not short of VRAM",
            ),
        ),
    ),
    Story(
        machine="server-down",
        tier="light",
        steps=((4, _server(state="down", reason="connection refused")), (24, well)),
        told=(
            Told(
                "GenerationServerDown",
                "warning",
                "machine=server-down server=comfyui-8188 tier=light",
                "comfyui-8188 on server-down (light) does not answer",
            ),
        ),
    ),
    Story(
        machine="server-silent",
        steps=((4, _stall("unresponsive")), (24, well)),
        told=(
            Told(
                "GenerationServerDown",
                "warning",
                "machine=server-silent server=comfyui-8188 tier=mass",
                "comfyui-8188 on server-silent (mass) does not answer",
            ),
        ),
    ),
    Story(machine="server-of-nobody", tier=None, steps=((4, _server(state="down")), (24, well))),
    Story(
        machine="queue-stuck",
        steps=((6, _server(queue_pending=3)), (26, well)),
        told=(
            Told(
                "QueueStuck",
                "warning",
                "machine=queue-stuck server=comfyui-8188 tier=mass",
                "comfyui-8188 on queue-stuck (mass) runs no job while jobs wait (3)",
            ),
            Told(
                "NoThroughput",
                "warning",
                "machine=queue-stuck tier=mass",
                "queue-stuck (mass) finished no job in 1 min while jobs wait (3)",
            ),
        ),
    ),
    Story(machine="queue-held", steps=((6, _server(queue_pending=3, paused=True)), (26, well))),
    # --- GPUs -----------------------------------------------------------------------------------
    Story(
        machine="gpu-lost",
        steps=((4, _gpu(**LOST)), (24, well)),
        told=(
            Told(
                "GpuLost",
                "critical",
                "gpu=0 machine=gpu-lost tier=mass",
                "gpu-lost (mass) is without GPU 0: it does not answer or is not there",
            ),
        ),
    ),
    Story(
        machine="gpu-gone",
        steps=((4, _gpus()), (24, well)),
        told=(
            Told(
                "GpuLost",
                "critical",
                "machine=gpu-gone tier=mass",
                "gpu-gone (mass) is without a GPU: it does not answer or is not there",
            ),
        ),
    ),
    Story(
        machine="second-gpu-gone",
        assigned='gpu_tiers = { "1" = "light" }',
        cards=2,
        steps=((4, _gpus(agents.gpu())), (24, well)),
        told=(
            Told(
                "GpuLost",
                "critical",
                "gpu=1 machine=second-gpu-gone tier=mass",
                "second-gpu-gone (mass) is without GPU 1: it does not answer or is not there",
            ),
        ),
    ),
    Story(
        machine="xid-of-the-card",
        steps=((8, _xid(48, seconds_ago=40)),),
        told=(
            Told(
                "GpuHardwareError",
                "critical",
                "gpu=0 machine=xid-of-the-card tier=mass",
                "GPU 0 of xid-of-the-card (mass) reported an error of its hardware (Xid)",
            ),
        ),
    ),
    Story(machine="xid-of-a-program", steps=((8, _xid(31, seconds_ago=1)),)),
    Story(
        machine="hot",
        steps=((5, _gpu(temperature_celsius=91.0, slowdown_celsius=90.0)), (22, well)),
        told=(
            Told(
                "GpuOverheating",
                "warning",
                "gpu=0 machine=hot tier=mass",
                "GPU 0 of hot (mass) is slowed down by heat, at 91 °C",
            ),
        ),
    ),
    Story(
        machine="held-back",
        steps=((5, _gpu(throttle_reasons=("hw_power_brake_slowdown",))), (22, well)),
        told=(
            Told(
                "GpuThrottled",
                "warning",
                "gpu=0 machine=held-back tier=mass",
                "GPU 0 of held-back (mass) is held back by its hardware: heat or power",
            ),
        ),
    ),
    Story(
        machine="held-back-and-light",
        tier="light",
        steps=((5, _gpu(throttle_reasons=("hw_power_brake_slowdown",))), (22, well)),
    ),
    Story(machine="power-cap", steps=((5, _gpu(throttle_reasons=("sw_power_cap",))), (22, well))),
    # --- What gets worse ------------------------------------------------------------------------
    Story(
        machine="hung-then-away",
        steps=((3, _stall("hang")), (14, None), (45, well)),
        told=(
            Told(
                "GenerationJobHung",
                "critical",
                "machine=hung-then-away server=comfyui-8188 tier=mass",
                "A job on hung-then-away (mass) does not move, and comfyui-8188 is not short of "
                "VRAM",
            ),
            Told(
                "MachineDown",
                "critical",
                "machine=hung-then-away tier=mass",
                "hung-then-away (mass) does not answer",
            ),
        ),
    ),
)
