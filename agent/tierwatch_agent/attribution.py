"""Who holds a GPU's memory, and so what a production job can have of it.

Pure. ``available`` is free memory plus what the best placed generation server already holds: no
server can use what another keeps. What cannot be known is said, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from tierwatch_agent.snapshot import Attribution, GpuMemory, GpuSample, HostSample, Process
from tierwatch_agent.wording import gib
from tierwatch_agent.wording import process as named
from tierwatch_agent.words import packed, say

MEBIBYTE = 2**20
SLACK_BYTES = 256 * MEBIBYTE
"""Used memory that no process need account for: contexts, page tables, a driver's rounding."""
RESERVE_BYTES = 512 * MEBIBYTE
"""What a driver that tells no reserve may count as used on top of that."""


class _Holders(msgspec.Struct, frozen=True):
    """What the processes of a GPU hold, as far as the driver tells. Bytes."""

    by_server: dict[int, int]
    """A generation server's root process to what its processes are known to hold."""
    self_told: frozenset[int]
    """Those of which the server's own figure is what is known."""
    untold: bool
    """A server that nobody lists uses the GPU, and does not tell what it holds either."""
    foreign_bytes: int
    """Known to be held by processes that are certainly no generation server's."""
    unidentified_bytes: int
    """Known to be held by processes that the agent cannot place."""
    silent: tuple[Process, ...]
    """The processes of which nobody tells what they hold."""


def attribute(
    gpu: GpuSample, host: HostSample | None, server_bytes: Mapping[int, int | None] | None = None
) -> Attribution | None:
    """What a production job can have of a GPU; None where its memory is not known.

    A card that is split into MIG instances has none either: its instances have.

    Args:
        gpu: The GPU, its processes named.
        host: Tells what the system can still give to a GPU whose memory is the system's own.
        server_bytes: What the generation servers on this GPU say that they hold, by root process,
            None where one does not say: counts where the driver does not tell.
    """
    memory = gpu.memory
    if memory is None or gpu.partitioned:
        return None
    holders = _holders(gpu.processes, server_bytes or {})
    own_pid, own_bytes = _best_placed(holders)
    ceiling = max(0, memory.total_bytes - (memory.reserved_bytes or 0))
    available = min(ceiling, max(0, _obtainable(memory, host)) + own_bytes)
    unseen = _unseen(memory, holders)
    why = _doubt(gpu, memory, holders, unseen)
    return Attribution(
        available_bytes=available,
        basis=_basis(gpu, holders, unseen),
        lower_bound=why is not None,
        why=None if why is None else str(why),
        said=None if why is None else packed(why),
        others_bytes=None if why else ceiling - available,
        unseen_bytes=unseen,
        server_pid=own_pid,
    )


def _holders(
    processes: Sequence[Process] | None, server_bytes: Mapping[int, int | None]
) -> _Holders:
    by_server: dict[int, int] = {}
    foreign = unidentified = 0
    silent: list[Process] = []
    for process in processes or ():
        held = process.vram_bytes
        if held is None:
            silent.append(process)
        if process.server is not None:
            root = _root(process)
            by_server[root] = by_server.get(root, 0) + (held or 0)
        elif process.identified:
            foreign += held or 0
        else:
            unidentified += held or 0
    # Where the driver lists nobody, a server that says what it holds is there nevertheless.
    unmeasured = (
        {_root(p) for p in silent if p.server} if processes is not None else set(server_bytes)
    )
    said = {pid: held for pid, held in server_bytes.items() if held is not None}
    self_told = frozenset(unmeasured & said.keys())
    for pid in self_told:
        by_server[pid] = max(by_server.get(pid, 0), said[pid])
    return _Holders(
        by_server=by_server,
        self_told=self_told,
        untold=processes is None and len(said) < len(server_bytes),
        foreign_bytes=foreign,
        unidentified_bytes=unidentified,
        silent=tuple(p for p in silent if not (p.server and _root(p) in self_told)),
    )


def _root(process: Process) -> int:
    """Root process of the generation server that a process is."""
    return process.pid if process.server_pid is None else process.server_pid


def _best_placed(holders: _Holders) -> tuple[int | None, int]:
    """The server that holds most, and what it holds; None where none stands out."""
    by_server = holders.by_server
    most = max(by_server.values(), default=0)
    if not most and len(by_server) != 1:
        return None, 0
    return max(by_server, key=lambda pid: by_server[pid]), most


def _obtainable(memory: GpuMemory, host: HostSample | None) -> int:
    """What the GPU can hand out now: of a unified pool, what the system can still give."""
    if memory.unified and host is not None:
        return min(memory.free_bytes, host.memory_available_bytes)
    return memory.free_bytes


def _unaccounted(memory: GpuMemory, holders: _Holders) -> int:
    """Used memory that no process is known to hold, as far as it is worth a word."""
    known = sum(holders.by_server.values()) + holders.foreign_bytes + holders.unidentified_bytes
    slack = SLACK_BYTES + (RESERVE_BYTES if memory.reserved_bytes is None else 0)
    rest = memory.used_bytes - known
    return rest if rest > slack else 0


def _unseen(memory: GpuMemory, holders: _Holders) -> int | None:
    """Held by processes that nobody lists; None where that cannot be told.

    What else is used of a unified pool may be the system's own. With silent processes in sight the
    rest may be theirs, or a server's that counts its models and not its context.
    """
    if memory.unified or holders.silent or holders.self_told:
        return None
    return _unaccounted(memory, holders)


def _basis(
    gpu: GpuSample, holders: _Holders, unseen: int | None
) -> Literal["process", "server", "none"]:
    """By process, as soon as the driver tells what one holds, or that there is nothing to tell."""
    listed = gpu.processes
    if listed and any(process.vram_bytes is not None for process in listed):
        return "process"
    if holders.self_told:
        return "server"
    return "process" if listed is not None and not (listed or unseen) else "none"


def _doubt(gpu: GpuSample, memory: GpuMemory, holders: _Holders, unseen: int | None) -> str | None:
    """Why a generation server may hold more than is known, in words; None where none can."""
    rest = _unaccounted(memory, holders)
    if rest and gpu.processes is None and (holders.untold or not holders.self_told):
        return say(
            "the driver does not list the processes on this GPU: a generation server may be one"
        )
    suspects = [p for p in holders.silent if p.server is not None or not p.identified]
    if rest and suspects:
        suspect = max(suspects, key=lambda process: process.server is not None)
        system = "Windows" if gpu.driver_model == "wddm" else say("the driver")
        who = named(suspect)
        if suspect.server is not None:
            return say("{system} does not tell how much {who} holds", system=system, who=who)
        return say(
            "{system} does not tell how much {who} holds, and the agent cannot tell whether it is "
            "a generation server",
            system=system,
            who=who,
        )
    hidden = (unseen or 0) + holders.unidentified_bytes
    if hidden > SLACK_BYTES:
        return say(
            "whether a generation server holds {size} more, the agent cannot tell",
            size=gib(hidden),
        )
    return None
