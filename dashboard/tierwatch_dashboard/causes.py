"""Why a machine does not serve its tier, as one word that can be counted. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from tierwatch_agent.snapshot import GpuSample, others
from tierwatch_dashboard.fitness import Fit
from tierwatch_dashboard.hysteresis import Spell, advance

Cause = Literal["others", "servers", "stall", "down", "heat", "card", "gpu", "unknown"]
"""What stands in the way:

- ``others``: programs that are not production's hold the memory
- ``servers``: another generation server's models hold it
- ``stall``: a job does not move
- ``down``: the machine is not heard
- ``heat``: it is slowed down, since it is too hot
- ``card``: the card is too small for the tier
- ``gpu``: a GPU is lost, in error or not there
- ``unknown``: a source or a server is silent, or who holds the memory is not told
"""

_THERMAL = frozenset({"hw_thermal_slowdown", "sw_thermal_slowdown"})


class Blame(msgspec.Struct, frozen=True):
    """A cause, for as long as it holds; a short relief does not end it."""

    cause: Cause
    culprit: str | None
    """The program that holds the most, where programs are the cause: "game.exe"."""
    spell: Spell


def blame(fit: Fit, before: Blame | None, now: float, clear_for: float) -> Blame | None:
    """What is to blame for how a GPU stands to its tier; None: it serves it fully."""
    cause = _cause(fit)
    spell = advance(before.spell if before else None, cause is not None, now, clear_for)
    if spell is None:
        return None
    if cause is not None:
        return Blame(cause, _culprit(fit, cause), spell)
    return None if before is None else Blame(before.cause, before.culprit, spell)


def _cause(fit: Fit) -> Cause | None:
    if fit.kind == "never":
        return "card"
    if fit.kind == "dead":
        return "gpu"
    if fit.kind in ("unsure", "unknown"):
        return "unknown"
    if fit.kind == "short" and fit.gpu is not None:
        return _holders(fit.gpu)
    if fit.troubles:
        return "heat" if fit.gpu is not None and _is_hot(fit.gpu) else "gpu"
    return None


def _holders(gpu: GpuSample) -> Cause:
    """Who keeps the memory: other generation servers, where they hold more than the rest does."""
    unseen = (gpu.attribution.unseen_bytes if gpu.attribution else None) or 0
    held = {True: 0, False: unseen}
    for each in others(gpu):
        held[each.server is not None] += each.vram_bytes or 0
    return "servers" if held[True] > held[False] else "others"


def _culprit(fit: Fit, cause: Cause) -> str | None:
    if fit.gpu is None or cause not in ("others", "servers"):
        return None
    named = (each for each in others(fit.gpu) if (each.server is not None) == (cause == "servers"))
    largest = next(named, None)
    return largest.name if largest is not None and largest.vram_bytes else None


def _is_hot(gpu: GpuSample) -> bool:
    limit, core = gpu.slowdown_celsius, gpu.temperature_celsius
    too_hot = limit is not None and core is not None and core >= limit
    return too_hot or not _THERMAL.isdisjoint(gpu.throttle_reasons or ())
