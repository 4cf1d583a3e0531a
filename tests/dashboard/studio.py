"""A studio of a dozen machines in every state that a page must show, for tests and screenshots.

Views as the fleet's state delivers them: nothing here measures or judges.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tierwatch_agent.snapshot import (
    Attribution,
    GpuMemory,
    GpuSample,
    HostSample,
    MachineSnapshot,
    Process,
    SourceState,
)
from tierwatch_agent.tiers import DEFAULT_TIERS
from tierwatch_dashboard.fleet.state import MachineView
from tierwatch_dashboard.inventory import Machine
from tierwatch_dashboard.verdict import WORST_FIRST, GpuVerdict, State, Verdict

NOW = 1_795_555_200.0
"""2026-11-24 21:20 UTC."""
MIB = 2**20
GIB = 2**30
TIERS = {tier.name: tier for tier in DEFAULT_TIERS}


def process(pid: int, name: str, vram_gib: float | None, server: str | None = None) -> Process:
    return Process(
        pid=pid,
        name=name,
        vram_bytes=None if vram_gib is None else round(vram_gib * GIB),
        server=server,
        server_pid=pid if server else None,
    )


def gpu(
    name: str,
    total_mib: int,
    *holders: Process,
    index: str = "0",
    basis: str = "process",
    held_gib: float = 0.0,
    **fields: object,
) -> GpuSample:
    """A card with these processes; ``held_gib`` more is held by nobody knows whom."""
    total = total_mib * MIB
    reserved = 320 * MIB
    used = sum(p.vram_bytes or 0 for p in holders) + round(held_gib * GIB)
    own = max((p for p in holders if p.server), key=lambda p: p.vram_bytes or 0, default=None)
    free = total - reserved - used
    available = free + ((own.vram_bytes or 0) if own else 0)
    known = basis != "none"
    sample = GpuSample(
        index=index,
        uuid=f"GPU-{name}-{index}".replace(" ", "-").lower(),
        name=name,
        vendor="nvidia",
        source="nvml",
        driver_version="580.95.05",
        pci_bus_id=f"00000000:0{index[0]}:00.0",
        memory=GpuMemory(
            total_bytes=total, free_bytes=free, used_bytes=used, reserved_bytes=reserved
        ),
        attribution=Attribution(
            available_bytes=available,
            basis="process" if known else "none",
            lower_bound=not known,
            why=None if known else "Windows does not tell how much VRAM each process holds",
            others_bytes=total - reserved - available if known else None,
            server_pid=own.pid if own else None,
        ),
        processes=holders,
        utilization_ratio=0.03,
        temperature_celsius=41.0,
        slowdown_celsius=90.0,
        power_watts=31.0,
        power_limit_watts=285.0,
        graphics_clock_hertz=2_505e6,
        memory_clock_hertz=10_501e6,
        fan_ratio=0.3,
        performance_state=8,
        throttle_reasons=(),
    )
    return msgspec.structs.replace(sample, **fields)


def judged(
    sample: GpuSample,
    state: State,
    tier: str | None,
    can: str | None,
    could: str | None,
    *reasons: str,
) -> GpuVerdict:
    known = sample.attribution if sample.state == "ok" else None
    floor = TIERS[tier].floor_bytes if tier else None
    available = known.available_bytes if known else None
    return GpuVerdict(
        gpu=sample.index,
        uuid=sample.uuid,
        state=state,
        tier=tier,
        floor_bytes=floor,
        available_bytes=available,
        headroom_bytes=None if floor is None or available is None else available - floor,
        lower_bound=bool(known and known.lower_bound),
        can_serve=can,
        could_serve=could,
        reasons=reasons,
    )


def view(
    machine: Machine,
    state: State,
    headline: str,
    *,
    gpus: Sequence[GpuSample] = (),
    verdicts: Sequence[GpuVerdict] = (),
    can: str | None = None,
    could: str | None = None,
    reasons: tuple[str, ...] = (),
    since: float = NOW - 4000,
    heard: float | None = NOW - 2,
    error: str | None = None,
    sources: tuple[SourceState, ...] | None = None,
    os: str = "linux",
    simulated: bool = False,
) -> MachineView:
    """One machine as the fleet's state delivers it; ``heard`` None: never heard of."""
    snapshot = None
    if heard is not None:
        snapshot = MachineSnapshot(
            schema=1,
            machine=machine.id,
            agent_version="0.1.0",
            taken_at=heard - 0.4,
            started_at=NOW - 90_000,
            interval_seconds=1.0,
            os=os,
            simulated=simulated,
            host=HostSample(
                cpu_count=16,
                cpu_ratio=0.12,
                memory_total_bytes=64 * GIB,
                memory_available_bytes=41 * GIB,
                swap_total_bytes=8 * GIB,
                swap_used_bytes=0,
                booted_at=NOW - 400_000,
            ),
            gpus=tuple(gpus),
            sources=sources
            or (
                SourceState(
                    name="nvml", state="up", last_success_at=heard - 0.5, duration_seconds=0.012
                ),
                SourceState(name="amdgpu", state="absent", reason="no AMD GPU on this machine"),
                SourceState(
                    name="host", state="up", last_success_at=heard - 0.4, duration_seconds=0.021
                ),
            ),
        )
    verdict = Verdict(
        machine=machine.id,
        state=state,
        since=since,
        headline=headline,
        reasons=reasons,
        tier=machine.tier,
        can_serve=can,
        could_serve=could,
        gpus=tuple(verdicts),
    )
    return MachineView(
        machine=machine, verdict=verdict, snapshot=snapshot, heard_at=heard, error=error
    )


