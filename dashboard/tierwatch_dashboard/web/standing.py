"""How the studio stands: the fleet in one sentence, and each tier's machines. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from tierwatch_agent.tiers import Tier, ladder
from tierwatch_agent.words import say, say_many, semicolons
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
    given: dict[str, list[MachineView]] = {tier.name: [] for tier in tiers}
    for view in views:
        if view.verdict.state not in BESIDE:
            for tier in tiers_of(view):
                given.setdefault(tier, []).append(view)
    return Standing(
        sentence=sentence(Counter(view.verdict.state for view in views)),
        tiers=tuple(
            _of_tier(tier, given[tier.name], outputs.get(tier.name))
            for tier in reversed(ladder(tiers))
        ),
    )


def sentence(states: Counter[State]) -> str:
    """The fleet in plain words: "9 of 12 machines serve their tier; 2 cannot; 1 is down."."""
    parts = [
        *_judged(states),
        *_where(
            states["unassigned"],
            say_many(
                "{count} is assigned to no tier",
                "{count} are assigned to no tier",
                states["unassigned"],
            ),
        ),
        *_where(
            states["maintenance"],
            say_many(
                "{count} is in maintenance", "{count} are in maintenance", states["maintenance"]
            ),
        ),
    ]
    if not states.total():
        return say("No machine yet.")
    return say("{clauses}.", clauses=semicolons(parts))


def _judged(states: Counter[State]) -> list[str]:
    able = sum(states[state] for state in SERVING)
    judged = states.total() - sum(states[state] for state in BESIDE)
    if not judged:
        return []
    if judged == 1:
        return [next(said for state, said in _ALONE.items() if states[state])]
    if able == judged:
        return [_risking(states, say("All {count} machines serve their tier", count=judged))]
    if able == 0:
        serving = say("None of {count} machines serves its tier", count=judged)
    else:
        serving = say_many(
            "{count} of {all} machines serves its tier",
            "{count} of {all} machines serve their tier",
            able,
            all=judged,
        )
    return [
        _risking(states, serving),
        *_where(states["below"], say("{count} cannot", count=states["below"])),
        *_where(
            states["stalled"],
            say_many("{count} is stalled", "{count} are stalled", states["stalled"]),
        ),
        *_where(states["down"], say_many("{count} is down", "{count} are down", states["down"])),
    ]


_ALONE: dict[State, str] = {
    "down": say("The one machine is down"),
    "stalled": say("The one machine is stalled"),
    "below": say("The one machine cannot serve its tier"),
    "at_risk": say("The one machine serves its tier, at risk"),
    "ok": say("The one machine serves its tier"),
}


def _risking(states: Counter[State], serving: str) -> str:
    if not states["at_risk"]:
        return serving
    return say("{serving}, {count} at risk", serving=serving, count=states["at_risk"])


def _where(count: int, words: str) -> list[str]:
    return [words] if count else []


def _of_tier(tier: Tier, given: Sequence[MachineView], output: Output | None) -> TierStanding:
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


def tiers_of(view: MachineView) -> set[str]:
    """The tiers that a machine or a GPU of it is assigned to."""
    own = {view.machine.tier} if view.machine.tier else set[str]()
    return own | set(view.machine.gpu_tiers.values())


def _serves(view: MachineView, tier: str) -> bool:
    if view.verdict.state in ("down", "stalled"):
        return False
    judged = [gpu.state in SERVING for gpu in view.verdict.gpus if gpu.tier == tier]
    if not judged:
        return view.verdict.state in SERVING
    return any(judged) if view.machine.gpus == "any" else all(judged)
