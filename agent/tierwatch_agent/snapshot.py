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

SCHEMA = 1
"""Version of the documents that this code writes."""


class SnapshotError(ValueError):
    """A document that is not a readable snapshot; the text says what is wrong with it."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of the contract's parts: immutable, named arguments only, defaults left off the wire."""


class Process(_Part, frozen=True, kw_only=True):
    """One process with memory on a GPU. ``name`` is for people: "game.exe", "python train.py"."""

    pid: int
    name: str
    vram_bytes: int | None = None
    """Dedicated GPU memory it holds; None where the driver does not tell (WDDM, WSL2)."""
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
    throttle_reasons: tuple[str, ...] | None = None
    """Why clocks are held back right now; empty: nothing holds them."""
    ecc_uncorrected_total: int | None = None
    ecc_corrected_total: int | None = None
    xid_errors: dict[int, int] | None = None
    """Errors that the driver reported while this agent watched: Xid to count."""
    recovery_action: str | None = None
    """What the driver asks for ("reset", "reboot"); None where it asks for nothing or is silent."""


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
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SnapshotError(f"not a machine snapshot: {error}") from error
    if snapshot.schema < 1:
        raise SnapshotError(f"not a machine snapshot: schema {snapshot.schema} does not exist")
    return snapshot


def others(gpu: GpuSample) -> tuple[Process, ...]:
    """The processes on a GPU that are not production's own, the largest holder first."""
    own = gpu.attribution.server_pid if gpu.attribution else None
    rest = [p for p in gpu.processes or () if own is None or p.server_pid != own]
    return tuple(sorted(rest, key=lambda p: p.vram_bytes or 0, reverse=True))
