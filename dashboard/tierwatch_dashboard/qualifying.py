"""Which tiers a machine would serve if it were assigned to them, and what would lift it. Pure.

The same figures as a verdict's, without regard to time: an assignment is a decision about what a
machine is, and a verdict one about how long something has lasted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from tierwatch_agent.snapshot import GpuSample, MachineSnapshot
from tierwatch_agent.tiers import Tier, is_class
from tierwatch_agent.wording import GIBIBYTE, class_of, gib, lift
from tierwatch_agent.words import say, semicolons
from tierwatch_dashboard.assignment import Slot, slots
from tierwatch_dashboard.fitness import assess, needs_nothing
from tierwatch_dashboard.inventory import Inventory, Machine
from tierwatch_dashboard.reasons import sources_down

Kind = Literal["now", "emptied", "unknown", "never"]
BEST_FIRST: tuple[Kind, ...] = ("now", "emptied", "unknown", "never")
"""``emptied``: the card is of the class, and others hold what the tier needs."""

SOLD_GB = (2, 3, 4, 6, 8, 10, 11, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 141, 180, 192, 288)
"""Sizes that cards are sold with."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Whether something serves a tier; clauses without full stops."""

    kind: Kind
    words: str
    """ "can serve now", "never: 12 GB card"."""
    lift: str | None = None
    """What would let it serve: "ending game.exe (pid 4711)", "another 4 GB of card"; None: nothing
    is needed, or nothing is known."""


Answers = Mapping[str, Answer]
"""Tier to its answer."""


def answers(
    machine: Machine, inventory: Inventory, snapshot: MachineSnapshot | None, *, silent: bool
) -> Answers:
    """For each tier what a machine would be if all of it were assigned to that tier.

    ``silent``: it is down, and what it told last holds no longer.
    """
    found: dict[str, Answer] = {}
    for tier in inventory.tiers:
        asked = msgspec.structs.replace(machine, tier=tier.name, gpu_tiers={})
        answer = duty(asked, inventory, snapshot, silent=silent)
        found[tier.name] = answer or _unheard(None)
    return found


def duty(
    machine: Machine, inventory: Inventory, snapshot: MachineSnapshot | None, *, silent: bool
) -> Answer | None:
    """Whether a machine serves what it is assigned to; None: it is not assigned, or never heard."""
    assigned = [
        (slot, _of_slot(slot, inventory.tier(slot.tier), snapshot, silent=silent))
        for slot in slots(machine, inventory, snapshot)
        if slot.tier is not None
    ]
    bound = [pair for pair in assigned if pair[0].own_tier or machine.gpus == "all"]
    free = [pair for pair in assigned if pair not in bound]
    if free:
        bound.append(min(free, key=_rank))
    if not bound:
        return None
    worst = max(bound, key=_rank)[1].kind
    return _together([pair for pair in bound if pair[1].kind == worst], len(assigned))


def of_gpu(gpu: GpuSample, tier: Tier, *, silent: bool = False) -> Answer:
    """Whether one GPU serves a tier."""
    fit = assess(gpu.index, gpu, tier)
    if fit.kind == "never":
        return _never(gpu, tier)
    if silent:
        return _unheard(gpu)
    match fit.kind:
        case "fits" | "tight":
            return Answer(kind="now", words=say("can serve now"))
        case "short":
            return _emptied(gpu, tier)
        case "unsure":
            have, need = gib(fit.available_bytes or 0), gib(tier.floor_bytes)
            words = say(
                "not known: at least {have} available, it needs {need}", have=have, need=need
            )
        case "dead":
            words = say("not known: the GPU does not answer")
        case _:
            words = say("not known: the GPU does not tell its memory")
    return Answer(kind="unknown", words=words)


def card_gb(total_bytes: int) -> int:
    """The size that a card of this memory is sold with, in GB.

    Cards report from that many 10^9 to that many 2^30 bytes; what no such size fits is rounded.
    """
    for size in SOLD_GB:
        if size * 10**9 <= total_bytes <= size * GIBIBYTE:
            return size
    return round(total_bytes / GIBIBYTE)


def _of_slot(slot: Slot, tier: Tier, snapshot: MachineSnapshot | None, *, silent: bool) -> Answer:
    if slot.gpu is not None:
        return of_gpu(slot.gpu, tier, silent=silent)
    if silent:
        return _unheard(None)
    if needs_nothing(tier) and not slot.index:
        return Answer(kind="now", words=say("can serve now"))
    if snapshot is not None and sources_down(snapshot, but="host"):
        return Answer(kind="unknown", words=say("not known: no GPU answers"))
    card = say("a {size} card", size=class_of(tier))
    return Answer(kind="never", words=say("never: no GPU"), lift=card)


def _emptied(gpu: GpuSample, tier: Tier) -> Answer:
    remedy = lift(gpu, tier)
    if remedy is None:
        words = say("only when emptied: who holds its memory is not known")
        return Answer(kind="emptied", words=words, lift=say("emptying the card"))
    words = say("only when emptied: {remedy} would do", remedy=remedy)
    return Answer(kind="emptied", words=words, lift=remedy)


def _never(gpu: GpuSample, tier: Tier) -> Answer:
    memory = gpu.memory
    total = memory.total_bytes if memory else 0
    if memory and memory.unified:
        return Answer(kind="never", words=say("never: it shares {size}", size=gib(total)))
    size = card_gb(total)
    if is_class(tier, total):
        words = say("never: the driver keeps too much of its {size} GB card", size=size)
        return Answer(kind="never", words=words, lift=say("a larger allowance of the tier"))
    more = say("another {size} GB of card", size=f"{tier.vram_gb - size:g}")
    return Answer(kind="never", words=say("never: {size} GB card", size=size), lift=more)


def _unheard(gpu: GpuSample | None) -> Answer:
    if gpu is None:
        return Answer(kind="unknown", words=say("not known: the machine is not heard"))
    words = say("not known: the machine is not heard; its card is large enough")
    return Answer(kind="unknown", words=words)


def _rank(pair: tuple[Slot, Answer]) -> int:
    return BEST_FIRST.index(pair[1].kind)


def _together(worst: Sequence[tuple[Slot, Answer]], count: int) -> Answer:
    """One answer for those of ``count`` GPUs that decide."""
    first = worst[0][1]
    same = all(answer.words == first.words for _, answer in worst)
    if first.kind == "now" or count == 1 or (same and len(worst) == count):
        return first
    return Answer(
        kind=first.kind,
        words=semicolons([_on(slot, answer.words) for slot, answer in worst]),
        lift=_lifts((slot, answer.lift) for slot, answer in worst),
    )


def _lifts(pairs: Iterable[tuple[Slot, str | None]]) -> str | None:
    found = [_on(slot, words) for slot, words in pairs if words]
    return semicolons(found) if found else None


def _on(slot: Slot, words: str) -> str:
    return say("GPU {gpu}: {words}", gpu=slot.index, words=words) if slot.index else words
