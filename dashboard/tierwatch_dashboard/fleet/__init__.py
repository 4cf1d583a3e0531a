"""Where snapshots come from: one file per way, registered here by name.

A fleet source delivers a ``Reading`` per machine and time; what becomes of it (verdict, history) is
not its business.
"""

from __future__ import annotations

import msgspec

from tierwatch_agent.snapshot import MachineSnapshot

SOURCES: dict[str, str] = {
    "polling": "tierwatch_dashboard.fleet.polling:PollingFleet",
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
