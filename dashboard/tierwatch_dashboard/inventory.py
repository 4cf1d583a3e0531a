"""What the team decided: tiers, machines, what each is assigned to, policy, alerts.

Plain data; ``inventory_file`` reads it from ``tierwatch.toml``.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tierwatch_agent.tiers import DEFAULT_TIERS, GIGABYTE, Tier
from tierwatch_dashboard.alerts.settings import AlertSettings


class InventoryError(ValueError):
    """A file that is no inventory; the text names the file, the key and the mend."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """When a figure becomes a verdict. Durations in seconds, ``margin_gb`` in 10^9 bytes."""

    below_for_seconds: float = 60.0
    """How long headroom must be negative before a machine is ``below``: a model being swapped is
    no verdict."""
    clear_for_seconds: float = 10.0
    """How long a machine must be well before it counts as such: a shorter relief interrupts
    neither ``below`` nor the time that leads to it."""
    stale_after_seconds: float = 15.0
    """How old the last figures may get before a verdict says so."""
    down_after_seconds: float = 20.0
    """How long a machine may be silent before it is ``down``."""
    margin_gb: float = 0.5
    """Headroom under this is ``at_risk``."""

    @property
    def margin_bytes(self) -> int:
        """The margin in bytes."""
        return round(self.margin_gb * GIGABYTE)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """One machine of the inventory and what it is assigned to."""

    id: str
    url: str
    """Its agent's address: ``http://render-01:9838``."""
    tier: str | None = None
    """The assigned tier; None: unassigned."""
    gpu_tiers: dict[str, str] = {}
    """GPU index to the tier that this GPU is assigned to, in place of the machine's."""
    gpus: Literal["all", "any"] = "all"
    """Whether each GPU must serve the tier, or one that does suffices."""
    tags: tuple[str, ...] = ()
    maintenance: bool = False

    @property
    def duty(self) -> str | None:
        """The tier that the machine as a whole goes by: its own, else its first assigned GPU's."""
        return self.tier or next((tier for _, tier in sorted(self.gpu_tiers.items())), None)


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the team decided, at one moment."""

    machines: tuple[Machine, ...] = ()
    tiers: tuple[Tier, ...] = DEFAULT_TIERS
    policy: Policy = Policy()
    alerts: AlertSettings = AlertSettings()

    def tier(self, name: str) -> Tier:
        """The tier of that name; InventoryError where there is none."""
        for tier in self.tiers:
            if tier.name == name:
                return tier
        defined = ", ".join(tier.name for tier in self.tiers)
        raise InventoryError(f'tier "{name}" is not defined; tiers are {defined}')
