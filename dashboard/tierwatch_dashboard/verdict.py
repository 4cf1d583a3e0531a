"""Snapshot, assignment and policy to a verdict: a state, the reasons in words, what it can serve.

Pure: what must be remembered between two judgements (since when a figure is bad) goes in and comes
out as a value.
"""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["down", "stalled", "below", "at_risk", "ok", "unassigned", "maintenance"]

WORST_FIRST: tuple[State, ...] = (
    "down",
    "stalled",
    "below",
    "at_risk",
    "ok",
    "unassigned",
    "maintenance",
)


class GpuVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """The judgement of one GPU against the tier it is assigned to. Bytes."""

    gpu: str
    """Its index."""
    uuid: str
    state: State
    tier: str | None = None
    """The tier it is judged against; None: not assigned."""
    floor_bytes: int | None = None
    available_bytes: int | None = None
    headroom_bytes: int | None = None
    lower_bound: bool = False
    """available and headroom are at least this: the system does not tell who holds VRAM."""
    can_serve: str | None = None
    could_serve: str | None = None
    reasons: tuple[str, ...] = ()


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The judgement of a machine: the worst of its assigned GPUs."""

    machine: str
    state: State
    since: float
    """Unix seconds since when it is in this state."""
    headline: str
    """The verdict in one plain sentence, the machine's name left out."""
    reasons: tuple[str, ...] = ()
    """What a person can act on, most important first."""
    tier: str | None = None
    can_serve: str | None = None
    """The highest tier it serves now; None: not even the lowest, or not known."""
    could_serve: str | None = None
    """The highest with nothing else on its GPUs."""
    gpus: tuple[GpuVerdict, ...] = ()
