"""Snapshot, assignment and policy to a verdict: a state, the reasons in words, what it can serve.

Pure: what must be remembered between two judgements (since when a figure is bad) goes in and comes
out as a value, ``Memory``. How time enters:

- A card that is not of its tier's class is ``below`` at once: that is "never", and does not pass.
- A GPU that is short of its floor, does not answer or is not there is ``at_risk`` first, and
  ``below`` once that has lasted ``below_for_seconds``. A GPU that does not answer serves no tier
  that needs one, so a machine with a dead card is below its assignment, with the cause in words.
- A lower bound under the floor, memory that is not known, headroom under the margin, heat, a source
  of the agent that is down: ``at_risk``.
- Both end when all is well for ``clear_for_seconds`` without a break; a shorter relief neither ends
  them nor sets the clock back. Whoever assigns another tier starts the clock anew.
- A job that does not move makes its machine ``stalled`` for as long as the agent says so: the agent
  judges by the job's own pace, and has waited already. A generation server that does not answer is
  ``at_risk``. An unassigned machine stays so, as nobody counts on it; its headline says the stall.
- Figures hold until the next ones come. After ``stale_after_seconds`` the reasons say how old they
  are; after ``down_after_seconds`` the machine is ``down`` and what they said is void: what was
  ``below`` stays so until fresh figures say otherwise, what was only on its way there starts anew.
- Silence counts from when somebody listened: a dashboard that was stopped or suspended gives each
  machine ``down_after_seconds`` to be heard, and holds the state that it knew meanwhile. An agent
  that has just started gets as long for its sources' first answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tierwatch_agent.snapshot import MachineSnapshot
from tierwatch_agent.tiers import Tier, ladder
from tierwatch_agent.words import capital, inside, say, semicolons
from tierwatch_dashboard.assignment import Slot, slots
from tierwatch_dashboard.causes import Cause
from tierwatch_dashboard.gpu_verdict import (
    WORST_FIRST,
    GpuVerdict,
    Judged,
    Spells,
    State,
    judge_gpu,
    lasting,
    serves,
)
from tierwatch_dashboard.inventory import Inventory, Machine, Policy
from tierwatch_dashboard.reasons import because, roughly, sentence, silence, sources_down
from tierwatch_dashboard.stalls import servers_down, stalled

__all__ = ["WORST_FIRST", "GpuVerdict", "Memory", "State", "Verdict", "judge", "passes"]

WATCH_GAP_SECONDS = 60.0
"""Judgements further apart than this mean that the dashboard was not watching."""

_RANK = {state: rank for rank, state in enumerate(WORST_FIRST)}


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
    cause: Cause | None = None
    """Why it does not fully serve its tier; None: it does, or none is asked of it."""
    culprit: str | None = None
    """The program that holds the most, where programs are the cause: "game.exe"."""
    gpus: tuple[GpuVerdict, ...] = ()


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a machine between two judgements: plain data, to be stored as JSON."""

    state: State
    since: float
    judged_at: float
    watching_since: float
    """Start of the dashboard's uninterrupted watch: silence before it was its own."""
    heard: bool = False
    """Whether the machine was heard in this watch."""
    heard_at: float | None = None
    """When it was last heard, in whichever watch."""
    tier: str | None = None
    cause: Cause | None = None
    culprit: str | None = None
    gpus: dict[str, Spells] = {}
    """By the GPU's uuid."""


