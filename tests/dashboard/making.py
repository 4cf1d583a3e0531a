"""What machines make, for tests and screenshots: generation servers, running and finished jobs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tests.dashboard.studio import GIB, NOW, at, gpu, judged, process, view
from tierwatch_agent.snapshot import JobRecord, RunningJob, ServerSample, Stall, StallCause
from tierwatch_dashboard.fleet.state import MachineView
from tierwatch_dashboard.history.jobs import StoredJob


def running(**fields: object) -> RunningJob:
    """Step 12 of 30 of an SDXL image."""
    job = RunningJob(
        id="job-1",
        started_at=NOW - 12,
        model="sdxl_base",
        width=1024,
        height=1024,
        batch=1,
        step=12,
        steps=30,
        seconds_per_step=0.8,
        usual_seconds_per_step=0.8,
    )
    return msgspec.structs.replace(job, **fields)


def server(
    *jobs: RunningJob, kind: str = "comfyui", port: int = 8188, **fields: object
) -> ServerSample:
    """A ComfyUI that answers, with these jobs running."""
    sample = ServerSample(
        id=f"{kind}-{port}",
        kind=kind,
        version="0.27.0",
        pid=3120,
        queue_pending=0,
        queue_running=len(jobs),
        jobs=jobs,
        vram_bytes=round(10.9 * GIB),
    )
    return msgspec.structs.replace(sample, **fields)


def stall(cause: StallCause = "vram", **fields: object) -> Stall:
    found = Stall(
        cause=cause,
        since=NOW - 140,
        evidence="no step for 140 s, usually 0.9 s; 180 MiB free of 11.9 GiB",
        job="job-1",
    )
    return msgspec.structs.replace(found, **fields)


def with_servers(known: MachineView, *servers: ServerSample) -> MachineView:
    """A machine on which these servers run."""
    assert known.snapshot
    snapshot = msgspec.structs.replace(known.snapshot, servers=servers)
    return msgspec.structs.replace(known, snapshot=snapshot)


def stalled_machine() -> MachineView:
    card = gpu(
        "NVIDIA GeForce RTX 4070",
        12282,
        process(3120, "python main.py", 9.6, "comfyui"),
        process(4711, "EldenRing.exe", 1.9),
        utilization_ratio=1.0,
        temperature_celsius=64.0,
    )
    known = view(
        at("render-09", "production"),
        "stalled",
        "ComfyUI's job does not move: no step for 140 s, usually 0.9 s",
        gpus=[card],
        verdicts=[judged(card, "at_risk", "production", "light", "production")],
        can="light",
        could="production",
        reasons=(
            "180 MiB free of 11.9 GiB.",
            "Its GPU has no VRAM left for it to go on with.",
            "Ending EldenRing.exe (pid 4711) would free 1.9 GiB of GPU 0.",
            "Lower the resolution or the batch, or take a smaller model.",
        ),
        since=NOW - 100,
    )
    return with_servers(known, server(running(step=14), queue_pending=5, stall=stall()))


def kept(key: int, machine: str = "render-01", **fields: object) -> StoredJob:
    """One finished job, as it is stored."""
    job = JobRecord(
        id=f"job-{key}",
        server="comfyui-8188",
        outcome="success",
        ended_at=NOW - 60 * (100 - key),
        started_at=NOW - 60 * (100 - key) - 24.6,
        duration_seconds=24.6,
        model="sdxl_base",
        width=1024,
        height=1024,
        batch=1,
        steps=30,
        images=1,
        pixels=1024 * 1024,
        peak_vram_bytes=round(9.4 * GIB),
    )
    return StoredJob(key=key, machine=machine, job=msgspec.structs.replace(job, **fields))


def last_jobs() -> Sequence[StoredJob]:
    """A day's end at a studio, the latest first."""
    return (
        kept(99, width=832, height=1216, batch=4, images=4, duration_seconds=96.0),
        kept(98, "render-09", outcome="oom", error="OutOfMemoryError", images=0,
             width=2048, height=2048, peak_vram_bytes=round(11.7 * GIB), duration_seconds=18.2),
        kept(97, "render-05", server="a1111-7860", model="dreamshaperXL_v21", steps=None,
             duration_seconds=7.94, peak_vram_bytes=None),
        kept(96, "render-03", outcome="error", error="ValueError", duration_seconds=0.4),
        kept(95, "render-03", outcome="interrupted", duration_seconds=11.0, images=0),
        kept(94, "demo-02", server="reported", model="flux1-dev-Q8_0", steps=28),
        kept(93, model=None, width=None, height=None, steps=None, images=None, pixels=None,
             duration_seconds=None),
    )  # fmt: skip
