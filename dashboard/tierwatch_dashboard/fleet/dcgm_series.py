"""What NVIDIA's dcgm-exporter tells of a machine, as a snapshot (pure).

Names, units and labels as its source has them (github.com/NVIDIA/dcgm-exporter, d5e5f51:
``etc/default-counters.csv``, ``internal/pkg/rendermetrics``): memory in MiB, utilisation in
percent, temperature in degrees Celsius, power in watts; labels ``gpu`` (the index), ``UUID``,
``modelName``, ``DCGM_FI_DRIVER_VERSION``, ``hostname`` (``Hostname`` until May 2026), and of a MIG
instance ``GPU_I_ID`` and ``GPU_I_PROFILE``. ``DCGM_FI_DEV_FB_TOTAL`` is off by default, and
``DCGM_FI_DEV_FB_RESERVED`` is not in older releases.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

from tierwatch_agent.snapshot import MachineSnapshot
from tierwatch_dashboard.fleet import plain_gpus
from tierwatch_dashboard.fleet.mapping import Figure, Moments, Past, SeriesMapping
from tierwatch_dashboard.fleet.plain_gpus import IDENTITY, MEBIBYTE, PlainGpu, machine_of
from tierwatch_dashboard.fleet.samples import Labels, Sample

EXPORTER = "dcgm-exporter"
_DEVICE = "DCGM_FI_DEV_"
_BLANK = 2.0**40
"""From here on a value is one of DCGM's signs for "not known": no card has so many MiB."""
_FAMILIES = (
    "FB_USED",
    "FB_FREE",
    "FB_RESERVED",
    "FB_TOTAL",
    "GPU_UTIL",
    "GPU_TEMP",
    "POWER_USAGE",
)
_OF_A_GPU = "gpu, UUID, uuid, modelName, DCGM_FI_DRIVER_VERSION, GPU_I_ID"

_Key = tuple[str, str]
"""Machine and index."""


def snapshots(samples: Iterable[Sample], moments: Moments) -> dict[str, MachineSnapshot]:
    """Every machine that was scraped, by its id."""
    figures: defaultdict[_Key, dict[str, float]] = defaultdict(dict)
    identities: dict[_Key, Labels] = {}
    for sample in samples:
        value, labels = sample.value, sample.labels
        if math.isfinite(value) and value < _BLANK:
            key = machine_of(labels), _index(labels)
            identities[key] = labels
            figures[key][labels.name.removeprefix(_DEVICE)] = value
    split = {(machine, index.partition(":")[0]) for machine, index in figures if ":" in index}
    return plain_gpus.snapshots(
        (
            (key[0], _gpu(key[1], identities[key], known, partitioned=key in split))
            for key, known in figures.items()
        ),
        moments,
        EXPORTER,
    )


def _index(labels: Labels) -> str:
    return f"{labels.gpu}:{labels.gpu_instance}" if labels.gpu_instance else labels.gpu


def _gpu(index: str, labels: Labels, known: dict[str, float], *, partitioned: bool) -> PlainGpu:
    uuid = labels.dcgm_uuid or labels.uuid
    busy = known.get("GPU_UTIL")
    return PlainGpu(
        index=index,
        uuid=f"{uuid}/{labels.gpu_instance}" if labels.gpu_instance else uuid,
        name=labels.model_name,
        driver_version=labels.dcgm_driver_version or None,
        total_bytes=_bytes(known, "FB_TOTAL"),
        used_bytes=_bytes(known, "FB_USED"),
        free_bytes=_bytes(known, "FB_FREE"),
        reserved_bytes=_bytes(known, "FB_RESERVED"),
        utilization_ratio=None if busy is None else busy / 100,
        temperature_celsius=known.get("GPU_TEMP"),
        power_watts=known.get("POWER_USAGE"),
        partitioned=partitioned,
    )


def _bytes(known: dict[str, float], name: str) -> int | None:
    mebibytes = known.get(name)
    return None if mebibytes is None else round(mebibytes * MEBIBYTE)


def _with_gpu(series: str) -> str:
    """A series whose label gpu is our index: of a MIG instance, after its parent's."""
    joined = f'label_join({series}, "gpu", ":", "gpu", "GPU_I_ID")'
    return f'label_replace({joined}, "gpu", "$1", "gpu", "(.*):")'


MAPPING = SeriesMapping(
    exporter=EXPORTER,
    freshness=f"max by ({IDENTITY}) (timestamp({_DEVICE}FB_USED))",
    targets="max by (machine, instance) (up)",
    figures=(
        f"max by (__name__, {IDENTITY}, {_OF_A_GPU}) "
        f'({{__name__=~"{"|".join(_DEVICE + family for family in _FAMILIES)}"}})',
    ),
    machine=machine_of,
    snapshots=snapshots,
    past=Past(
        figures=(
            # Their sum hardly moves, so neither does that of their means.
            Figure(
                "total_bytes",
                f"{_DEVICE}FB_USED",
                "avg",
                factor=MEBIBYTE,
                plus=f"{_DEVICE}FB_FREE",
            ),
            Figure("used_bytes", f"{_DEVICE}FB_USED", "avg", factor=MEBIBYTE),
            Figure("used_max_bytes", f"{_DEVICE}FB_USED", "max", factor=MEBIBYTE),
            Figure("available_bytes", f"{_DEVICE}FB_FREE", "avg", factor=MEBIBYTE),
            Figure("available_min_bytes", f"{_DEVICE}FB_FREE", "min", factor=MEBIBYTE),
            Figure("utilization_ratio", f"{_DEVICE}GPU_UTIL", "avg", factor=0.01),
            Figure("temperature_celsius", f"{_DEVICE}GPU_TEMP", "avg"),
            Figure("temperature_max_celsius", f"{_DEVICE}GPU_TEMP", "max"),
            Figure("power_watts", f"{_DEVICE}POWER_USAGE", "avg"),
        ),
        of_machine=plain_gpus.of_machine,
        with_gpu=_with_gpu,
    ),
)