def judge(
    machine: Machine,
    inventory: Inventory,
    snapshot: MachineSnapshot | None,
    heard_at: float | None,
    error: str | None,
    memory: Memory | None,
    now: float,
) -> tuple[Verdict, Memory]:
    """The verdict of a machine, and what to remember of it for the next.

    Args:
        machine: What the machine is assigned to.
        inventory: Tiers and policy in force.
        snapshot: The last one received, None before the first.
        heard_at: When this dashboard last received a new one, by its own clock.
        error: Why the last poll failed, in words.
        memory: What the last judgement gave, None at the first.
        now: This moment, by the dashboard's clock.
    """
    policy = inventory.policy
    memory = _resumed(machine, memory, heard_at, policy, now)
    silent = now - max(memory.watching_since, heard_at or 0.0)
    spells = memory.gpus
    if silent >= policy.down_after_seconds:
        verdict = _down(machine, inventory, snapshot, memory, error, now)
        spells = _settled(spells, policy, now)
    elif snapshot is None or heard_at is None:
        why = because(say("Not heard yet since the dashboard started"), error)
        verdict = _held(machine, memory, why, may_be_down=True)
    elif _is_starting(snapshot, policy):
        verdict = _held(machine, memory, say("Its agent has just started: no figures yet"))
    else:
        verdict, spells = _heard(machine, inventory, snapshot, memory, now)
        if silent >= policy.stale_after_seconds:
            old = because(say("last heard {span} ago", span=roughly(silent)), error)
            verdict = msgspec.structs.replace(verdict, reasons=(sentence(old), *verdict.reasons))
    if machine.maintenance:
        headline = say("In maintenance; {state}", state=inside(verdict.headline))
        verdict = msgspec.structs.replace(
            verdict, state="maintenance", headline=headline, cause=None, culprit=None
        )
    since = memory.since if memory.state == verdict.state else now
    return (
        msgspec.structs.replace(verdict, since=since),
        msgspec.structs.replace(
            memory,
            state=verdict.state,
            since=since,
            tier=machine.duty,
            cause=verdict.cause,
            culprit=verdict.culprit,
            gpus=spells,
        ),
    )


def passes(memory: Memory) -> bool:
    """Whether time alone may change the verdict of a machine that is heard.

    A trouble or a relief may count only once it has lasted.
    """
    return any(spells.short or spells.risk for spells in memory.gpus.values())


def _resumed(
    machine: Machine, memory: Memory | None, heard_at: float | None, policy: Policy, now: float
) -> Memory:
    """The memory brought to this moment, with the watch begun anew where it was interrupted."""
    if memory is None:
        state: State = "at_risk" if _is_assigned(machine) else "unassigned"
        memory = Memory(
            state=state,
            since=now,
            judged_at=now,
            watching_since=now,
            cause="unknown" if state == "at_risk" else None,
        )
    away = not 0 <= now - memory.judged_at <= WATCH_GAP_SECONDS
    restarted = heard_at is None and memory.heard
    return msgspec.structs.replace(
        memory,
        judged_at=now,
        watching_since=now if away or restarted else memory.watching_since,
        heard=heard_at is not None,
        heard_at=memory.heard_at if heard_at is None else heard_at,
        gpus=_settled(memory.gpus, policy, memory.judged_at) if away else memory.gpus,
    )


def _settled(spells: Mapping[str, Spells], policy: Policy, now: float) -> dict[str, Spells]:
    """What of a machine's troubles outlasts a time without figures: what counted already."""
    return {key: known for key, known in spells.items() if lasting(known, policy, now)}


def _is_assigned(machine: Machine) -> bool:
    return bool(machine.tier or machine.gpu_tiers)


def _is_starting(snapshot: MachineSnapshot, policy: Policy) -> bool:
    """Whether an agent is so young that a source has not had the time to answer at all."""
    return snapshot.taken_at - snapshot.started_at < policy.down_after_seconds and any(
        source.state == "down" and source.last_success_at is None and not source.failures
        for source in snapshot.sources
    )


def _held(machine: Machine, memory: Memory, why: str, *, may_be_down: bool = False) -> Verdict:
    """The state that was known, while nothing is."""
    known = ("stalled", "below", "at_risk", "ok", "down" if may_be_down else "ok")
    state = memory.state if memory.state in known else "at_risk"
    assigned = _is_assigned(machine)
    cause = memory.cause if state == memory.state else "unknown" if state == "at_risk" else None
    return Verdict(
        machine=machine.id,
        state=state if assigned else "unassigned",
        since=memory.since,
        cause=cause if assigned else None,
        culprit=memory.culprit if assigned and cause == memory.cause else None,
        headline=why,
        reasons=(sentence(why),),
        tier=machine.tier,
    )


def _down(
    machine: Machine,
    inventory: Inventory,
    snapshot: MachineSnapshot | None,
    memory: Memory,
    error: str | None,
    now: float,
) -> Verdict:
    """No fresh snapshot: what it serves is not known, only what its cards could."""
    words = silence(memory.heard_at, error, now)
    look = say("Is the machine on, and does tierwatch-agent run at {url}?", url=machine.url)
    gpus = tuple(_silent_gpu(slot, inventory) for slot in slots(machine, inventory, snapshot))
    return Verdict(
        machine=machine.id,
        state="down",
        since=now,
        headline=capital(words),
        reasons=(sentence(words), look),
        tier=machine.tier,
        could_serve=_highest(inventory.tiers, (gpu.could_serve for gpu in gpus)),
        cause="down",
        gpus=gpus,
    )


