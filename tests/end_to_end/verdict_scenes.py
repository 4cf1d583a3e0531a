"""Machines in every state that a verdict knows, as data: what each shows, and what it is for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, get_args

from msgspec.structs import replace

from tests.fakes.agents import GIB, gpu, snapshot
from tierwatch_agent.snapshot import (
    Attribution,
    GpuSample,
    MachineSnapshot,
    Process,
    RunningJob,
    ServerSample,
    SourceState,
    Stall,
    StallCause,
)

SETTINGS = """\
[policy]
below_for = "3s"
clear_for = "2s"
stale_after = "6s"
down_after = "10s"
"""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One machine."""

    machine: str
    gpus: tuple[GpuSample, ...] = field(default_factory=lambda: (gpu(),))
    servers: tuple[ServerSample, ...] = ()
    sources: tuple[SourceState, ...] | None = None
    assigned: str = 'tier = "mass"'
    state: str = "ok"
    """The verdict's, once all has settled."""
    told_otherwise: tuple[str, ...] = ()
    """Words of the polled reasons that no series carries: names, pids, others' sentences."""
    cause_otherwise: bool = False
    """Whether the cause rests on who holds the memory, which no series carries."""

    def shown(self, now: float) -> MachineSnapshot:
        """What its agent tells at a moment."""
        seen = replace(
            snapshot(self.machine, taken_at=now, gpus=self.gpus),
            servers=tuple(_moved(server, now) for server in self.servers),
        )
        return seen if self.sources is None else replace(seen, sources=self.sources)

    def table(self, url: str) -> str:
        """Its place in the inventory."""
        return f'[[machine]]\nid = "{self.machine}"\nurl = "{url}"\n{self.assigned}\n'


def _moved(server: ServerSample, now: float) -> ServerSample:
    """Its jobs began and moved so long ago as their moments, which are negative, say."""
    jobs = tuple(
        replace(
            job,
            started_at=now + (job.started_at or 0.0),
            progressed_at=now + (job.progressed_at or 0.0),
        )
        for job in server.jobs
    )
    stall = server.stall
    return replace(
        server, jobs=jobs, stall=stall and replace(stall, since=1_795_555_200.0 + stall.since)
    )


def _card(available: float, **fields: Any) -> GpuSample:
    return replace(gpu(available=round(available * GIB)), **fields)


def _bound(available: float) -> Attribution:
    return Attribution(
        available_bytes=round(available * GIB),
        basis="none",
        lower_bound=True,
        why="Windows does not tell how much game.exe (pid 4711) holds",
    )


def _stalled(cause: StallCause) -> tuple[ServerSample, ...]:
    job = RunningJob(id="a", started_at=-200.0, progress_ratio=0.4, progressed_at=-90.0)
    return (
        ServerSample(
            id="comfyui-8188",
            kind="comfyui",
            version="0.27.0",
            gpus=("GPU-0",),
            queue_pending=3,
            queue_running=1,
            jobs=(job,),
            stall=Stall(
                cause=cause,
                since=-90.0,
                evidence="no step for 90 s; GPU 0 has 0.1 GiB free",
                job="a",
            ),
        ),
    )


def _of_server(state: str = "up", **fields: Any) -> tuple[ServerSample, ...]:
    server = ServerSample(id="a1111-7860", kind="a1111", queue_pending=0, queue_running=0)
    return (replace(server, state=state, **fields),)


NVML_DOWN = (
    SourceState(name="nvml", state="down", reason="the driver is not loaded", failures=7),
    SourceState(name="host", state="up", last_success_at=1_795_555_200.0),
)
_HOLDERS = ("game.exe (pid 4711)", "python train.py (pid 99)")
_CAUSES: tuple[StallCause, ...] = get_args(StallCause)
_HOT = ("hw_thermal_slowdown",)

