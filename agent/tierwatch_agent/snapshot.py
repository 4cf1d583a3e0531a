"""The contract between agent and dashboard: one machine at one moment.

Units: bytes, seconds, ratios from 0 to 1, degrees Celsius, watts, joules, hertz; moments are Unix
seconds. What is unknown is ``None`` and absent on the wire: never 0, never NaN, never "N/A".

Growing the contract: a new field needs a default and raises ``SCHEMA`` by one. So a reader takes
every older document (its missing fields have defaults) and every newer one (fields that it does
not know are ignored); whatever else is wrong with a document is a ``SnapshotError``.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tierwatch_agent.words import Packed

SCHEMA = 4
"""Version of the documents that this code writes."""


class SnapshotError(ValueError):
    """A document that is not a readable snapshot; the text says what is wrong with it."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Base of the contract's parts: immutable, named arguments only, defaults left off the wire.

    They never refer to one another in a circle, so the garbage collector need not visit the
    hundreds of thousands of them that a large fleet has.
    """


class Process(_Part, frozen=True, kw_only=True):
    """One process with memory on a GPU. ``name`` is for people: "game.exe", "python train.py"."""

    pid: int
    name: str
    vram_bytes: int | None = None
    """Dedicated GPU memory it holds; None where the driver does not tell (WDDM, WSL2)."""
    shared_bytes: int | None = None
    """System memory that the GPU uses for it; None where the system does not tell."""
    server: str | None = None
    """The kind of generation server it belongs to ("comfyui"), None for everybody else."""
    server_pid: int | None = None
    """Root process of that server; its worker processes share it."""
    identified: bool = True
    """False where the agent cannot tell whose it is (another user's, another container's): it may
    be a generation server's."""


class GpuMemory(_Part, frozen=True, kw_only=True):
    """A GPU's memory as its driver reports it."""

    total_bytes: int
    free_bytes: int
    used_bytes: int
    """Allocated by processes, without the driver's reserve (NVML's v2 meaning)."""
    reserved_bytes: int | None = None
    unified: bool = False
    """The pool is the system's own RAM (AMD APU with GTT, DGX Spark), not a card's."""


class Attribution(_Part, frozen=True, kw_only=True):
    """Who holds a GPU's memory, and what a production job can have of it."""

    available_bytes: int
    """Free, plus what the best placed generation server already holds."""
    basis: Literal["process", "server", "none"]
    """How it is known: memory by process, the server's own figure, or not at all."""
    lower_bound: bool = False
    """True where a generation server may hold more than is known: available is at least this."""
    why: str | None = None
    """Why it is a lower bound, in words."""
    said: Packed | None = None
    """The same with all that it is made of, so that it can be said in another language."""
    others_bytes: int | None = None
    """Held by others: total − reserved − available; None where that is not known."""
    unseen_bytes: int | None = None
    """Allocated by processes that this agent cannot see (another container's, another user's)."""
    server_pid: int | None = None
    """The generation server whose memory counts as production's own."""


GpuState = Literal["ok", "asleep", "unreadable", "lost"]


class GpuSample(_Part, frozen=True, kw_only=True):
    """One GPU, or one MIG instance of it."""

    index: str
    """Position as its driver counts ("0"); of a MIG instance, after its parent's ("0:1")."""
    uuid: str
    name: str
    vendor: str
    source: str
    state: GpuState = "ok"
    detail: str | None = None
    """Why the state is not "ok", in words."""
    driver_version: str | None = None
    driver_model: str | None = None
    """Windows only: "wddm", "tcc" or "mcdm"."""
    pci_bus_id: str | None = None
    partitioned: bool = False
    """Split into MIG instances, which are GPUs of their own: this one is not judged."""
    parent_uuid: str | None = None
    """The card that a MIG instance is part of."""
    mig_profile: str | None = None
    memory: GpuMemory | None = None
    memory_used_peak_bytes: dict[str, int] | None = None
    """Highest used memory by window ("1m", "10m"), from samples at the agent's interval."""
    attribution: Attribution | None = None
    processes: tuple[Process, ...] | None = None
    """None where the driver does not list them; empty where it lists none."""
    utilization_ratio: float | None = None
    """Share of the driver's last sample period in which a kernel ran. Says nothing of VRAM."""
    memory_busy_ratio: float | None = None
    temperature_celsius: float | None = None
    memory_temperature_celsius: float | None = None
    slowdown_celsius: float | None = None
    """Core temperature at which the driver slows the GPU down."""
    power_watts: float | None = None
    power_limit_watts: float | None = None
    energy_joules: float | None = None
    """Counter since the driver was loaded."""
    graphics_clock_hertz: float | None = None
    memory_clock_hertz: float | None = None
    fan_ratio: float | None = None
    performance_state: int | None = None
    """0 is the fastest (P0)."""
    pcie_bytes_per_second: float | None = None
    """Both ways together. Takes the driver some 40 ms, so it is read only while a job is slow."""
    throttle_reasons: tuple[str, ...] | None = None
    """Why clocks are held back right now; empty: nothing holds them."""
    ecc_uncorrected_total: int | None = None
    ecc_corrected_total: int | None = None
    xid_errors: dict[int, int] | None = None
    """Errors that the driver reported while this agent watched: Xid to count."""
    xid_last_at: dict[int, float] | None = None
    """When each of them came last."""
    recovery_action: str | None = None
    """What the driver asks for ("reset", "reboot"); None where it asks for nothing or is silent."""


Outcome = Literal["success", "error", "oom", "interrupted"]
StallCause = Literal["vram", "oom", "spill", "hang", "unresponsive", "gpu"]


