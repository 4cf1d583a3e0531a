"""What the tiers page shows: what each tier asks, and which machines would serve it. Pure.

Machines with the same card, the same answers and the same assignment stand in one line, so that a
thousand machines are as readable as ten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from tierwatch_agent.tiers import Tier, ladder
from tierwatch_agent.wording import class_of, gib
from tierwatch_agent.words import commas, known, say
from tierwatch_dashboard.inventory import Inventory, Machine
from tierwatch_dashboard.qualifying import BEST_FIRST, Answer, Answers, Kind, duty

if TYPE_CHECKING:
    from tierwatch_dashboard.fleet.state import MachineView

KIND_WORDS: dict[Kind, str] = {
    "now": say("now"),
    "emptied": say("when emptied"),
    "unknown": say("not known"),
    "never": say("never"),
}
LISTED = 60
"""Machines of one line that are named, each with its lift; the others are counted."""


class TierLine(msgspec.Struct, frozen=True, kw_only=True):
    """One tier; counts of machines."""

    name: str
    asks: str
    purpose: str
    assigned: int
    counts: tuple[tuple[Kind, int], ...]


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """How a line's machines stand to one tier."""

    tier: str
    kind: Kind
    words: str
    assigned: bool


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One machine of a line, and what would lift it; None: nothing is in its way."""

    id: str
    lift: str | None


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Machines that are alike."""

    card: str
    cells: tuple[Cell, ...]
    count: int
    members: tuple[Member, ...]
    lift: str | None
    """What would lift each of them, where that is the same."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which machines to show; None: all."""

    tier: str | None = None
    kind: Kind | None = None


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """The page's live parts."""

    sentence: str
    tiers: tuple[TierLine, ...]
    groups: tuple[Group, ...]
    machines: int
    """Those that the inventory has."""


def sheet(
    views: Sequence[MachineView],
    inventory: Inventory,
    answers: Mapping[str, Answers],
    asked: Asked,
) -> Sheet:
    """Everything that is shown; ``answers``: by machine."""
    highest_first = tuple(reversed(ladder(inventory.tiers)))
    shown = [
        view
        for view in views
        if asked.tier is None
        or asked.kind is None
        or answers[view.machine.id][asked.tier].kind == asked.kind
    ]
    columns = [tier for tier in highest_first if asked.tier in (None, tier.name)]
    return Sheet(
        sentence=_sentence(views, inventory),
        tiers=tuple(_tier(tier, views, answers) for tier in highest_first),
        groups=_groups(shown, columns, inventory, answers),
        machines=len(views),
    )


def asks(tier: Tier) -> str:
    """What a tier asks of a GPU."""
    if tier.floor_bytes == 0:
        return say("no GPU") if tier.vram_gb == 0 else say("a {size} card", size=class_of(tier))
    return say(
        "a {size} card with {floor} available", size=class_of(tier), floor=gib(tier.floor_bytes)
    )


def said_of(tier: Tier) -> str:
    """A tier in one line."""
    if not tier.purpose:
        return say("{tier}: {asks}", tier=tier.name, asks=asks(tier))
    return say(
        "{tier}: {asks}, for {purpose}",
        tier=tier.name,
        asks=asks(tier),
        purpose=known(tier.purpose),
    )


def _sentence(views: Sequence[MachineView], inventory: Inventory) -> str:
    assigned = [view for view in views if view.machine.duty and not view.machine.maintenance]
    if not assigned:
        return say("No machine is assigned to a tier yet")
    kinds = Counter(
        answer.kind if answer else "unknown"
        for answer in (
            duty(v.machine, inventory, v.snapshot, silent=v.verdict.state == "down")
            for v in assigned
        )
    )
    return say(
        "{able} of {all} assigned machines can serve their tier now",
        able=kinds["now"],
        all=len(assigned),
    )


def _tier(tier: Tier, views: Sequence[MachineView], answers: Mapping[str, Answers]) -> TierLine:
    kinds = Counter(answers[view.machine.id][tier.name].kind for view in views)
    return TierLine(
        name=tier.name,
        asks=asks(tier),
        purpose=known(tier.purpose),
        assigned=sum(tier.name in _assigned(view.machine) for view in views),
        counts=tuple((kind, kinds[kind]) for kind in BEST_FIRST),
    )


def _groups(
    views: Iterable[MachineView],
    columns: Sequence[Tier],
    inventory: Inventory,
    answers: Mapping[str, Answers],
) -> tuple[Group, ...]:
    by_key: dict[tuple[object, ...], list[MachineView]] = {}
    for view in views:
        found = answers[view.machine.id]
        kinds = tuple(found[tier.name].kind for tier in columns)
        assigned = tuple(tier.name in _assigned(view.machine) for tier in columns)
        key = (_card(view), kinds, assigned)
        by_key.setdefault(key, []).append(view)
    alone = columns[0] if len(columns) == 1 else None
    groups = (_group(each, columns, inventory, answers, alone) for each in by_key.values())
    return tuple(sorted(groups, key=_order))


def _group(
    views: Sequence[MachineView],
    columns: Sequence[Tier],
    inventory: Inventory,
    answers: Mapping[str, Answers],
    alone: Tier | None,
) -> Group:
    views = sorted(views, key=lambda view: view.machine.id)
    members = tuple(
        Member(
            id=view.machine.id,
            lift=_lift(view.machine, answers[view.machine.id], inventory, alone),
        )
        for view in views
    )
    first, machine = answers[views[0].machine.id], views[0].machine
    return Group(
        card=_card(views[0]),
        cells=tuple(
            Cell(
                tier=tier.name,
                kind=first[tier.name].kind,
                words=KIND_WORDS[first[tier.name].kind],
                assigned=tier.name in _assigned(machine),
            )
            for tier in columns
        ),
        count=len(members),
        members=members[:LISTED],
        lift=members[0].lift if len({member.lift for member in members}) == 1 else None,
    )


def _lift(
    machine: Machine, answers: Answers, inventory: Inventory, alone: Tier | None
) -> str | None:
    """What would have a machine serve the tier in question.

    That is the one asked for; else the one that it is assigned to and does not serve; else the
    next that it does not serve.
    """
    lowest_first = ladder(inventory.tiers)
    if alone is not None:
        wanted = [alone]
    else:
        own = [tier for tier in lowest_first if tier.name in _assigned(machine)]
        wanted = [*own, *lowest_first]
    for tier in wanted:
        answer = answers[tier.name]
        if answer.kind != "now":
            return say("{tier}: {what}", tier=tier.name, what=_what(answer))
    return None


def _what(answer: Answer) -> str:
    if answer.kind == "unknown" or answer.lift is None:
        return answer.words
    return answer.lift


def _assigned(machine: Machine) -> frozenset[str]:
    own = machine.gpu_tiers.values()
    return frozenset(own) | ({machine.tier} if machine.tier else frozenset[str]())


def _card(view: MachineView) -> str:
    if view.snapshot is None:
        return say("card not known yet")
    names = Counter(gpu.name for gpu in view.snapshot.gpus if not gpu.partitioned)
    if not names:
        return say("no GPU")
    return commas(
        [
            say("{count} × {card}", count=count, card=name) if count > 1 else name
            for name, count in names.items()
        ]
    )


def _order(group: Group) -> tuple[object, ...]:
    """The ablest first, and of those alike the most."""
    kinds = tuple(BEST_FIRST.index(cell.kind) for cell in group.cells)
    return (kinds, -group.count, group.card, group.members[0].id)
