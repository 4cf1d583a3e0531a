"""How things are said to people, so that a page, a terminal and an alert say them alike.

Pure. Sizes come in bytes and are said in GiB (2^30); a tier's class in GB, as people buy cards.
"""

from __future__ import annotations

from collections.abc import Sequence

from tierwatch_agent.snapshot import GpuSample, Process, others
from tierwatch_agent.tiers import Tier

GIBIBYTE = 2**30
NAMED = 5
"""How many processes a sentence names before it counts the rest."""

_WORTH_NAMING = GIBIBYTE // 20
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
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.{1 if seconds >= 0.3 else 2}f} s"


def duration(seconds: float) -> str:
    """A span in words, in its two leading units at most: ``"42 s"``, ``"3 min 5 s"``, ``"2 h"``."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
        if len(parts) == 2:
            break
    return " ".join(parts) or "0 s"


def class_of(tier: Tier) -> str:
    """The class of card that a tier names: "16 GB"."""
    return f"{tier.vram_gb:g} GB"


def floor(tier: Tier) -> str:
    """A tier with its floor, as it is drawn: "mass, 16 GB class: 14.0 GiB"."""
    if tier.vram_gb == 0:
        return f"{tier.name}, needs no GPU"
    return f"{tier.name}, {class_of(tier)} class: {gib(tier.floor_bytes)}"


def process(holder: Process) -> str:
    """A process as people find it: "game.exe (pid 4711)"."""
    return f"{holder.name} (pid {holder.pid})"


def listed(words: Sequence[str]) -> str:
    """Words in a row: "a", "a and b", "a, b and c"."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


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
        shares.append((sum(size or 0 for size, _ in rest), f"{len(rest)} more"))
    unseen = (attribution.unseen_bytes if attribution else None) or 0
    # What the agent cannot place counts as unseen, yet where it has a name it is named above.
    unseen -= sum(p.vram_bytes or 0 for p in gpu.processes or () if not p.identified)
    if unseen >= _WORTH_NAMING:
        shares.append((unseen, "processes that the agent cannot see"))
    if shares:
        (size, who), *more = ((gib(size or 0), who) for size, who in shares)
        return ", ".join([f"{size} held by {who}", *(f"{size} by {who}" for size, who in more)])
    silent = unmeasured(gpu)
    together = attribution.others_bytes if attribution else None
    if silent and together:
        return f"{gib(together)} held by {silent}{' together' if ' and ' in silent else ''}"
    return None


def unmeasured(gpu: GpuSample) -> str | None:
    """Processes, other than production's own, of unknown size: "game.exe (pid 4711)"."""
    silent = [p for p in others(gpu) if p.vram_bytes is None]
    silent.sort(key=lambda p: p.name.lower() in _DESKTOP)
    names = [process(p) for p in silent[:NAMED]]
    if len(silent) > NAMED:
        names.append(f"{len(silent) - NAMED} more")
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
    steps = [f"ending {listed(ending)}"] if ending else []
    if unloading:
        steps.append(f"unloading the models of {listed(unloading)}")
    return listed(steps) or None
