"""What tiers and machines made in the last hour, what waits for them, and for about how long. Pure.

What a machine makes counts for the tier of the GPU that makes it; where that GPU is not known, for
the machine's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from tierwatch_agent.snapshot import Outcome, ServerSample
from tierwatch_agent.words import say, say_many, semicolons
from tierwatch_dashboard.history.jobs import Throughput
from tierwatch_dashboard.last_hour import Made
from tierwatch_dashboard.web.making import megapixels

if TYPE_CHECKING:
    from tierwatch_dashboard.fleet.state import MachineView


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """The last hour of a tier or a machine, and its queue."""

    jobs: Mapping[Outcome, int]
    images: int
    pixels: int
    busy_seconds: float
    waiting: int | None = None
    """Jobs in its servers' queues; None: no server tells."""
    wait_seconds: float | None = None
    """How long its servers need for those, shared among them; None: not known."""


_Work = tuple[ServerSample, float | None]
"""A server, and how long one of its jobs takes."""


def by_machine(views: Iterable[MachineView], made: Made) -> dict[str, Output]:
    """Each machine that made something, or that has a server which could."""
    lines = made.by_machine
    work = {view.machine.id: list(_work(view, made)) for view in views}
    return {
        machine: _output(lines.get(machine, ()), servers)
        for machine, servers in work.items()
        if machine in lines or servers
    }


def by_tier(views: Iterable[MachineView], made: Made) -> dict[str, Output]:
    """Each tier for which something was made, or that has a server which could."""
    lines = made.by_machine
    made_for: dict[str, list[Throughput]] = {}
    work_for: dict[str, list[_Work]] = {}
    for view in views:
        tiers = {gpu.uuid: gpu.tier for gpu in view.verdict.gpus}
        own = view.machine.tier
        for line in lines.get(view.machine.id, ()):
            if tier := tiers.get(line.gpu or "", own):
                made_for.setdefault(tier, []).append(line)
        for work in _work(view, made):
            if tier := tiers.get(next(iter(work[0].gpus), ""), own):
                work_for.setdefault(tier, []).append(work)
    return {
        tier: _output(made_for.get(tier, ()), work_for.get(tier, ()))
        for tier in made_for.keys() | work_for.keys()
    }


def _work(view: MachineView, made: Made) -> Iterator[_Work]:
    """The servers of a machine that take jobs now."""
    if view.snapshot is None or view.verdict.state == "down":
        return
    for server in view.snapshot.servers:
        if server.state == "up":
            yield server, made.usual_seconds.get((view.machine.id, server.id))


def _output(lines: Sequence[Throughput], work: Sequence[_Work]) -> Output:
    # Not Counter.update, which takes most of a look at a thousand machines.
    jobs: dict[Outcome, int] = {}
    for line in lines:
        for outcome, count in line.jobs.items():
            jobs[outcome] = jobs.get(outcome, 0) + count
    queues = [(s.queue_pending, usual) for s, usual in work if s.queue_pending is not None]
    needed = [count * usual for count, usual in queues if count and usual is not None]
    known = all(usual is not None for count, usual in queues if count)
    return Output(
        jobs=jobs,
        images=sum(line.images for line in lines),
        pixels=sum(line.pixels for line in lines),
        busy_seconds=sum(line.busy_seconds for line in lines),
        waiting=sum(count for count, _ in queues) if queues else None,
        wait_seconds=round(sum(needed) / len(queues)) if queues and known else None,
    )


def hour_words(outputs: Iterable[Output]) -> str | None:
    """An hour's work in words: "87 images, 120 megapixels; 3 jobs failed"; None: no job ended."""
    jobs = Counter[Outcome]()
    images = pixels = 0
    for output in outputs:
        jobs.update(output.jobs)
        images += output.images
        pixels += output.pixels
    if not jobs.total():
        return None
    parts = [
        say_many(
            "{images} image, {megapixels} megapixels",
            "{images} images, {megapixels} megapixels",
            images,
            images=f"{images:,}",
            megapixels=megapixels(pixels),
        )
    ]
    if failed := jobs["error"]:
        parts.append(say_many("{count} job failed", "{count} jobs failed", failed))
    if starved := jobs["oom"]:
        parts.append(say("{count} ran out of memory", count=starved))
    return semicolons(parts)
