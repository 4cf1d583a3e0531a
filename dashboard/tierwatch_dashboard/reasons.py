"""The sentences of a verdict about one GPU: what is wrong, who holds the memory, what would help.

Pure. A headline is one sentence without a full stop; reasons are whole sentences.
"""

from __future__ import annotations

from collections.abc import Iterator

from tierwatch_agent.snapshot import GpuSample, MachineSnapshot, others
from tierwatch_agent.tiers import Tier, is_class
from tierwatch_agent.wording import class_of, duration, gib, holders, lift, listed, unmeasured
from tierwatch_dashboard.fitness import Fit, needs_nothing

_HEAT = "heat slows it down"
_THROTTLES = {
    "hw_thermal_slowdown": _HEAT,
    "sw_thermal_slowdown": _HEAT,
    "hw_power_brake_slowdown": "its power supply holds it back",
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
            yield sentence(f"{remedy} would let it serve {tier.name}")
        if gpu.state == "asleep" and gpu.memory is not None and not needs_nothing(tier):
            yield (
                f"GPU {fit.index} is asleep and left so: it is judged by its "
                f"{gib(gpu.memory.total_bytes)}, with nothing on it."
            )
    is_there = gpu is not None or not fit.index
    if fit.kind in ("never", "short", "dead") and is_there and can_serve is not None:
        still = "can" if fit.kind == "never" else "can still"
        yield f"{f'GPU {fit.index}' if gpu else 'The machine'} {still} serve {can_serve.name}."
    if wait and fit.kind in ("short", "dead"):
        yield f"Below {tier.name} {wait}."
    elif wait and fit.kind in ("tight", "fits"):
        yield f"It serves {tier.name} again {wait}."


def headline(fit: Fit, state: str, wait: str | None) -> str:
    """How a GPU stands to its tier, in one plain sentence without a full stop."""
    gpu, name = fit.gpu, fit.tier.name
    if gpu is not None and fit.kind in ("never", "unknown"):
        return shortcoming(fit, gpu)
    if fit.kind in ("short", "dead"):
        if state == "below":
            return f"Cannot serve {name} now: {culprit(fit)}"
        return f"Below {name} {wait}: {culprit(fit)}"
    if fit.kind == "unsure":
        return f"Perhaps below {name}: {figures(fit)}"
    if state == "below":
        return f"Serves {name} again {wait}"
    if fit.kind == "tight":
        return f"Serves {name}{spare(fit)}"
    if fit.troubles:
        return f"Serves {name}{spare(fit)}; {fit.troubles[0]}"
    return f"Serves {name}{spare(fit)}{f'; all well {wait}' if wait else ''}"


def roughly(seconds: float) -> str:
    """A span: "42 s", then in its leading unit, so that a page that shows it is still a while."""
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    return duration(whole - whole % (60 if whole < 7200 else 3600))


def sentence(clause: str) -> str:
    """A clause as a whole sentence: "No GPU answers."; one that ends with a mark keeps it."""
    return f"{clause[:1].upper()}{clause[1:]}{'' if clause.endswith(('.', '?')) else '.'}"


def shortcoming(fit: Fit, gpu: GpuSample) -> str:
    """What a GPU lacks for its tier, and who holds it; no full stop."""
    if fit.kind == "never":
        return _never(fit.index, gpu, fit.tier)
    if fit.kind == "unknown":
        if gpu.state == "asleep":
            return f"GPU {fit.index} is asleep and left so: its memory is not known until it wakes"
        return f"GPU {fit.index} does not tell its memory: what it can serve is not known"
    who = f": {held}" if (held := holders(gpu)) else ""
    if fit.kind == "tight":
        return (
            f"GPU {fit.index} is only {gib(fit.headroom_bytes or 0)} above the floor of "
            f"{fit.tier.name} ({gib(fit.tier.floor_bytes)}){who}"
        )
    return f"{figures(fit)}{who}"


def figures(fit: Fit) -> str:
    """What a GPU has and what its tier needs; no full stop."""
    name, tier = f"GPU {fit.index}", fit.tier.name
    have, need = gib(fit.available_bytes or 0), gib(fit.tier.floor_bytes)
    if fit.lower_bound:
        return f"{name} has at least {have} available, {tier} needs {need}"
    if have == need:
        return f"{name} has just under the {need} available that {tier} needs"
    if fit.gpu and fit.gpu.memory and fit.gpu.memory.unified:
        return (
            f"{name} can have {have} of the memory it shares with the system, {tier} needs {need}"
        )
    return f"{name} has {have} available, {tier} needs {need}"


def culprit(fit: Fit) -> str:
    """Why a GPU cannot serve its tier, as far as a headline has room: the largest holder."""
    gpu = fit.gpu
    if fit.kind != "short" or gpu is None:
        return fit.troubles[0] if fit.troubles else figures(fit)
    unseen = (gpu.attribution.unseen_bytes if gpu.attribution else None) or 0
    largest = next(iter(others(gpu)), None)
    held = (largest.vram_bytes if largest else None) or 0
    if largest and held and held >= unseen:
        return f"{largest.name} holds {gib(held)} of GPU {fit.index}"
    if unseen:
        return f"processes that the agent cannot see hold {gib(unseen)} of GPU {fit.index}"
    return figures(fit)


def spare(fit: Fit) -> str:
    """What is left above the floor, to follow "Serves mass": ", 1.2 GiB to spare"."""
    if needs_nothing(fit.tier) or fit.headroom_bytes is None:
        return ""
    only = "only " if fit.kind == "tight" else "at least " if fit.lower_bound else ""
    return f", {only}{gib(fit.headroom_bytes)} to spare"


def troubles(gpu: GpuSample) -> Iterator[str]:
    """What is wrong with a GPU itself, whatever it is assigned to: clauses, no full stops."""
    name = f"GPU {gpu.index}"
    if gpu.state in ("lost", "unreadable"):
        said = "is lost" if gpu.state == "lost" else "cannot be read"
        yield f"{name} {said}{f': {gpu.detail}' if gpu.detail else ''}"
    if gpu.recovery_action:
        yield f"{name} is in error, and its driver asks for a remedy: {gpu.recovery_action}"
    yield from dict.fromkeys(
        f"{name} cannot run at full speed: {_THROTTLES[reason]}"
        for reason in gpu.throttle_reasons or ()
        if reason in _THROTTLES
    )
    limit, core = gpu.slowdown_celsius, gpu.temperature_celsius
    if limit is not None and core is not None and core >= limit:
        yield f"{name} is at {core:.0f} °C, and from {limit:.0f} °C on its driver slows it down"


def absence(index: str, snapshot: MachineSnapshot) -> str:
    """Why a GPU that should be there is not; an empty index: any GPU. A clause."""
    if down := sources_down(snapshot, but="host"):
        what = f"GPU {index} is not there" if index else "no GPU answers"
        return f"{what}: {'; '.join(down)}"
    if any(gpu.partitioned and index in ("", gpu.index) for gpu in snapshot.gpus):
        return f"GPU {index or '0'} is split into MIG instances, and none of them can be read"
    if not index:
        return "the machine has no GPU"
    present = listed([f"GPU {gpu.index}" for gpu in snapshot.gpus if not gpu.partitioned])
    return f"GPU {index} is not there: the machine has {present or 'no GPU'}"


def sources_down(snapshot: MachineSnapshot, but: str | None = None) -> list[str]:
    """The agent's sources that do not answer: "nvml: the driver is not loaded"."""
    return [
        f"{source.name}: {source.reason or 'does not answer'}"
        for source in snapshot.sources
        if source.state == "down" and source.name != but
    ]


def silence(since: float | None, error: str | None, now: float) -> str:
    """That a machine has not been heard, and why; a clause."""
    what = "never heard" if since is None else f"not heard for {roughly(now - since)}"
    return f"{what}: {error}" if error else what


def _never(index: str, gpu: GpuSample, tier: Tier) -> str:
    total = gpu.memory.total_bytes if gpu.memory else 0
    if is_class(tier, total):
        reserved = gpu.memory.reserved_bytes if gpu.memory else None
        return (
            f"GPU {index} can never serve {tier.name}: of its {gib(total)} the driver keeps "
            f"{gib(reserved or 0)}, and {tier.name} needs {gib(tier.floor_bytes)}"
        )
    return (
        f"GPU {index} can never serve {tier.name}: it has {gib(total)}, and {tier.name} is for "
        f"{class_of(tier)} cards"
    )


def _doubts(fit: Fit, gpu: GpuSample) -> Iterator[str]:
    why = gpu.attribution.why if gpu.attribution else None
    yield f"{figures(fit)}; this is a lower bound{f': {why}' if why else ''}."
    if measured := holders(gpu):
        yield f"{measured}."
    if silent := unmeasured(gpu):
        yield f"Also on it, without a figure: {silent}."
