"""Where a job of a recipe should go now: the machines that can run it, best first. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from tierwatch_agent.snapshot import ServerSample
from tierwatch_dashboard.possible import Found, Possible, View


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A generation server that can run the job now. Seconds."""

    machine: str
    gpu: str | None
    card: str | None
    server: str
    """The server's id."""
    waiting: int
    """Jobs in its queue, and the running one."""
    seconds: float | None
    """How long the job itself takes; null: not known."""
    available_bytes: int | None


def candidates(found: Found, views: Sequence[View]) -> tuple[Candidate, ...]:
    """Those with a server of the recipe's kind that answers: the shortest queue, then the fastest.

    A machine in maintenance, and a server that is paused or whose job does not move, are left out.
    """
    by_id = {view.machine.id: view for view in views}
    able = (each for each in found.gpus if each.kind == "now")
    by_server: dict[tuple[str, str], Candidate] = {}
    for each in able:
        for candidate in _of(each, by_id[each.machine], found.name.server):
            # Of a server whose GPU is not known the best of its machine is told.
            by_server.setdefault((candidate.machine, candidate.server), candidate)
    return tuple(sorted(by_server.values(), key=_order))


def _of(possible: Possible, view: View, kind: str) -> Iterator[Candidate]:
    if view.snapshot is None or view.machine.maintenance:
        return
    uuid = next((gpu.uuid for gpu in view.snapshot.gpus if gpu.index == possible.gpu), None)
    for server in view.snapshot.servers:
        if not _takes_jobs(server, kind) or (server.gpus and uuid not in server.gpus):
            continue
        yield Candidate(
            machine=possible.machine,
            gpu=possible.gpu,
            card=possible.card,
            server=server.id,
            waiting=max(len(server.jobs), server.queue_running or 0) + (server.queue_pending or 0),
            seconds=possible.seconds,
            available_bytes=possible.available_bytes,
        )


def _takes_jobs(server: ServerSample, kind: str) -> bool:
    works = server.state == "up" and not server.paused and server.stall is None
    return works and server.kind == kind


def _order(each: Candidate) -> tuple[int, bool, float, str, str]:
    seconds = each.seconds
    return (each.waiting, seconds is None, seconds or 0.0, each.machine, each.server)