def at(name: str, tier: str | None, **fields: object) -> Machine:
    machine = Machine(id=name, url=f"http://{name}:9838", tier=tier)
    return msgspec.structs.replace(machine, **fields)


def _game() -> MachineView:
    card = gpu(
        "NVIDIA GeForce RTX 4080 SUPER",
        16376,
        process(4711, "EldenRing.exe", 5.8),
        process(2210, "python main.py --listen", 6.4, "comfyui"),
        process(1804, "Xorg", 0.2),
        utilization_ratio=0.97,
        temperature_celsius=78.0,
        power_watts=281.0,
        performance_state=0,
    )
    reason = (
        "GPU 0 has 9.7 GiB available, mass needs 14.0 GiB: "
        "5.8 GiB held by EldenRing.exe (pid 4711), 0.2 GiB by Xorg (pid 1804)."
    )
    return view(
        at("render-03", "mass", tags=("room-a",)),
        "below",
        "Cannot serve mass now: EldenRing.exe holds 5.8 GiB of GPU 0",
        gpus=[card],
        verdicts=[judged(card, "below", "mass", "light", "mass", reason)],
        can="light",
        could="mass",
        reasons=(
            reason,
            "Ending EldenRing.exe (pid 4711) would let it serve mass.",
            "GPU 0 can still serve light.",
        ),
        since=NOW - 760,
    )


def _wddm() -> MachineView:
    card = gpu(
        "NVIDIA GeForce RTX 4070",
        12282,
        process(9120, "blender.exe", None),
        process(1300, "dwm.exe", None),
        process(7008, "python.exe main.py", None, "comfyui"),
        basis="none",
        held_gib=3.6,
        driver_model="wddm",
        utilization_ratio=0.22,
        temperature_celsius=58.0,
        fan_ratio=0.0,
    )
    reason = (
        "GPU 0 has at least 8.1 GiB available, production needs 10.2 GiB; this is a lower bound: "
        "Windows does not tell how much VRAM each process holds."
    )
    return view(
        at("artist-yuki", "production"),
        "at_risk",
        "Perhaps below production: GPU 0 has at least 8.1 GiB available, production needs 10.2 GiB",
        gpus=[card],
        verdicts=[judged(card, "at_risk", "production", "light", "production", reason)],
        can="light",
        could="production",
        reasons=(
            reason,
            "Also on it, without a figure: blender.exe (pid 9120) and dwm.exe (pid 1300).",
        ),
        os="windows",
    )


def _down() -> MachineView:
    card = gpu("NVIDIA GeForce RTX 5080", 16303)
    return view(
        at("render-07", "mass"),
        "down",
        "Not heard for 19 min: connection refused",
        gpus=[card],
        verdicts=[judged(card, "down", "mass", None, "mass")],
        could="mass",
        reasons=(
            "Not heard for 19 min: connection refused.",
            "Is the machine on, and does tierwatch-agent run at http://render-07:9838?",
        ),
        since=NOW - 1150,
        heard=NOW - 1170,
        error="connection refused",
    )


