"""The sentences of a verdict about one GPU: what is wrong, who holds the memory, what would help.

Pure. A headline is one sentence without a full stop; reasons are whole sentences.
"""

from __future__ import annotations

from collections.abc import Iterator

from tierwatch_agent.snapshot import GpuSample, MachineSnapshot, others
from tierwatch_agent.tiers import Tier, is_class
from tierwatch_agent.wording import class_of, duration, gib, holders, lift, listed, unmeasured
from tierwatch_agent.words import capital, known, phrase, say, semicolons
from tierwatch_dashboard.fitness import Fit, needs_nothing

_HEAT = phrase("heat slows it down")
_THROTTLES = {
    "hw_thermal_slowdown": _HEAT,
    "sw_thermal_slowdown": _HEAT,
    "hw_power_brake_slowdown": phrase("its power supply holds it back"),
}


def reasons(fit: Fit, can_serve: Tier | None, wait: str | None) -> Iterator[str]:
    """Why a GPU does not serve its tier, or only just; nothing where it simply does.

    ``wait``: how long its figures have called for another state, and when that counts.
    """
    gpu, tier = fit.gpu, fit.tier
    yield from map(sentence, fit.troubles)
    if gpu is not None:
        if fit.kind in ("never", "short", "unknown", "tight"):
            yield sentence(shortcoming(fit, gpu))
        if fit.kind == "unsure":
            yield from _doubts(fit, gpu)
        if fit.kind == "short" and (remedy := lift(gpu, tier)):
            yield sentence(say("{remedy} would let it serve {tier}", remedy=remedy, tier=tier.name))
        if gpu.state == "asleep" and gpu.memory is not None and not needs_nothing(tier):
            yield say(
                "GPU {gpu} is asleep and left so: it is judged by its {size}, with nothing on it.",
                gpu=fit.index,
                size=gib(gpu.memory.total_bytes),
            )
    is_there = gpu is not None or not fit.index
    if fit.kind in ("never", "short", "dead") and is_there and can_serve is not None:
        what = say("GPU {gpu}", gpu=fit.index) if gpu else say("The machine")
        if fit.kind == "never":
            yield say("{what} can serve {tier}.", what=what, tier=can_serve.name)
        else:
            yield say("{what} can still serve {tier}.", what=what, tier=can_serve.name)
    if wait and fit.kind in ("short", "dead"):
        yield say("Below {tier} {wait}.", tier=tier.name, wait=wait)
    elif wait and fit.kind in ("tight", "fits"):
        yield say("It serves {tier} again {wait}.", tier=tier.name, wait=wait)


def headline(fit: Fit, state: str, wait: str | None) -> str:
    """How a GPU stands to its tier, in one plain sentence without a full stop."""
    gpu, name = fit.gpu, fit.tier.name
    if gpu is not None and fit.kind in ("never", "unknown"):
        return shortcoming(fit, gpu)
    if fit.kind in ("short", "dead"):
        if state == "below":
            return say("Cannot serve {tier} now: {why}", tier=name, why=culprit(fit))
        return say("Below {tier} {wait}: {why}", tier=name, wait=wait, why=culprit(fit))
    if fit.kind == "unsure":
        return say("Perhaps below {tier}: {figures}", tier=name, figures=figures(fit))
    if state == "below":
        return say("Serves {tier} again {wait}", tier=name, wait=wait)
    if fit.kind == "tight":
        return _served(fit)
    if fit.troubles:
        return semicolons((_served(fit), fit.troubles[0]))
    return semicolons((_served(fit), say("all well {wait}", wait=wait))) if wait else _served(fit)


def roughly(seconds: float) -> str:
    """A span: "42 s", then in its leading unit, so that a page that shows it is still a while."""
    whole = int(seconds)
    if whole < 120:
        return say("{count} s", count=whole)
    return duration(whole - whole % (60 if whole < 7200 else 3600))


def sentence(clause: str) -> str:
    """A clause as a whole sentence: "No GPU answers."; one that ends with a mark keeps it."""
    begun = capital(clause)
    return begun if clause.endswith((".", "?")) else say("{clause}.", clause=begun)


def because(what: str, why: str | None) -> str:
    """Something with its reason, where one is known: "never heard: connection refused"."""
    return say("{what}: {why}", what=what, why=known(why)) if why else what


def shortcoming(fit: Fit, gpu: GpuSample) -> str:
    """What a GPU lacks for its tier, and who holds it; no full stop."""
    if fit.kind == "never":
        return _never(fit.index, gpu, fit.tier)
    if fit.kind == "unknown":
        if gpu.state == "asleep":
            return say(
                "GPU {gpu} is asleep and left so: its memory is not known until it wakes",
                gpu=fit.index,
            )
        return say(
            "GPU {gpu} does not tell its memory: what it can serve is not known", gpu=fit.index
        )
    if fit.kind != "tight":
        return because(figures(fit), holders(gpu))
    only = say(
        "GPU {gpu} is only {size} above the floor of {tier} ({floor})",
        gpu=fit.index,
        size=gib(fit.headroom_bytes or 0),
        tier=fit.tier.name,
        floor=gib(fit.tier.floor_bytes),
    )
    return because(only, holders(gpu))


def figures(fit: Fit) -> str:
    """What a GPU has and what its tier needs; no full stop."""
    have, need = gib(fit.available_bytes or 0), gib(fit.tier.floor_bytes)
    if fit.lower_bound:
        words = phrase("GPU {gpu} has at least {have} available, {tier} needs {need}")
    elif have == need:
        words = phrase("GPU {gpu} has just under the {need} available that {tier} needs")
    elif fit.gpu and fit.gpu.memory and fit.gpu.memory.unified:
        words = phrase(
            "GPU {gpu} can have {have} of the memory it shares with the system, {tier} needs {need}"
        )
    else:
        words = phrase("GPU {gpu} has {have} available, {tier} needs {need}")
    return say(words, gpu=fit.index, have=have, tier=fit.tier.name, need=need)


