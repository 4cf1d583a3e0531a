"""How things are said to people, so that a page, a terminal and an alert say them alike.

Pure. Sizes come in bytes and are said in GiB (2^30); a tier's class in GB, as people buy cards.
"""

from __future__ import annotations

from collections.abc import Sequence

from tierwatch_agent.snapshot import GpuSample, Process, others
from tierwatch_agent.tiers import Tier
from tierwatch_agent.words import Words, commas, phrase, say, semicolons

GIBIBYTE = 2**30
NAMED = 5
"""How many processes a sentence names before it counts the rest."""

_WORTH_NAMING = GIBIBYTE // 20
_UNITS = (
    (86400, phrase("{count} d")),
    (3600, phrase("{count} h")),
    (60, phrase("{count} min")),
    (1, phrase("{count} s")),
)
# Always on a Windows desktop's GPU: named after everybody else, since they are rarely the cause.
_DESKTOP = frozenset(
    {
        "applicationframehost.exe",
        "csrss.exe",
        "dwm.exe",
        "explorer.exe",
        "lockapp.exe",
        "searchhost.exe",
        "shellexperiencehost.exe",
        "startmenuexperiencehost.exe",
        "systemsettings.exe",
        "textinputhost.exe",
        "widgets.exe",
    }
)


def gib(count: float) -> str:
    """Bytes as people know them from their tools: ``"14.0 GiB"``."""
    return f"{count / GIBIBYTE:.1f} GiB"


def size(count: float) -> str:
    """Bytes where little is worth its figure: ``"180 MiB"``, from one GiB on ``"1.3 GiB"``."""
    return gib(count) if count >= GIBIBYTE else f"{count / 2**20:.0f} MiB"


def pace(seconds: float) -> str:
    """A short span with as many figures as count: ``"0.09 s"``, ``"0.9 s"``, ``"140 s"``."""
    if seconds >= 600:
        return duration(seconds)
    figures = 0 if seconds >= 10 else 1 if seconds >= 0.3 else 2
    return say("{count} s", count=f"{seconds:.{figures}f}")


def duration(seconds: float) -> str:
    """A span in words, in its two leading units at most: ``"42 s"``, ``"3 min 5 s"``, ``"2 h"``."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(say(unit, count=count))
        elif parts:
            break
        if len(parts) == 2:
            return say("{longer} {shorter}", longer=parts[0], shorter=parts[1])
    return parts[0] if parts else say("{count} s", count=0)


def class_of(tier: Tier) -> str:
    """The class of card that a tier names: "16 GB"."""
    return f"{tier.vram_gb:g} GB"


def floor(tier: Tier) -> str:
    """A tier with its floor, as it is drawn: "mass, 16 GB class: 14.0 GiB"."""
    if tier.vram_gb == 0:
        return say("{tier}, needs no GPU", tier=tier.name)
    floor_gib = gib(tier.floor_bytes)
    return say("{tier}, {gb} class: {floor}", tier=tier.name, gb=class_of(tier), floor=floor_gib)


def process(holder: Process) -> str:
    """A process as people find it: "game.exe (pid 4711)"."""
    return f"{holder.name} (pid {holder.pid})"


def listed(words: Sequence[str]) -> str:
    """Words in a row: "a", "a and b", "a, b and c"."""
    if len(words) < 2:
        return words[0] if words else ""
    return say("{others} and {last}", others=commas(words[:-1]), last=words[-1])


def evidence_of(clauses: Sequence[str]) -> str:
    """What something is judged by, the chief thing first: "no step for 140 s; 180 MiB free"."""
    return semicolons(clauses)


def chief_evidence(evidence: str) -> tuple[str, str]:
    """The first clause of what ``evidence_of`` made, and the others, which may be empty."""
    if isinstance(evidence, Words):
        first, rest = evidence.values.get("first"), evidence.values.get("rest")
        if isinstance(first, str) and isinstance(rest, str) and evidence == f"{first}; {rest}":
            return first, rest
        return evidence, ""
    first, _, rest = evidence.partition("; ")
    return first, rest


def holders(gpu: GpuSample) -> str | None:
    """Who holds what production cannot have: "4.4 GiB held by game.exe (pid 4711), 1.3 GiB by …".

    Where the system does not tell how much each process holds, the processes are named with what
    they hold together. None where nobody is known to hold anything.
    """
    attribution = gpu.attribution
    shares = [
        (p.vram_bytes, process(p)) for p in others(gpu) if (p.vram_bytes or 0) >= _WORTH_NAMING
    ]
    rest = shares[NAMED:]
    shares = shares[:NAMED]
    if rest:
        shares.append((sum(size or 0 for size, _ in rest), _more(len(rest))))
    unseen = (attribution.unseen_bytes if attribution else None) or 0
    # What the agent cannot place counts as unseen, yet where it has a name it is named above.
    unseen -= sum(p.vram_bytes or 0 for p in gpu.processes or () if not p.identified)
    if unseen >= _WORTH_NAMING:
        shares.append((unseen, say("processes that the agent cannot see")))
    if shares:
        (size, who), *more = ((gib(size or 0), who) for size, who in shares)
        held = say("{size} held by {who}", size=size, who=who)
        return commas([held, *(say("{size} by {who}", size=size, who=who) for size, who in more)])
    silent = unmeasured(gpu)
    together = attribution.others_bytes if attribution else None
    if silent and together:
        if len(_silent(gpu)) > 1:
            return say("{size} held by {who} together", size=gib(together), who=silent)
        return say("{size} held by {who}", size=gib(together), who=silent)
    return None


def unmeasured(gpu: GpuSample) -> str | None:
    """Processes, other than production's own, of unknown size: "game.exe (pid 4711)"."""
    silent = _silent(gpu)
    names = [process(p) for p in silent[:NAMED]]
    if len(silent) > NAMED:
        names.append(_more(len(silent) - NAMED))
    return listed(names) or None


def lift(gpu: GpuSample, tier: Tier) -> str | None:
    """What would let a GPU serve a tier that it cannot serve now; None where nothing known would.

    The largest holders first, and no more of them than it takes: "ending game.exe (pid 4711)".
    """
    if gpu.attribution is None:
        return None
    missing = tier.floor_bytes - gpu.attribution.available_bytes
    ending: list[str] = []
    unloading: list[str] = []
    for holder in others(gpu):
        if missing <= 0:
            break
        if holder.vram_bytes is None:
            continue
        missing -= holder.vram_bytes
        (ending if holder.server is None else unloading).append(process(holder))
    if missing > 0:
        return None
    end = say("ending {what}", what=listed(ending)) if ending else None
    unload = say("unloading the models of {what}", what=listed(unloading)) if unloading else None
    if end and unload:
        return say("{end} and {unload}", end=end, unload=unload)
    return end or unload


def _more(count: int) -> str:
    return say("{count} more", count=count)


def _silent(gpu: GpuSample) -> list[Process]:
    silent = [p for p in others(gpu) if p.vram_bytes is None]
    return sorted(silent, key=lambda p: p.name.lower() in _DESKTOP)
