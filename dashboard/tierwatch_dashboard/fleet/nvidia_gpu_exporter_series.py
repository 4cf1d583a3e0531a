"""What nvidia_gpu_exporter tells of a machine, as a snapshot (pure).

Names, units and labels as its source has them (github.com/utkuozdemir/nvidia_gpu_exporter, e656cd8:
``docs/METRICS.md`` and the scrapes under ``internal/integration/testdata``): memory in bytes,
utilisation as a ratio, temperature in degrees Celsius, power in watts; every family has the label
``uuid`` alone, and ``nvidia_smi_gpu_info`` leads from there to ``index``, ``name`` and
``driver_version``. No label names the machine: it is the target's label ``machine``, else the host
that was scraped. ``nvidia_smi_command_exit_code`` (of its NVML backend:
``nvidia_smi_nvml_return_code``) is 0 while it can read the cards.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

from tierwatch_agent.snapshot import MachineSnapshot, SourceState
from tierwatch_dashboard.fleet import plain_gpus
from tierwatch_dashboard.fleet.mapping import Figure, Moments, Past, SeriesMapping
from tierwatch_dashboard.fleet.plain_gpus import IDENTITY, PlainGpu, machine_of
from tierwatch_dashboard.fleet.samples import Labels, Sample

EXPORTER = "nvidia_gpu_exporter"
_SMI = "nvidia_smi_"
_INFO = f"{_SMI}gpu_info"
_FAULTS = ("command_exit_code", "nvml_return_code")
_ANSWERED = " or ".join(f"timestamp({_SMI}{fault})" for fault in _FAULTS)
_BRAKES = (
    "hw_slowdown",
    "hw_thermal_slowdown",
    "hw_power_brake_slowdown",
    "sw_thermal_slowdown",
    "sw_power_cap",
)
_RECOVERIES = {1: "reset", 2: "reboot", 3: "drain P2P traffic", 4: "drain and reset"}
_FAMILIES = (
    *("memory_total_bytes", "memory_used_bytes", "memory_free_bytes", "memory_reserved_bytes"),
    *("utilization_gpu_ratio", "temperature_gpu", "power_draw_watts", "gpu_recovery_action"),
    *(f"clocks_event_reasons_{brake}" for brake in _BRAKES),
    *_FAULTS,
)

_Key = tuple[str, str]
"""Machine and uuid."""


def snapshots(samples: Iterable[Sample], moments: Moments) -> dict[str, MachineSnapshot]:
    """Every machine that was scraped, by its id."""
    figures: defaultdict[_Key, dict[str, float]] = defaultdict(dict)
    identities: dict[_Key, Labels] = {}
    for sample in samples:
        labels = sample.labels
        key = machine_of(labels), labels.uuid
        if labels.name == _INFO:
            identities[key] = labels
        elif math.isfinite(sample.value):
            figures[key][labels.name.removeprefix(_SMI)] = sample.value
    return plain_gpus.snapshots(
        ((key[0], _gpu(labels, figures[key])) for key, labels in identities.items()),
        moments,
        EXPORTER,
        {machine: _source(known) for (machine, uuid), known in figures.items() if not uuid},
    )


def _gpu(labels: Labels, known: Mapping[str, float]) -> PlainGpu:
    brakes = [brake for brake in _BRAKES if known.get(f"clocks_event_reasons_{brake}")]
    return PlainGpu(
        index=labels.index,
        uuid=labels.uuid,
        name=labels.gpu_name,
        driver_version=labels.driver_version or None,
        total_bytes=_whole(known, "memory_total_bytes"),
        used_bytes=_whole(known, "memory_used_bytes"),
        free_bytes=_whole(known, "memory_free_bytes"),
        reserved_bytes=_whole(known, "memory_reserved_bytes"),
        utilization_ratio=known.get("utilization_gpu_ratio"),
        temperature_celsius=known.get("temperature_gpu"),
        power_watts=known.get("power_draw_watts"),
        throttle_reasons=tuple(brakes),
        recovery_action=_RECOVERIES.get(round(known.get("gpu_recovery_action", 0.0))),
    )


def _source(known: Mapping[str, float]) -> SourceState:
    fails = any(known.get(fault) for fault in _FAULTS)
    return SourceState(name=EXPORTER, state="down" if fails else "up", failures=int(fails))


def _whole(known: Mapping[str, float], name: str) -> int | None:
    value = known.get(name)
    return None if value is None else round(value)


def _with_gpu(series: str) -> str:
    """A series whose label gpu is the index that its uuid has."""
    info = f"max by (instance, uuid, index) ({_INFO})"
    joined = f"{series} * on (instance, uuid) group_left (index) {info}"
    return f'label_replace({joined}, "gpu", "$1", "index", "(.*)")'


MAPPING = SeriesMapping(
    exporter=EXPORTER,
    freshness=f"max by ({IDENTITY}) ({_ANSWERED})",
    targets="max by (machine, instance) (up)",
    figures=(
        f"max by (__name__, {IDENTITY}, uuid, index, name, driver_version) "
        f'({{__name__=~"{"|".join([_INFO, *(_SMI + family for family in _FAMILIES)])}"}})',
    ),
    machine=machine_of,
    snapshots=snapshots,
    past=Past(
        figures=(
            Figure("total_bytes", f"{_SMI}memory_total_bytes", "max"),
            Figure("used_bytes", f"{_SMI}memory_used_bytes", "avg"),
            Figure("used_max_bytes", f"{_SMI}memory_used_bytes", "max"),
            Figure("available_bytes", f"{_SMI}memory_free_bytes", "avg"),
            Figure("available_min_bytes", f"{_SMI}memory_free_bytes", "min"),
            Figure("utilization_ratio", f"{_SMI}utilization_gpu_ratio", "avg"),
            Figure("temperature_celsius", f"{_SMI}temperature_gpu", "avg"),
            Figure("temperature_max_celsius", f"{_SMI}temperature_gpu", "max"),
            Figure("power_watts", f"{_SMI}power_draw_watts", "avg"),
        ),
        of_machine=plain_gpus.of_machine,
        with_gpu=_with_gpu,
    ),
)
