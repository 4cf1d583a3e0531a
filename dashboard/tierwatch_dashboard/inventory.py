"""What the team decided: its tiers, its machines, what each is assigned to, and the policy.

Read from one TOML file (``tierwatch.toml``); an error names the file, the key and the mend.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tierwatch_agent.tiers import DEFAULT_TIERS, Tier


class InventoryError(ValueError):
    """A file that is no inventory; the text names the file, the key and the mend."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """When a figure becomes a verdict. Durations in seconds, ``margin_gb`` in 10^9 bytes."""

    below_for_seconds: float = 60.0
    """How long headroom must be negative before a machine is ``below`` (and positive before it
    is not): a model being swapped is no verdict."""
    stale_after_seconds: float = 15.0
    down_after_seconds: float = 20.0
    margin_gb: float = 0.5
    """Headroom under this is ``at_risk``."""


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


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the team decided, at one moment."""

    machines: tuple[Machine, ...] = ()
    tiers: tuple[Tier, ...] = DEFAULT_TIERS
    policy: Policy = Policy()
