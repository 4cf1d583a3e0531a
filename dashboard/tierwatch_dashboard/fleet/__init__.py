"""Where snapshots come from: one file per way, registered here by name.

A fleet source delivers a ``Reading`` per machine and time; what becomes of it (verdict, history) is
not its business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from tierwatch_agent.snapshot import MachineSnapshot

SOURCES: dict[str, str] = {
    "polling": "tierwatch_dashboard.fleet.polling:PollingFleet",
    "prometheus": "tierwatch_dashboard.fleet.prometheus:PrometheusFleet",
}
"""Name to ``module:Class``."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What asking one machine gave. Moments are Unix seconds of the dashboard's clock."""

    machine: str
    at: float
    snapshot: MachineSnapshot | None = None
    """None where the machine did not answer; ``error`` then says why, in words."""
    error: str | None = None
    duration_seconds: float = 0.0
    source_failed: bool = False
    """What would have told of the machine gave no answer itself: the silence is not the machine's,
    and its last known state holds."""


class SourceHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How a fleet source fares: counts since it started, and the last reading of each machine."""

    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    """Polls left out since the machine's last one was still under way."""
    last: Mapping[str, Reading] = {}
    error: str | None = None
    """Why nothing is told of any machine, in words; None: something is."""
    lists_jobs: bool = True
    """Whether snapshots list finished jobs, or leave them to be counted elsewhere."""
    answered_at: float | None = None
    """When the source last gave an answer, where it is one that all machines share."""


class FleetSource(Protocol):
    """One way to get snapshots. Its class takes the inventory's machines and where to deliver."""

    def start(self) -> None:
        """Gets ready; nothing is read yet."""
        ...

    def poll_round(self) -> None:
        """Begins one round over every machine and returns at once."""
        ...

    def stop(self) -> None:
        """Ends what is under way; no reading is delivered afterwards. Never raises."""
        ...

    def health(self) -> SourceHealth:
        """How it fares now; safe to call from any thread."""
        ...
