"""How the studio stands: the fleet in one sentence, and each tier's machines. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from tierwatch_agent.tiers import Tier, ladder
from tierwatch_dashboard.last_hour import Made
from tierwatch_dashboard.verdict import State
from tierwatch_dashboard.web.output import Output, by_tier

if TYPE_CHECKING:
    from tierwatch_dashboard.fleet.state import MachineView

SERVING: frozenset[State] = frozenset({"ok", "at_risk"})
BESIDE: frozenset[State] = frozenset({"unassigned", "maintenance"})


class TierStanding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How many machines a tier was given, how many of them serve it now, and what they make."""

    tier: str
    vram_gb: float
    floor_bytes: int
    assigned: int
    able: int
    short: int
    images: int | None = None
    """Made in the last hour; None: no generation server of it is known."""
    pixels: int | None = None
    waiting: int | None = None
    """Jobs in its servers' queues."""
    wait_seconds: float | None = None
    """How long its servers need for those, shared among them."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The studio at one moment."""

    sentence: str
    tiers: tuple[TierStanding, ...]
    """The highest first; tiers with no machine included."""

    @property
    def makes(self) -> bool:
        """Whether anything is known of what the studio makes."""
        return any(tier.images is not None for tier in self.tiers)


def standing(views: Sequence[MachineView], tiers: Sequence[Tier], made: Made) -> Standing:
    """The sentence and the tiers for these machines."""
    outputs = by_tier(views, made)
    return Standing(
        sentence=sentence(Counter(view.verdict.state for view in views)),
        tiers=tuple(
            _of_tier(tier, views, outputs.get(tier.name)) for tier in reversed(ladder(tiers))
        ),
    )


def sentence(states: Counter[State]) -> str:
    """The fleet in plain words: "9 of 12 machines serve their tier; 2 cannot; 1 is down."."""
    parts = [
        *_judged(states),
        _are(states["unassigned"], "assigned to no tier"),
        _are(states["maintenance"], "in maintenance"),
    ]
    return "; ".join(part for part in parts if part) + "." if states.total() else "No machine yet."


def _judged(states: Counter[State]) -> list[str]:
    able = sum(states[state] for state in SERVING)
    judged = states.total() - sum(states[state] for state in BESIDE)
    risk = f", {states['at_risk']} at risk" if states["at_risk"] else ""
    if not judged:
        return []
    if judged == 1:
        return [f"The one machine {_alone(states)}"]
    if able == judged:
        return [f"All {judged} machines serve their tier{risk}"]
    if able == 0:
        serving = f"None of {judged} machines serves its tier"
    elif able == 1:
        serving = f"1 of {judged} machines serves its tier"
    else:
        serving = f"{able} of {judged} machines serve their tier"
    return [
        serving + risk,
        f"{states['below']} cannot" if states["below"] else "",
        _are(states["stalled"], "stalled"),
        _are(states["down"], "down"),
    ]


def _alone(states: Counter[State]) -> str:
    words: dict[State, str] = {
        "down": "is down",
        "stalled": "is stalled",
        "below": "cannot serve its tier",
        "at_risk": "serves its tier, at risk",
        "ok": "serves its tier",
    }
    return next(said for state, said in words.items() if states[state])


def _are(count: int, what: str) -> str:
    if not count:
        return ""
    return f"{count} {'is' if count == 1 else 'are'} {what}"


def _of_tier(tier: Tier, views: Sequence[MachineView], output: Output | None) -> TierStanding:
    given = [v for v in views if v.verdict.state not in BESIDE and tier.name in _tiers_of(v)]
    able = sum(_serves(view, tier.name) for view in given)
    return TierStanding(
        tier=tier.name,
        vram_gb=tier.vram_gb,
        floor_bytes=tier.floor_bytes,
        assigned=len(given),
        able=able,
        short=len(given) - able,
        images=output.images if output else None,
        pixels=output.pixels if output else None,
        waiting=output.waiting if output else None,
        wait_seconds=output.wait_seconds if output else None,
    )


def _tiers_of(view: MachineView) -> set[str]:
    own = {view.machine.tier} if view.machine.tier else set[str]()
    return own | set(view.machine.gpu_tiers.values())


def _serves(view: MachineView, tier: str) -> bool:
    if view.verdict.state in ("down", "stalled"):
        return False
    judged = [gpu.state in SERVING for gpu in view.verdict.gpus if gpu.tier == tier]
    if not judged:
        return view.verdict.state in SERVING
    return any(judged) if view.machine.gpus == "any" else all(judged)