def _ok() -> MachineView:
    card = gpu(
        "NVIDIA GeForce RTX 4090",
        24564,
        process(3120, "python main.py", 17.9, "comfyui"),
        utilization_ratio=1.0,
        temperature_celsius=71.0,
        power_watts=402.0,
        power_limit_watts=450.0,
        performance_state=0,
    )
    return view(
        at("render-01", "mass", tags=("room-a",)),
        "ok",
        "Serves mass, 9.7 GiB to spare",
        gpus=[card],
        verdicts=[judged(card, "ok", "mass", "mass", "mass")],
        can="mass",
        could="mass",
        since=NOW - 86_000,
    )


def _simulated() -> MachineView:
    card = gpu("Simulated RTX 5070 Ti", 16303, process(811, "comfyui", 9.0, "comfyui"))
    return view(
        at("demo-02", "production"),
        "ok",
        "Serves production, 5.4 GiB to spare",
        gpus=[card],
        verdicts=[judged(card, "ok", "production", "mass", "mass")],
        can="mass",
        could="mass",
        simulated=True,
    )


def _draft() -> MachineView:
    return view(
        at("notebook-mei", "draft"),
        "ok",
        "Serves draft",
        can="draft",
        could="draft",
        sources=(
            SourceState(name="nvml", state="absent", reason="no NVIDIA driver on this machine"),
            SourceState(name="host", state="up", last_success_at=NOW - 2, duration_seconds=0.01),
        ),
    )


def _two_cards() -> MachineView:
    first = gpu(
        "NVIDIA GeForce RTX 3060",
        12288,
        process(551, "python webui.py", 4.1, "a1111"),
        utilization_ratio=0.88,
        temperature_celsius=66.0,
    )
    second = gpu(
        "NVIDIA GeForce RTX 3060",
        12288,
        process(880, "python train.py", 3.0),
        index="1",
        utilization_ratio=0.64,
        temperature_celsius=63.0,
    )
    reason = (
        "GPU 1 has 8.7 GiB available, production needs 10.2 GiB: "
        "3.0 GiB held by python train.py (pid 880)."
    )
    return view(
        at("render-05", "production"),
        "below",
        "Cannot serve production now: python train.py holds 3.0 GiB of GPU 1",
        gpus=[first, second],
        verdicts=[
            judged(first, "ok", "production", "production", "production"),
            judged(second, "below", "production", "light", "production", reason),
        ],
        can="production",
        could="production",
        reasons=(
            reason,
            "Ending python train.py (pid 880) would let it serve production.",
            "GPU 1 can still serve light.",
        ),
        since=NOW - 130,
    )


def _mig() -> MachineView:
    parent = gpu(
        "NVIDIA A100-PCIE-40GB",
        40960,
        partitioned=True,
        processes=None,
        attribution=None,
        utilization_ratio=None,
    )
    instances = [
        gpu(
            "NVIDIA A100-PCIE-40GB",
            20096,
            *holders,
            index=f"0:{number}",
            parent_uuid=parent.uuid,
            mig_profile="3g.20gb",
            utilization_ratio=None,
            temperature_celsius=None,
        )
        for number, holders in enumerate(
            [(process(77, "python main.py", 11.2, "comfyui"),), (process(90, "invokeai-web", 2.0),)]
        )
    ]
    return view(
        at("server-a100", "mass"),
        "ok",
        "Serves mass, 3.3 GiB to spare",
        gpus=[parent, *instances],
        verdicts=[judged(i, "ok", "mass", "mass", "mass") for i in instances],
        can="mass",
        could="mass",
    )


def _lost() -> MachineView:
    card = gpu(
        "NVIDIA GeForce RTX 3090",
        24576,
        state="lost",
        detail="the GPU fell off the bus (Xid 79); the driver asks for a reboot",
        memory=None,
        attribution=None,
        processes=None,
        utilization_ratio=None,
        temperature_celsius=None,
        power_watts=None,
        throttle_reasons=None,
        xid_errors={79: 1},
        recovery_action="reboot",
    )
    reason = "GPU 0 is lost: the GPU fell off the bus (Xid 79); the driver asks for a reboot."
    return view(
        at("render-04", "mass"),
        "below",
        "Cannot serve mass now: GPU 0 is lost",
        gpus=[card],
        verdicts=[judged(card, "below", "mass", "draft", "draft", reason)],
        can="draft",
        could="draft",
        reasons=(reason, "GPU 0 can still serve draft."),
        since=NOW - 5400,
        sources=(
            SourceState(
                name="nvml",
                state="down",
                reason="GPU 00000000:01:00.0 is lost; the machine needs a restart",
                last_success_at=NOW - 5403,
                failures=540,
                restarts=3,
            ),
            SourceState(name="host", state="up", last_success_at=NOW - 2, duration_seconds=0.02),
        ),
    )