def culprit(fit: Fit) -> str:
    """Why a GPU cannot serve its tier, as far as a headline has room: the largest holder."""
    gpu = fit.gpu
    if fit.kind != "short" or gpu is None:
        return fit.troubles[0] if fit.troubles else figures(fit)
    unseen = (gpu.attribution.unseen_bytes if gpu.attribution else None) or 0
    largest = next(iter(others(gpu)), None)
    held = (largest.vram_bytes if largest else None) or 0
    if largest and held and held >= unseen:
        words = phrase("{who} holds {size} of GPU {gpu}")
        return say(words, who=largest.name, size=gib(held), gpu=fit.index)
    if unseen:
        words = phrase("processes that the agent cannot see hold {size} of GPU {gpu}")
        return say(words, size=gib(unseen), gpu=fit.index)
    return figures(fit)


def troubles(gpu: GpuSample) -> Iterator[str]:
    """What is wrong with a GPU itself, whatever it is assigned to: clauses, no full stops."""
    if gpu.state == "lost":
        yield because(say("GPU {gpu} is lost", gpu=gpu.index), gpu.detail)
    if gpu.state == "unreadable":
        yield because(say("GPU {gpu} cannot be read", gpu=gpu.index), gpu.detail)
    if gpu.recovery_action:
        yield say(
            "GPU {gpu} is in error, and its driver asks for a remedy: {remedy}",
            gpu=gpu.index,
            remedy=gpu.recovery_action,
        )
    for why in dict.fromkeys(map(_THROTTLES.get, gpu.throttle_reasons or ())):
        if why is not None:
            yield say("GPU {gpu} cannot run at full speed: {why}", gpu=gpu.index, why=say(why))
    limit, core = gpu.slowdown_celsius, gpu.temperature_celsius
    if limit is not None and core is not None and core >= limit:
        yield say(
            "GPU {gpu} is at {core} °C, and from {limit} °C on its driver slows it down",
            gpu=gpu.index,
            core=f"{core:.0f}",
            limit=f"{limit:.0f}",
        )


def absence(index: str, snapshot: MachineSnapshot) -> str:
    """Why a GPU that should be there is not; an empty index: any GPU. A clause."""
    if down := sources_down(snapshot, but="host"):
        what = say("GPU {gpu} is not there", gpu=index) if index else say("no GPU answers")
        return because(what, semicolons(down))
    if any(gpu.partitioned and index in ("", gpu.index) for gpu in snapshot.gpus):
        return say(
            "GPU {gpu} is split into MIG instances, and none of them can be read", gpu=index or "0"
        )
    if not index:
        return say("the machine has no GPU")
    present = [say("GPU {gpu}", gpu=gpu.index) for gpu in snapshot.gpus if not gpu.partitioned]
    if not present:
        return say("GPU {gpu} is not there: the machine has no GPU", gpu=index)
    return say(
        "GPU {gpu} is not there: the machine has {present}", gpu=index, present=listed(present)
    )


def sources_down(snapshot: MachineSnapshot, but: str | None = None) -> list[str]:
    """The agent's sources that do not answer: "nvml: the driver is not loaded"."""
    return [
        because(source.name, source.reason or say("does not answer"))
        for source in snapshot.sources
        if source.state == "down" and source.name != but
    ]


def silence(since: float | None, error: str | None, now: float) -> str:
    """That a machine has not been heard, and why; a clause."""
    if since is None:
        return because(say("never heard"), error)
    return because(say("not heard for {span}", span=roughly(now - since)), error)


def _served(fit: Fit) -> str:
    """That a GPU serves its tier, and what is left above the floor."""
    tier = fit.tier
    if needs_nothing(tier) or fit.headroom_bytes is None:
        return say("Serves {tier}", tier=tier.name)
    if fit.kind == "tight":
        words = phrase("Serves {tier}, only {size} to spare")
    elif fit.lower_bound:
        words = phrase("Serves {tier}, at least {size} to spare")
    else:
        words = phrase("Serves {tier}, {size} to spare")
    return say(words, tier=tier.name, size=gib(fit.headroom_bytes))


def _never(index: str, gpu: GpuSample, tier: Tier) -> str:
    total = gpu.memory.total_bytes if gpu.memory else 0
    if is_class(tier, total):
        reserved = gpu.memory.reserved_bytes if gpu.memory else None
        return say(
            "GPU {gpu} can never serve {tier}: of its {size} the driver keeps {kept}, and {tier} "
            "needs {need}",
            gpu=index,
            tier=tier.name,
            size=gib(total),
            kept=gib(reserved or 0),
            need=gib(tier.floor_bytes),
        )
    return say(
        "GPU {gpu} can never serve {tier}: it has {size}, and {tier} is for {gb} cards",
        gpu=index,
        tier=tier.name,
        size=gib(total),
        gb=class_of(tier),
    )


def _doubts(fit: Fit, gpu: GpuSample) -> Iterator[str]:
    why = gpu.attribution.why if gpu.attribution else None
    yield sentence(semicolons((figures(fit), because(say("this is a lower bound"), why))))
    if measured := holders(gpu):
        yield sentence(measured)
    if silent := unmeasured(gpu):
        yield say("Also on it, without a figure: {who}.", who=silent)
