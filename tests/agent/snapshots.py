"""Snapshots that the agent's tests share, one of them with every field that a GPU can have."""

from __future__ import annotations

from tierwatch_agent.snapshot import (
    SCHEMA,
    Attribution,
    GpuMemory,
    GpuSample,
    HostSample,
    JobTotals,
    MachineSnapshot,
    Process,
    RunningJob,
    ServerSample,
    SourceState,
    Stall,
)

MIB = 2**20

RTX_4080_SUPER = GpuSample(
    index="0",
    uuid="GPU-4080",
    name="NVIDIA GeForce RTX 4080 SUPER",
    vendor="nvidia",
    source="nvml",
    driver_version="550.54.14",
    pci_bus_id="00000000:01:00.0",
    memory=GpuMemory(
        total_bytes=16376 * MIB,
        reserved_bytes=376 * MIB,
        used_bytes=9000 * MIB,
        free_bytes=7000 * MIB,
    ),
    memory_used_peak_bytes={"1m": 9100 * MIB, "10m": 12000 * MIB},
    attribution=Attribution(
        available_bytes=10000 * MIB, basis="process", others_bytes=6000 * MIB, server_pid=300
    ),
    processes=(
        Process(pid=300, name="comfyui", vram_bytes=3000 * MIB, server="comfyui", server_pid=300),
        Process(pid=4711, name="game.exe", vram_bytes=6000 * MIB),
    ),
    utilization_ratio=0.0,
    memory_busy_ratio=0.07,
    temperature_celsius=61.0,
    memory_temperature_celsius=72.0,
    slowdown_celsius=90.0,
    power_watts=212.5,
    power_limit_watts=320.0,
    energy_joules=123456.789,
    graphics_clock_hertz=2.55e9,
    memory_clock_hertz=11.5e9,
    fan_ratio=0.0,
    performance_state=0,
    throttle_reasons=("sw_power_cap", "hw_thermal_slowdown"),
    ecc_uncorrected_total=0,
    ecc_corrected_total=3,
    xid_errors={79: 1, 13: 4},
    xid_last_at={79: 1_795_555_100.0, 13: 1_795_555_000.0},
)

HOST = HostSample(
    cpu_count=16,
    cpu_ratio=0.25,
    memory_total_bytes=64 * 2**30,
    memory_available_bytes=40 * 2**30,
    swap_total_bytes=8 * 2**30,
    swap_used_bytes=0,
    booted_at=1_790_000_000.0,
)

COMFYUI = ServerSample(
    id="comfyui-8188",
    kind="comfyui",
    version="0.27.0",
    pid=300,
    gpus=("GPU-4080",),
    queue_pending=4,
    queue_running=1,
    jobs=(
        RunningJob(
            id="a-job",
            started_at=1_794_999_900.5,
            step=5,
            steps=20,
            progress_ratio=0.25,
            progressed_at=1_794_999_990.0,
        ),
    ),
    stall=Stall(cause="hang", since=1_794_999_990.0, evidence="no step for 10 s", job="a-job"),
    totals=JobTotals(
        finished={"success": 40, "oom": 2},
        images=84,
        pixels=84 * 1024 * 1024,
        duration_seconds=312.5,
        durations=(0, 1, 10, 38, 40, 40, 42, 42, 42, 42, 42, 42),
    ),
)

NVML_UP = SourceState(
    name="nvml",
    state="up",
    last_success_at=1_795_000_000.4,
    duration_seconds=0.0008,
    failures=2,
)


def machine(
    *gpus: GpuSample,
    servers: tuple[ServerSample, ...] = (COMFYUI,),
    sources: tuple[SourceState, ...] = (),
) -> MachineSnapshot:
    """A machine with these GPUs at one moment."""
    return MachineSnapshot(
        schema=SCHEMA,
        machine="render-01",
        agent_version="0.1.0",
        taken_at=1_795_000_000.5,
        started_at=1_794_000_000.0,
        interval_seconds=1.0,
        os="linux",
        host=HOST,
        gpus=gpus,
        servers=servers,
        sources=sources or (NVML_UP,),
    )