class RunningJob(_Part, frozen=True, kw_only=True):
    """A job that a generation server runs now, as far as it tells."""

    id: str
    """Opaque; the id of its record once it is finished."""
    started_at: float | None = None
    model: str | None = None
    width: int | None = None
    height: int | None = None
    batch: int | None = None
    step: int | None = None
    steps: int | None = None
    progress_ratio: float | None = None
    progressed_at: float | None = None
    """When its step or progress last advanced."""
    seconds_per_step: float | None = None
    """Its own pace, of its last steps."""
    usual_seconds_per_step: float | None = None
    """Of earlier jobs of the same model and size."""
    peak_vram_bytes: int | None = None


class Stall(_Part, frozen=True, kw_only=True):
    """A job that runs but does not move, or stopped for want of memory."""

    cause: StallCause
    since: float
    evidence: str
    """What it is judged by, in words with figures."""
    said: Packed | None = None
    """The same with all that it is made of, so that it can be said in another language."""
    job: str | None = None
    """The id of the job."""


class JobRecord(_Part, frozen=True, kw_only=True):
    """A finished job. Neither prompts nor file names nor a server's own error texts are in it."""

    id: str
    """Unique on its machine, for ever: whoever stores records knows one again by it."""
    server: str
    """The id of the generation server that ran it."""
    outcome: Outcome
    ended_at: float
    started_at: float | None = None
    duration_seconds: float | None = None
    model: str | None = None
    width: int | None = None
    height: int | None = None
    batch: int | None = None
    steps: int | None = None
    images: int | None = None
    """Generated; a rerun that was wholly cached generates none."""
    pixels: int | None = None
    gpu: str | None = None
    """UUID of the GPU it ran on."""
    peak_vram_bytes: int | None = None
    error: str | None = None
    """The class of the error ("OutOfMemoryError"), or what happened in Tierwatch's own words."""


class JobTotals(_Part, frozen=True, kw_only=True):
    """What a generation server has finished since the agent first saw it. Never falls."""

    finished: dict[Outcome, int] = {}
    images: int = 0
    pixels: int = 0
    duration_seconds: float = 0.0
    """Summed over the jobs whose duration is known."""
    durations: tuple[int, ...] = ()
    """How many of those took at most each of ``DURATION_BOUNDS``, and how many there were."""


DURATION_BOUNDS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
"""Seconds: upper bounds of the histogram of durations; the last count has none."""


class ServerSample(_Part, frozen=True, kw_only=True):
    """One generation server, or the jobs that scripts report of themselves."""

    id: str
    """Kind and port, unique on its machine: "comfyui-8188"; "reported" for reported jobs."""
    kind: str
    state: Literal["up", "down"] = "up"
    reason: str | None = None
    """Why it is down, in words."""
    version: str | None = None
    pid: int | None = None
    """Its root process, as in ``Process.server_pid``."""
    gpus: tuple[str, ...] = ()
    """UUIDs of the GPUs it may use, best known first; empty: not known."""
    queue_pending: int | None = None
    queue_running: int | None = None
    paused: bool = False
    jobs: tuple[RunningJob, ...] = ()
    stall: Stall | None = None
    vram_bytes: int | None = None
    """What it holds by its own figures."""
    totals: JobTotals = JobTotals()


class HostSample(_Part, frozen=True, kw_only=True):
    """The machine around its GPUs."""

    cpu_count: int
    cpu_ratio: float | None = None
    memory_total_bytes: int
    memory_available_bytes: int
    swap_total_bytes: int = 0
    swap_used_bytes: int = 0
    booted_at: float | None = None


class SourceState(_Part, frozen=True, kw_only=True):
    """How one source of the agent fares."""

    name: str
    state: Literal["up", "down", "absent"]
    """"absent": there is nothing of its kind on this machine, which is no fault."""
    reason: str | None = None
    """Why it is down or absent, in words."""
    last_success_at: float | None = None
    duration_seconds: float | None = None
    """How long its last reading took."""
    failures: int = 0
    restarts: int = 0


class MachineSnapshot(_Part, frozen=True, kw_only=True):
    """Everything that the agent knows of its machine at one moment."""

    schema: int
    machine: str
    agent_version: str
    taken_at: float
    started_at: float
    """When this agent started."""
    interval_seconds: float
    """How often it samples."""
    os: str
    """"linux", "windows", "macos" or "wsl"."""
    simulated: bool = False
    host: HostSample | None = None
    gpus: tuple[GpuSample, ...] = ()
    servers: tuple[ServerSample, ...] = ()
    jobs: tuple[JobRecord, ...] = ()
    """Finished in the last hour, oldest first, 500 at most."""
    sources: tuple[SourceState, ...] = ()


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(MachineSnapshot)


def encode(snapshot: MachineSnapshot) -> bytes:
    """The snapshot as a JSON document."""
    return _encoder.encode(snapshot)


def decode(document: bytes) -> MachineSnapshot:
    """Reads a JSON document of any schema that this code can read; SnapshotError says why not."""
    try:
        snapshot = _decoder.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SnapshotError(f"not a machine snapshot: {error}") from error
    if snapshot.schema < 1:
        raise SnapshotError(f"not a machine snapshot: schema {snapshot.schema} does not exist")
    return snapshot


def others(gpu: GpuSample) -> tuple[Process, ...]:
    """The processes on a GPU that are not production's own, the largest holder first."""
    own = gpu.attribution.server_pid if gpu.attribution else None
    rest = [p for p in gpu.processes or () if own is None or p.server_pid != own]
    return tuple(sorted(rest, key=lambda p: p.vram_bytes or 0, reverse=True))
