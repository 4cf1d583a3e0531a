"""Words that the agent's ``check`` and the dashboard's verdicts share: figures, tiers, who holds what.

Pure. Sizes are given in bytes and shown in GiB (2^30); a tier's class is named in GB as people buy it.
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


def gib(size_bytes: float) -> str:
    """A size for people, with one decimal: "14.0 GiB"."""
    return f"{size_bytes / GIBIBYTE:.1f} GiB"


def span(seconds: float) -> str:
    """A length of time for people: "42 s", "3 min", "5 h", "4 days"."""
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 2 * 3600:
        return f"{whole // 60} min"
    if whole < 48 * 3600:
        return f"{whole // 3600} h"
    return f"{whole // 86400} days"


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
    unseen = attribution.unseen_bytes if attribution else None
    if unseen and unseen >= _WORTH_NAMING:
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
    """The processes on a GPU that nobody measures, other than production's own; None: there are none."""
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
