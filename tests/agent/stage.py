"""A generation server on a stage: it works in simulated time, and is judged every second."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tierwatch_agent.evidence import Evidence
from tierwatch_agent.snapshot import (
    GpuMemory,
    GpuSample,
    JobRecord,
    Outcome,
    Process,
    RunningJob,
    Stall,
)
from tierwatch_agent.stall import Judgement, PaceMemory, judge

MIB, GIB = 2**20, 2**30
PID = 4100
TOTAL = 12282 * MIB
RESTING = GpuSample(
    index="0",
    uuid="GPU-1",
    name="NVIDIA GeForce RTX 4070",
    vendor="nvidia",
    source="nvml",
    memory=GpuMemory(
        total_bytes=TOTAL, reserved_bytes=300 * MIB, used_bytes=8000 * MIB, free_bytes=3982 * MIB
    ),
    processes=(),
    utilization_ratio=0.0,
    temperature_celsius=40,
    power_watts=30.0,
    power_limit_watts=285.0,
    throttle_reasons=(),
)


@dataclass(frozen=True)
class Work:
    """One job as it usually goes. Seconds."""

    model: str = "sdxl"
    width: int = 1024
    height: int = 1024
    batch: int = 1
    steps: int = 20
    seconds_per_step: float = 0.9
    load: float = 3.0
    finish: float = 2.0
    tells_steps: bool = True
    tells_kind: bool = True


@dataclass
class Stage:
    """What the server and its GPU are like now; ``play`` and ``wait`` let time go on."""

    stall_after: float = 180.0
    now: float = 1_800_000_000.0
    gpu: GpuSample | None = RESTING
    memory: PaceMemory = field(default_factory=PaceMemory)
    alive: bool | None = True
    silent_since: float | None = None
    paused: bool = False
    strained: str | None = None
    out_of_memory_total: int | None = None
    link: float = 0.0
    """What the PCIe link carries, for whoever asks while a job is slow. Bytes per second."""
    stalls: list[tuple[float, Stall]] = field(default_factory=list[tuple[float, Stall]])
    """Each stall that was seen, and when first."""
    judgement: Judgement | None = None
    _number: int = 0
    _last: tuple[str, str | None] | None = None

    def load_gpu(self, **figures: Any) -> None:
        """Changes figures of the GPU; ``free`` and ``shared`` are bytes."""
        assert self.gpu is not None
        gpu = self.gpu
        if "free" in figures:
            assert gpu.memory is not None
            free = figures.pop("free")
            used = TOTAL - 300 * MIB - free
            memory = msgspec.structs.replace(gpu.memory, free_bytes=free, used_bytes=used)
            gpu = msgspec.structs.replace(gpu, memory=memory)
        if "shared" in figures:
            process = Process(
                pid=PID,
                name="ComfyUI",
                server="comfyui",
                server_pid=PID,
                shared_bytes=figures.pop("shared"),
            )
            gpu = msgspec.structs.replace(gpu, processes=(process,))
        self.gpu = msgspec.structs.replace(gpu, **figures)

    def set_to_work(self, *, working: bool = True) -> None:
        """Makes the GPU compute, or rest."""
        self.load_gpu(
            utilization_ratio=1.0 if working else 0.0, power_watts=250.0 if working else 30.0
        )

    def judge(self, jobs: tuple[RunningJob, ...] = (), *finished: JobRecord) -> Stall | None:
        """One judgement, a second later."""
        self.now += 1.0
        gpu = self.gpu
        if gpu is not None and self.judgement is not None and self.judgement.slow:
            gpu = msgspec.structs.replace(gpu, pcie_bytes_per_second=self.link)
        evidence = Evidence(
            kind="comfyui",
            pid=PID,
            alive=self.alive,
            silent_since=self.silent_since,
            paused=self.paused,
            jobs=() if self.silent_since is not None else jobs,
            finished=finished,
            out_of_memory_total=self.out_of_memory_total,
            strained=self.strained,
            gpu=gpu,
        )
        self.judgement = judge(evidence, self.memory, self.now, self.stall_after)
        self.memory = self.judgement.memory
        stall = self.judgement.stall
        seen = None if stall is None else (stall.cause, stall.job)
        if stall is not None and seen != self._last:
            self.stalls.append((self.now, stall))
        self._last = seen
        return stall

    def wait(self, seconds: float, *jobs: RunningJob) -> None:
        """Judges for so long with the same jobs."""
        for _ in range(round(seconds)):
            self.judge(jobs)

    def begin(self, work: Work) -> RunningJob:
        """A job that has just begun."""
        self._number += 1
        job = RunningJob(id=f"job-{self._number}", started_at=self.now)
        if not work.tells_kind:
            return job
        return msgspec.structs.replace(
            job, model=work.model, width=work.width, height=work.height, batch=work.batch
        )

    def steps(
        self, job: RunningJob, work: Work, *, until: int | None = None
    ) -> Iterator[RunningJob]:
        """The job, second by second, through its steps."""
        pace, last = work.seconds_per_step, work.steps if until is None else until
        began = self.now
        while self.now - began < pace * last:
            step = int((self.now + 1 - began) / pace)
            yield msgspec.structs.replace(job, step=min(step, last), steps=work.steps)

    def play(
        self, work: Work, *, until: int | None = None, outcome: Outcome | None = "success"
    ) -> RunningJob:
        """A job from its beginning to its end, or ``until`` a step; the job as it was last seen."""
        began = self.now
        job = self.begin(work)
        self.wait(work.load, job)
        if work.tells_steps:
            for seen in self.steps(job, work, until=until):
                job = seen
                self.judge((job,))
        else:
            self.wait(work.steps * work.seconds_per_step, job)
        if until is None:
            self.wait(work.finish, job)
            self.finish(job, outcome, began)
        return job

    def finish(self, job: RunningJob, outcome: Outcome | None, began: float) -> None:
        """The job's end, with its record unless the server keeps none."""
        record = JobRecord(
            id=job.id,
            server="comfyui-8188",
            outcome=outcome or "success",
            started_at=began,
            ended_at=self.now,
            duration_seconds=self.now - began,
            model=job.model,
            width=job.width,
            height=job.height,
            batch=job.batch,
            images=job.batch,
        )
        self.judge((), *(() if outcome is None else (record,)))

    def causes(self) -> list[str]:
        """The causes that were seen, in order."""
        return [stall.cause for _, stall in self.stalls]
