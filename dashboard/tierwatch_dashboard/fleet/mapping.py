"""What a round asks a PromQL engine, and how its series become snapshots: one mapping per exporter.

A mapping is data and pure functions; ``prometheus`` asks.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, cast

import msgspec

from tierwatch_agent.snapshot import MachineSnapshot
from tierwatch_dashboard.fleet.samples import Labels, Sample

MAPPINGS: dict[str, str] = {
    "tierwatch": "tierwatch_dashboard.fleet.agent_series:MAPPING",
    "dcgm": "tierwatch_dashboard.fleet.dcgm_series:MAPPING",
    "nvidia_gpu_exporter": "tierwatch_dashboard.fleet.nvidia_gpu_exporter_series:MAPPING",
}
"""Name to ``module:constant``."""

Moments = Mapping[str, float]
"""Machine to when it was last scraped, in Unix seconds."""


class Figure(msgspec.Struct, frozen=True):
    """A field of ``history.Bucket``: of which family, and what of its samples within a step."""

    field: str
    family: str
    of_samples: Literal["avg", "min", "max", "count"]
    matcher: str = ""
    factor: float = 1.0
    """What the family's unit is in ours."""
    plus: str = ""
    """A family to be added to it."""
    less: str = ""
    """A family to be taken from it; the rest is 0 at least."""
    share_of: str = ""
    """A family that always has samples: the field is the share of them beside which this one's
    are."""


class Past(msgspec.Struct, frozen=True):
    """The series that a machine's past is made of."""

    figures: tuple[Figure, ...]
    of_machine: Callable[[str], tuple[str, ...]]
    """A machine's id in quotes to matchers of its series: of several, each finds some."""
    with_gpu: Callable[[str], str] = str
    """An expression to one whose label ``gpu`` is the GPU's index."""


class SeriesMapping(msgspec.Struct, frozen=True, kw_only=True):
    """The queries of a round, whose number does not depend on how many machines there are."""

    exporter: str
    """Whose series they are, for people."""
    freshness: str
    """When each machine was last scraped. Asked first: its answer's moment is the round's."""
    targets: str
    """Whether the last scrape of each succeeded."""
    figures: tuple[str, ...]
    """All the rest, asked as of one moment."""
    machine: Callable[[Labels], str]
    """The machine that a series is of; empty: of none."""
    snapshots: Callable[[Iterable[Sample], Moments], dict[str, MachineSnapshot]]
    past: Past


def load(name: str) -> SeriesMapping:
    """The mapping of that name."""
    module, _, constant = MAPPINGS[name].partition(":")
    return cast(SeriesMapping, getattr(importlib.import_module(module), constant))
