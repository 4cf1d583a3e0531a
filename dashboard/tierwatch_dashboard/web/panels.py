"""What the machine page shows of each GPU. Pure: samples and verdicts to panels of words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from tierwatch_agent.snapshot import GpuSample, Process
from tierwatch_agent.tiers import Tier
from tierwatch_agent.wording import gib
from tierwatch_dashboard.servers import title
from tierwatch_dashboard.verdict import GpuVerdict
from tierwatch_dashboard.web.bars import Bar, bar
from tierwatch_dashboard.web.rows import note

if TYPE_CHECKING:
    from tierwatch_dashboard.fleet.state import MachineView


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """One process with memory on the GPU."""

    name: str
    pid: int
    vram_bytes: int | None
    what: str
    own: bool
    """Its memory counts as available to production."""


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU of the page."""

    gpu: GpuSample
    verdict: GpuVerdict | None
    bar: Bar | None
    note: str | None
    holders: tuple[Holder, ...] | None
    """Largest first; None where the driver does not list them."""
    facts: tuple[tuple[str, str], ...]
    """What else is known of it: name and words."""
    instances: int
    """How many MIG instances the card is split into."""


def panels(view: MachineView, tiers: Sequence[Tier]) -> tuple[Panel, ...]:
    """The panels of a machine's GPUs, in the driver's order."""
    gpus = view.snapshot.gpus if view.snapshot else ()
    by_index = {verdict.gpu: verdict for verdict in view.verdict.gpus}
    by_name = {tier.name: tier for tier in tiers}
    made: list[Panel] = []
    for gpu in gpus:
        verdict = by_index.get(gpu.index)
        tier = by_name.get(verdict.tier) if verdict and verdict.tier else None
        drawn = None if gpu.partitioned else bar(gpu, tier)
        made.append(
            Panel(
                gpu=gpu,
                verdict=verdict,
                bar=drawn,
                note=None if drawn or gpu.partitioned else note(gpu),
                holders=_holders(gpu),
                facts=facts(gpu),
                instances=sum(other.parent_uuid == gpu.uuid for other in gpus),
            )
        )
    return tuple(made)


def _holders(gpu: GpuSample) -> tuple[Holder, ...] | None:
    if gpu.processes is None:
        return None
    own = gpu.attribution.server_pid if gpu.attribution else None
    found = [_holder(p, own) for p in gpu.processes]
    return tuple(sorted(found, key=lambda h: h.vram_bytes or 0, reverse=True))


def _holder(process: Process, own: int | None) -> Holder:
    mine = own is not None and process.server_pid == own
    if process.server:
        what = title(process.server)
        what += ", production's own" if mine else ", another generation server"
    else:
        what = "other work" if process.identified else "not known to the agent"
    return Holder(
        name=process.name, pid=process.pid, vram_bytes=process.vram_bytes, what=what, own=mine
    )


def facts(gpu: GpuSample) -> tuple[tuple[str, str], ...]:
    """What is known of a GPU beside its memory: name and words; the unknown is left out."""
    lines: list[tuple[str, str | None]] = [
        ("Utilisation", _say(gpu.utilization_ratio, 100, "%")),
        ("Temperature", _say(gpu.temperature_celsius, 1, "°C")),
        ("Slows down at", _say(gpu.slowdown_celsius, 1, "°C")),
        ("Memory temperature", _say(gpu.memory_temperature_celsius, 1, "°C")),
        ("Power", _with(_say(gpu.power_watts, 1, "W"), _of(gpu.power_limit_watts, "W"))),
        ("Core clock", _say(gpu.graphics_clock_hertz, 1e-6, "MHz")),
        ("Memory clock", _say(gpu.memory_clock_hertz, 1e-6, "MHz")),
        ("Held back by", _throttling(gpu)),
        ("Fan", _say(gpu.fan_ratio, 100, "%")),
        (
            "Performance state",
            None if gpu.performance_state is None else f"P{gpu.performance_state}",
        ),
        ("Peak VRAM used", _peaks(gpu)),
        ("Xid errors", _xids(gpu)),
        (
            "ECC errors",
            None if not gpu.ecc_uncorrected_total else f"{gpu.ecc_uncorrected_total} uncorrected",
        ),
        ("The driver asks for", gpu.recovery_action),
        (
            "Driver",
            _with(gpu.driver_version, f", {gpu.driver_model.upper()}" if gpu.driver_model else ""),
        ),
        ("PCI", gpu.pci_bus_id),
    ]
    return tuple((name, words) for name, words in lines if words)


def _say(figure: float | None, times: float, unit: str) -> str | None:
    return None if figure is None else f"{figure * times:.0f} {unit}"


def _with(words: str | None, more: str) -> str | None:
    return None if words is None else words + more


def _of(limit: float | None, unit: str) -> str:
    return "" if limit is None else f" of {limit:.0f} {unit}"


def _throttling(gpu: GpuSample) -> str | None:
    if gpu.throttle_reasons is None:
        return None
    return ", ".join(reason.replace("_", " ") for reason in gpu.throttle_reasons) or "nothing"


def _peaks(gpu: GpuSample) -> str | None:
    peaks = gpu.memory_used_peak_bytes or {}
    said = [f"{gib(size)} in {re.sub('m$', ' min', window)}" for window, size in peaks.items()]
    return ", ".join(said) or None


def _xids(gpu: GpuSample) -> str | None:
    found = gpu.xid_errors or {}
    return ", ".join(f"Xid {xid}: {count}" for xid, count in sorted(found.items())) or None
