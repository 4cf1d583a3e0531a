"""What is written down of a machine whenever its verdict changes: state, tier or cause. Pure."""

from __future__ import annotations

import msgspec

from tierwatch_agent.words import say
from tierwatch_dashboard.causes import Cause
from tierwatch_dashboard.inventory import Machine
from tierwatch_dashboard.verdict import Memory, State, Verdict


class StateChange(msgspec.Struct, frozen=True, kw_only=True):
    """A machine's verdict at the moment it changed. Unix seconds."""

    machine: str
    at: float
    state: State
    headline: str
    can_serve: str | None = None
    tier: str | None = None
    """The tier that it was assigned to then; None: to none, or not told."""
    cause: Cause | None = None
    """Why it did not fully serve that tier; None: it did, or not told."""
    culprit: str | None = None
    """The program that held the most, where programs were the cause."""


def change(
    machine: Machine, verdict: Verdict, before: Memory | None, after: Memory, now: float
) -> StateChange | None:
    """What is to be written after a judgement; None where nothing changed."""
    if before is not None and _told(before) == _told(after):
        return None
    return StateChange(
        machine=machine.id,
        at=now,
        state=verdict.state,
        headline=verdict.headline,
        can_serve=verdict.can_serve,
        tier=machine.duty,
        cause=verdict.cause,
        culprit=verdict.culprit,
    )


def gone(machine: str, at: float) -> StateChange:
    """That a machine is no longer in the inventory."""
    headline = say("No longer in the inventory")
    return StateChange(machine=machine, at=at, state="unassigned", headline=headline)


def _told(memory: Memory) -> object:
    return memory.state, memory.tier, memory.cause
