"""The judgement of one GPU against the tier it is assigned to, as time passes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from tierwatch_agent.snapshot import GpuSample
from tierwatch_agent.tiers import Tier, can_serve, could_serve
from tierwatch_agent.words import say
from tierwatch_dashboard.assignment import Slot
from tierwatch_dashboard.causes import Blame, Cause, blame
from tierwatch_dashboard.fitness import Fit, assess, available_bytes, is_lower_bound
from tierwatch_dashboard.hysteresis import Spell, advance
from tierwatch_dashboard.inventory import Inventory, Policy
from tierwatch_dashboard.reasons import headline, reasons, roughly, sentence, troubles

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
    cause: Cause | None = None
    """Why it does not fully serve its tier; None: it does."""
    culprit: str | None = None
    """The program that holds the most, where programs are the cause: "game.exe"."""
    reasons: tuple[str, ...] = ()


class Spells(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of one GPU: how long it has been in trouble, against which floor."""

    floor_bytes: int
    short: Spell | None = None
    """Short of its floor, or dead: leads to ``below``."""
    risk: Spell | None = None
    """Anything that keeps it from being ``ok``."""
    blame: Blame | None = None
    """What it is that keeps it from serving its tier."""


class Judged(NamedTuple):
    """One GPU, judged."""

    slot: Slot
    verdict: GpuVerdict
    spells: Spells | None = None
    """What to remember; None: nothing, of one that is not assigned."""
    fit: Fit | None = None
    wait: str | None = None

    @property
    def headline(self) -> str:
        """Its verdict in one sentence, made only for the GPU that its machine is judged by."""
        return headline(self.fit, self.verdict.state, self.wait) if self.fit else ""


def judge_gpu(slot: Slot, inventory: Inventory, before: Spells | None, now: float) -> Judged:
    """The verdict of one GPU. ``before``: what was remembered at the last."""
    able = serves(slot.gpu, inventory.tiers)
    if slot.tier is None:
        return Judged(slot, _unassigned(slot, able))
    policy = inventory.policy
    fit = assess(
        slot.index,
        slot.gpu,
        inventory.tier(slot.tier),
        margin_bytes=policy.margin_bytes,
        troubles=tuple(troubles(slot.gpu)) if slot.gpu else slot.absence,
    )
    spells = _advanced(fit, before, policy, now)
    state = _state(fit, spells, policy, now)
    wait = _wait(fit, state, spells, policy, now)
    verdict = GpuVerdict(
        gpu=slot.index,
        uuid=slot.gpu.uuid if slot.gpu else "",
        state=state,
        tier=slot.tier,
        floor_bytes=fit.tier.floor_bytes,
        available_bytes=fit.available_bytes,
        headroom_bytes=fit.headroom_bytes,
        lower_bound=fit.lower_bound,
        can_serve=_name(able[0]),
        could_serve=_name(able[1]),
        cause=spells.blame.cause if spells.blame else None,
        culprit=spells.blame.culprit if spells.blame else None,
        reasons=tuple(reasons(fit, able[0], wait)),
    )
    return Judged(slot, verdict, spells, fit, wait)


def serves(gpu: GpuSample | None, tiers: Sequence[Tier]) -> tuple[Tier | None, Tier | None]:
    """The highest tier that a GPU serves now, and with nothing else on it."""
    could = None if gpu is not None and gpu.memory is None else could_serve(tiers, gpu)
    if gpu is not None and gpu.state == "asleep" and could is not None:
        return could, could
    return can_serve(tiers, gpu), could


def lasting(spells: Spells, policy: Policy, now: float) -> bool:
    """Whether a GPU has been short for long enough to count as ``below``."""
    return spells.short is not None and spells.short.seconds(now) >= policy.below_for_seconds


def _unassigned(slot: Slot, able: tuple[Tier | None, Tier | None]) -> GpuVerdict:
    gpu = slot.gpu
    return GpuVerdict(
        gpu=slot.index,
        uuid=gpu.uuid if gpu else "",
        state="unassigned",
        available_bytes=available_bytes(gpu),
        lower_bound=is_lower_bound(gpu),
        can_serve=_name(able[0]),
        could_serve=_name(able[1]),
        reasons=tuple(sentence(trouble) for trouble in troubles(gpu)) if gpu else (),
    )


def _advanced(fit: Fit, before: Spells | None, policy: Policy, now: float) -> Spells:
    # Against another floor, earlier trouble says nothing.
    known = before if before and before.floor_bytes == fit.tier.floor_bytes else None
    short = fit.kind in ("short", "dead", "never")
    risk = fit.kind != "fits" or bool(fit.troubles)
    clear_for = policy.clear_for_seconds
    return Spells(
        floor_bytes=fit.tier.floor_bytes,
        short=advance(known.short if known else None, short, now, clear_for),
        risk=advance(known.risk if known else None, risk, now, clear_for),
        blame=blame(fit, known.blame if known else None, now, clear_for),
    )


def _state(fit: Fit, spells: Spells, policy: Policy, now: float) -> State:
    if fit.kind == "never" or lasting(spells, policy, now):
        return "below"
    return "at_risk" if spells.risk else "ok"


def _wait(fit: Fit, state: State, spells: Spells, policy: Policy, now: float) -> str | None:
    """How long the figures have called for another state: "for 12 s, counts after 60 s"."""
    if fit.kind in ("short", "dead"):
        if state == "below" or spells.short is None:
            return None
        seconds, needed = spells.short.seconds(now), policy.below_for_seconds
    else:
        held = spells.short if state == "below" else spells.risk
        if held is None or held.relief_since is None:
            return None
        seconds, needed = now - held.relief_since, policy.clear_for_seconds
    if seconds < 1:
        return say("as of now, counts after {needed}", needed=roughly(needed))
    so_far = roughly(seconds)
    return say("for {so_far}, counts after {needed}", so_far=so_far, needed=roughly(needed))


def _name(tier: Tier | None) -> str | None:
    return tier.name if tier else None
