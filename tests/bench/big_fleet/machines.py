"""A fleet of machines that work: what each of them says of itself at any moment (pure).

Every figure moves with time, so that no two polls of a machine say the same.
"""

from __future__ import annotations

import msgspec

from tests.fakes.agents import GIB, gpu, snapshot
from tierwatch_agent.snapshot import (
    Attribution,
    GpuMemory,
    GpuSample,
    JobRecord,
    MachineSnapshot,
    Process,
    RunningJob,
    ServerSample,
    Stall,
)

TIERS = ("mass", "mass", "production", "light")
TOTAL_BYTES = 24 * GIB
RESERVED_BYTES = GIB // 2
SERVER_PID = 2210
STEPS = 30
LAST_HOUR = 3600.0


def name(number: int) -> str:
    """The id of a machine."""
    return f"render-{number:04}"


def tags(number: int) -> tuple[str, ...]:
    """The room and the project of a machine."""
    return f"room-{number // 50 % 20:02}", f"project-{number % 7}"


def is_down(number: int) -> bool:
    """Whether nothing answers at a machine's address."""
    return number % 100 == 31


def is_crowded(number: int) -> bool:
    """Whether a game holds so much that the machine is below its tier."""
    return number % 50 == 7


def is_stalled(number: int) -> bool:
    """Whether the job of a machine does not move."""
    return number % 100 == 13


def job_seconds(number: int) -> float:
    """How long each of a machine's jobs takes."""
    return 90.0 + number * 37 % 120


def said(number: int, now: float) -> MachineSnapshot:
    """What a machine's agent says at a moment (Unix seconds)."""
    told = snapshot(name(number), taken_at=now, gpus=tuple(_gpu(number, g, now) for g in (0, 1)))
    servers = (_server(number, now),)
    return msgspec.structs.replace(told, servers=servers, jobs=_finished(number, now))


def _wave(number: int, now: float, seconds: float) -> float:
    """From 0 to 1 and back in ``seconds``, each machine at its own point of it."""
    return abs((now / seconds + number * 0.137) % 1 - 0.5) * 2


def _gpu(number: int, index: int, now: float) -> GpuSample:
    wave = _wave(number * 2 + index, now, 61.0)
    own = 0 if index else round((6.0 + 5.0 * wave) * GIB)
    others = round((14.5 if is_crowded(number) and not index else 0.4 + 0.3 * wave) * GIB)
    used = own + others
    free = TOTAL_BYTES - RESERVED_BYTES - used
    server = Process(
        pid=SERVER_PID,
        name="python main.py --listen",
        vram_bytes=own,
        server="comfyui",
        server_pid=SERVER_PID,
    )
    other = "game.exe" if is_crowded(number) and not index else "Xorg"
    holders = (Process(pid=4711, name=other, vram_bytes=others),)
    return msgspec.structs.replace(
        gpu(index),
        name="NVIDIA GeForce RTX 4090",
        uuid=f"GPU-{number:04}-{index}",
        memory=GpuMemory(
            total_bytes=TOTAL_BYTES, free_bytes=free, used_bytes=used, reserved_bytes=RESERVED_BYTES
        ),
        attribution=Attribution(
            available_bytes=free + own,
            basis="process",
            others_bytes=others,
            server_pid=None if index else SERVER_PID,
        ),
        processes=holders if index else (server, *holders),
        utilization_ratio=0.05 + 0.9 * wave,
        temperature_celsius=48 + 30 * wave,
        slowdown_celsius=90.0,
        power_watts=60 + 300 * wave,
        power_limit_watts=450.0,
        graphics_clock_hertz=2.2e9 + 4e8 * wave,
        memory_clock_hertz=10.5e9,
        fan_ratio=0.3 + 0.4 * wave,
        throttle_reasons=(),
    )


def _server(number: int, now: float) -> ServerSample:
    seconds = job_seconds(number)
    turn, into = divmod(now, seconds)
    step = 11 if is_stalled(number) else int(into / seconds * STEPS)
    job = RunningJob(
        id=_job_id(turn),
        started_at=now - into,
        model="sdxl_base_1.0.safetensors",
        width=1024,
        height=1024,
        batch=4,
        step=step,
        steps=STEPS,
        progress_ratio=step / STEPS,
        progressed_at=now - into % (seconds / STEPS),
        seconds_per_step=seconds / STEPS,
        usual_seconds_per_step=seconds / STEPS,
    )
    stall = Stall(
        cause="vram",
        since=now - 300,
        evidence="no step for 5 min, its steps take 4 s; 0.1 GiB of VRAM is free",
        job=job.id,
    )
    return ServerSample(
        id="comfyui-8188",
        kind="comfyui",
        version="0.3.70",
        pid=SERVER_PID,
        gpus=(f"GPU-{number:04}-0",),
        queue_pending=int(number + turn) % 9,
        queue_running=1,
        jobs=(job,),
        stall=stall if is_stalled(number) else None,
    )


def _finished(number: int, now: float) -> tuple[JobRecord, ...]:
    seconds = job_seconds(number)
    last = int(now // seconds)
    first = int((now - LAST_HOUR) // seconds) + 1
    return tuple(
        JobRecord(
            id=_job_id(turn - 1),
            server="comfyui-8188",
            outcome="oom" if turn % 41 == 0 else "success",
            ended_at=turn * seconds,
            started_at=(turn - 1) * seconds,
            duration_seconds=seconds,
            model="sdxl_base_1.0.safetensors",
            width=1024,
            height=1024,
            batch=4,
            steps=STEPS,
            images=4,
            pixels=4 * 1024 * 1024,
            gpu=f"GPU-{number:04}-0",
            peak_vram_bytes=11 * GIB,
        )
        for turn in range(first, last + 1)
    )


def _job_id(turn: float) -> str:
    return f"job-{int(turn)}"