SCENES: tuple[Scene, ...] = (
    Scene(machine="well"),
    Scene(machine="busy", servers=_of_server(queue_running=1, queue_pending=4)),
    Scene(machine="crowded", gpus=(_card(9.8),), state="below", told_otherwise=_HOLDERS),
    Scene(machine="tight", gpus=(_card(14.2),), state="at_risk", told_otherwise=_HOLDERS),
    Scene(
        machine="unsure",
        gpus=(_card(9.0, attribution=_bound(9.0)),),
        state="at_risk",
        told_otherwise=(*_HOLDERS, "Windows"),
    ),
    Scene(machine="bound-and-well", gpus=(_card(15.0, attribution=_bound(15.0)),)),
    Scene(
        machine="of-another-server",
        gpus=(
            _card(
                9.0,
                processes=(
                    Process(
                        pid=7, name="webui.py", vram_bytes=7 * GIB, server="a1111", server_pid=7
                    ),
                ),
                attribution=Attribution(
                    available_bytes=9 * GIB, basis="process", others_bytes=7 * GIB, server_pid=8
                ),
            ),
        ),
        state="below",
        told_otherwise=("webui.py (pid 7)",),
        cause_otherwise=True,
    ),
    Scene(
        machine="unseen",
        gpus=(
            _card(
                9.0,
                processes=(),
                attribution=Attribution(
                    available_bytes=9 * GIB,
                    basis="process",
                    others_bytes=7 * GIB,
                    unseen_bytes=7 * GIB,
                ),
            ),
        ),
        state="below",
    ),
    Scene(machine="small", gpus=(gpu(total=8 * GIB, available=7 * GIB),), state="below"),
    Scene(
        machine="lost",
        gpus=(_card(15.0, state="lost", detail="it fell off its bus", attribution=None),),
        state="below",
        told_otherwise=("it fell off its bus",),
    ),
    Scene(
        machine="unreadable",
        gpus=(_card(15.0, state="unreadable", attribution=None),),
        state="below",
    ),
    Scene(machine="asleep", gpus=(_card(15.0, state="asleep", attribution=None),)),
    Scene(machine="no-memory", gpus=(_card(15.0, memory=None, attribution=None),), state="at_risk"),
    Scene(machine="hot", gpus=(_card(15.0, throttle_reasons=_HOT),), state="at_risk"),
    Scene(
        machine="too-hot",
        gpus=(_card(15.0, temperature_celsius=93.0, slowdown_celsius=90.0),),
        state="at_risk",
    ),
    Scene(machine="in-error", gpus=(_card(15.0, recovery_action="reset"),), state="at_risk"),
    Scene(
        machine="two-cards",
        gpus=(gpu(0), gpu(1, available=4 * GIB)),
        state="below",
        told_otherwise=_HOLDERS,
    ),
    Scene(
        machine="one-suffices",
        gpus=(gpu(0), gpu(1, available=4 * GIB)),
        assigned='tier = "mass"\ngpus = "any"',
        told_otherwise=_HOLDERS,
    ),
    Scene(
        machine="own-duties",
        gpus=(gpu(0), gpu(1, available=4 * GIB)),
        assigned='tier = "mass"\ngpu_tiers = { "1" = "draft" }',
    ),
    Scene(
        machine="a-card-is-missing",
        assigned='tier = "mass"\ngpu_tiers = { "1" = "light" }',
        state="below",
    ),
    Scene(
        machine="split",
        gpus=(
            _card(40.0, partitioned=True, attribution=None),
            replace(gpu(total=20 * GIB, available=19 * GIB), index="0:1", uuid="MIG-1"),
            replace(gpu(total=10 * GIB, available=9 * GIB), index="0:2", uuid="MIG-2"),
        ),
        assigned='gpu_tiers = { "0:1" = "mass", "0:2" = "light" }',
    ),
    Scene(
        machine="shared-memory",
        gpus=(
            gpu(0),
            replace(
                gpu(1, total=2 * GIB, available=GIB),
                memory=replace(gpu(1, total=2 * GIB).memory, unified=True),  # type: ignore[type-var]
            ),
        ),
    ),
    Scene(
        machine="driver-away",
        gpus=(),
        sources=NVML_DOWN,
        state="below",
        told_otherwise=("the driver is not loaded",),
    ),
    Scene(machine="no-card", gpus=(), assigned='tier = "draft"'),
    Scene(
        machine="server-away",
        servers=_of_server("down", reason="connection refused"),
        state="at_risk",
        told_otherwise=("connection refused",),
    ),
    Scene(machine="paused", servers=_of_server(paused=True, queue_pending=9)),
    *(
        Scene(
            machine=f"stalled-{cause}",
            servers=_stalled(cause),
            state="stalled",
            told_otherwise=("no step for 90 s", "GiB free", *_HOLDERS),
        )
        for cause in _CAUSES
    ),
    Scene(machine="nobody-s", assigned="", state="unassigned"),
    Scene(
        machine="in-repair",
        gpus=(_card(4.0),),
        assigned='tier = "mass"\nmaintenance = true',
        state="maintenance",
        told_otherwise=_HOLDERS,
    ),
)