def _maintenance() -> MachineView:
    card = gpu("NVIDIA GeForce RTX 4060 Ti", 16380)
    return view(
        at("render-06", "mass", maintenance=True),
        "maintenance",
        "In maintenance; serves mass, 1.7 GiB to spare",
        gpus=[card],
        verdicts=[judged(card, "maintenance", "mass", "mass", "mass")],
        can="mass",
        could="mass",
    )


def _unassigned() -> MachineView:
    card = gpu("NVIDIA GeForce GTX 1080 Ti", 11264, process(66, "firefox", 0.9))
    return view(
        at("spare-01", None),
        "unassigned",
        "Not assigned to a tier; can serve light now",
        gpus=[card],
        verdicts=[judged(card, "unassigned", None, "light", "light")],
        can="light",
        could="light",
    )


def _asleep() -> MachineView:
    card = gpu(
        "NVIDIA GeForce RTX 4060 Laptop GPU",
        8188,
        state="asleep",
        detail="asleep, and left asleep",
        memory=None,
        attribution=None,
        processes=None,
        utilization_ratio=None,
        temperature_celsius=None,
        power_watts=None,
        throttle_reasons=None,
    )
    return view(
        at("laptop-ren", "light"),
        "at_risk",
        "GPU 0 is asleep and left so: its memory is not known until it wakes",
        gpus=[card],
        verdicts=[judged(card, "at_risk", "light", "draft", None)],
        can="draft",
    )


def _unified() -> MachineView:
    card = gpu(
        "AMD Radeon 8060S",
        96 * 1024,
        process(410, "python main.py", 21.5, "comfyui"),
        vendor="amd",
        source="amdgpu",
        driver_version="6.14",
        utilization_ratio=0.34,
        temperature_celsius=55.0,
        slowdown_celsius=None,
        power_limit_watts=None,
    )
    assert card.memory is not None
    card = msgspec.structs.replace(card, memory=msgspec.structs.replace(card.memory, unified=True))
    return view(
        at("strix-halo-01", "mass"),
        "ok",
        "Serves mass, 81.7 GiB to spare",
        gpus=[card],
        verdicts=[judged(card, "ok", "mass", "mass", "mass")],
        can="mass",
        could="mass",
    )


def machines() -> tuple[MachineView, ...]:
    """The studio, worst first, then by id."""
    made = [
        _game(), _wddm(), _down(), _ok(), _simulated(), _draft(), _two_cards(), _mig(), _lost(),
        _maintenance(), _unassigned(), _asleep(), _unified(),
    ]  # fmt: skip
    return worst_first(made)


def worst_first(views: Sequence[MachineView]) -> tuple[MachineView, ...]:
    return tuple(
        sorted(views, key=lambda v: (WORST_FIRST.index(v.verdict.state), v.machine.id)),
    )


def many(count: int, gpus: int = 2) -> tuple[MachineView, ...]:
    """A large studio: one kind of machine under ``count`` names, each with figures of its own."""
    made: list[MachineView] = []
    for number in range(count):
        cards = [
            gpu(
                "NVIDIA GeForce RTX 4080",
                16376,
                process(1000 + number, "python main.py", 4 + (number + card) % 70 / 10, "comfyui"),
                process(300 + number, "Xorg", 0.1 + number % 9 / 10),
                index=str(card),
                utilization_ratio=(number * 7 + card) % 101 / 100,
                temperature_celsius=40.0 + number % 40,
            )
            for card in range(gpus)
        ]
        made.append(
            view(
                at(f"render-{number:04d}", "mass"),
                "ok",
                "Serves mass",
                gpus=cards,
                verdicts=[judged(card, "ok", "mass", "mass", "mass") for card in cards],
                can="mass",
                could="mass",
            )
        )
    return tuple(made)


def turned_bad(known: MachineView) -> MachineView:
    """The same machine with a game on it."""
    verdict = msgspec.structs.replace(
        known.verdict, state="below", headline="Cannot serve mass now: a game holds 9.0 GiB"
    )
    return msgspec.structs.replace(known, verdict=verdict)