def _silent_gpu(slot: Slot, inventory: Inventory) -> GpuVerdict:
    could = serves(slot.gpu, inventory.tiers)[1]
    return GpuVerdict(
        gpu=slot.index,
        uuid=slot.gpu.uuid if slot.gpu else "",
        state="down",
        tier=slot.tier,
        floor_bytes=inventory.tier(slot.tier).floor_bytes if slot.tier else None,
        could_serve=could.name if could else None,
    )


def _heard(
    machine: Machine, inventory: Inventory, snapshot: MachineSnapshot, memory: Memory, now: float
) -> tuple[Verdict, dict[str, Spells]]:
    """The verdict of figures that are fresh."""
    gpus: list[Judged] = []
    spells = _settled(memory.gpus, inventory.policy, now)
    for slot in slots(machine, inventory, snapshot):
        judged = judge_gpu(slot, inventory, memory.gpus.get(slot.key), now)
        gpus.append(judged)
        if judged.spells:
            spells[slot.key] = judged.spells
    deciding = _deciding(machine, [gpu for gpu in gpus if gpu.verdict.state != "unassigned"])
    told = sorted(
        (gpu for gpu in gpus if gpu.verdict.reasons),
        key=lambda gpu: (gpu is not deciding, _order(gpu)),
    )
    reasons = list(dict.fromkeys(reason for gpu in told for reason in gpu.verdict.reasons))
    down = [clause for clause in sources_down(snapshot) if not _is_told(clause, reasons)]
    reasons += [say("The agent lacks a source: {source}.", source=clause) for clause in down]
    silent = servers_down(snapshot)
    stall, why = stalled(snapshot)
    reasons = [*why, *reasons, *map(sentence, silent)]
    verdicts = [gpu.verdict for gpu in gpus]
    can = _highest(inventory.tiers, (verdict.can_serve for verdict in verdicts))
    state: State = deciding.verdict.state if deciding else "unassigned"
    cause = deciding.verdict.cause if deciding else None
    headline = deciding.headline if deciding else say("Not assigned to a tier")
    if deciding is None and can:
        headline = semicolons((headline, say("can serve {tier} now", tier=can)))
    if state == "ok" and (down or silent):
        lack = say("the agent lacks a source: {source}", source=down[0]) if down else silent[0]
        state, headline, cause = "at_risk", semicolons((headline, lack)), "unknown"
    if stall and deciding:
        state, headline, cause = "stalled", stall, "stall"
    elif stall:
        headline = semicolons((headline, inside(stall)))
    return Verdict(
        machine=machine.id,
        state=state,
        since=now,
        headline=headline,
        reasons=tuple(reasons),
        tier=machine.tier or (deciding.verdict.tier if deciding else None),
        can_serve=can,
        could_serve=_highest(inventory.tiers, (verdict.could_serve for verdict in verdicts)),
        cause=cause,
        culprit=deciding.verdict.culprit if deciding and cause == deciding.verdict.cause else None,
        gpus=tuple(verdict for verdict in verdicts if verdict.gpu),
    ), spells


def _is_told(clause: str, reasons: Sequence[str]) -> bool:
    """Whether what a source says stands in a GPU's reasons already."""
    return any(clause.partition(": ")[2] in reason for reason in reasons)


def _order(gpu: Judged) -> tuple[int, float]:
    """Worst state first, then the least headroom."""
    headroom = gpu.verdict.headroom_bytes
    return _RANK[gpu.verdict.state], float("-inf") if headroom is None else headroom


def _deciding(machine: Machine, assigned: Sequence[Judged]) -> Judged | None:
    """The GPU that the machine's state is that of: the worst, where any may serve the best."""
    bound = [gpu for gpu in assigned if gpu.slot.own_tier or machine.gpus == "all"]
    free = [gpu for gpu in assigned if not gpu.slot.own_tier and machine.gpus != "all"]
    return min([*bound, *([max(free, key=_order)] if free else [])], key=_order, default=None)


def _highest(tiers: Iterable[Tier], names: Iterable[str | None]) -> str | None:
    served = set(names)
    return next((t.name for t in reversed(ladder(tiers)) if t.name in served), None)
