"""What is known of a GPU beside its memory, as name and words; the unknown is left out. Pure."""

from __future__ import annotations

import re

import msgspec

from tierwatch_agent.snapshot import GpuSample
from tierwatch_agent.wording import duration, gib
from tierwatch_agent.words import commas, say

THROTTLES: dict[str, str] = {
    "sw_power_cap": say("its power limit"),
    "hw_slowdown": say("heat or power, says the card"),
    "sync_boost": say("the slowest card of its group"),
    "sw_thermal_slowdown": say("heat"),
    "hw_thermal_slowdown": say("heat, says the card"),
    "hw_power_brake_slowdown": say("the power supply"),
    "display_clock_setting": say("a display's clock"),
    "board_limit": say("its board's limit"),
    "reliability": say("its voltage's limit"),
}
"""What the driver calls a reason to slow down, in plain words."""


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is known."""

    name: str
    words: str


def chief_facts(gpu: GpuSample) -> tuple[Fact, ...]:
    """What tells whether it works well."""
    return _known(
        (say("Busy"), _figure(gpu.utilization_ratio, 100, "%")),
        (say("Temperature"), _temperature(gpu)),
        (say("Power"), _power(gpu)),
        (say("Held back by"), _throttling(gpu)),
        (say("The driver asks for"), gpu.recovery_action),
        (say("Xid errors"), _xids(gpu)),
    )


def further_facts(gpu: GpuSample) -> tuple[Fact, ...]:
    """What a person looks up now and then."""
    state = gpu.performance_state
    return _known(
        (say("Peak VRAM used"), _peaks(gpu)),
        (say("Memory temperature"), _figure(gpu.memory_temperature_celsius, 1, "°C")),
        (say("Core clock"), _figure(gpu.graphics_clock_hertz, 1e-6, "MHz")),
        (say("Memory clock"), _figure(gpu.memory_clock_hertz, 1e-6, "MHz")),
        (say("Fan"), _figure(gpu.fan_ratio, 100, "%")),
        (say("Performance state"), None if state is None else f"P{state}"),
        (say("ECC errors"), _ecc(gpu)),
        (say("Driver"), _driver(gpu)),
        (say("PCI"), gpu.pci_bus_id),
    )


def _known(*lines: tuple[str, str | None]) -> tuple[Fact, ...]:
    return tuple(Fact(name=name, words=words) for name, words in lines if words)


def _figure(figure: float | None, times: float, unit: str) -> str | None:
    return None if figure is None else f"{figure * times:.0f}\u00a0{unit}"


def _temperature(gpu: GpuSample) -> str | None:
    degrees = _figure(gpu.temperature_celsius, 1, "°C")
    limit = _figure(gpu.slowdown_celsius, 1, "°C")
    if degrees is None or limit is None:
        return degrees
    return say("{degrees}, slows down at {limit}", degrees=degrees, limit=limit)


def _power(gpu: GpuSample) -> str | None:
    watts, limit = _figure(gpu.power_watts, 1, "W"), _figure(gpu.power_limit_watts, 1, "W")
    if watts is None or limit is None:
        return watts
    return say("{part} of {all}", part=watts, all=limit)


def _throttling(gpu: GpuSample) -> str | None:
    if gpu.throttle_reasons is None:
        return None
    reasons = [THROTTLES.get(each, each.replace("_", " ")) for each in gpu.throttle_reasons]
    return commas(reasons) or say("nothing")


def _xids(gpu: GpuSample) -> str | None:
    found = gpu.xid_errors or {}
    return ", ".join(f"Xid {xid}: {count}" for xid, count in sorted(found.items())) or None


def _peaks(gpu: GpuSample) -> str | None:
    peaks = gpu.memory_used_peak_bytes or {}
    return (
        commas(
            [
                say("{size} in {span}", size=gib(size), span=_span(window))
                for window, size in peaks.items()
            ]
        )
        or None
    )


def _span(window: str) -> str:
    minutes = re.fullmatch(r"(\d+)m", window)
    return duration(60 * int(minutes[1])) if minutes else window


def _ecc(gpu: GpuSample) -> str | None:
    if not gpu.ecc_uncorrected_total:
        return None
    return say("{count} uncorrected", count=gpu.ecc_uncorrected_total)


def _driver(gpu: GpuSample) -> str | None:
    if gpu.driver_version and gpu.driver_model:
        return f"{gpu.driver_version}, {gpu.driver_model.upper()}"
    return gpu.driver_version
