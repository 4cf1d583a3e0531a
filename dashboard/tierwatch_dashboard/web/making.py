"""What generation servers make, in words: running jobs, queues, pace, outcomes. Pure.

Figures are rounded as they are shown, and nothing here passes with time alone, so that equal words
mean that nothing on a page needs to change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from tierwatch_agent.snapshot import JobRecord, Outcome, RunningJob, ServerSample
from tierwatch_agent.wording import duration, gib, pace
from tierwatch_agent.words import commas, say, say_many, semicolons
from tierwatch_dashboard.servers import name_of

SHOWN_SERVERS = 3
"""How many servers a row of the fleet page names."""

OUTCOMES: dict[Outcome, str] = {
    "success": say("done"),
    "error": say("failed"),
    "oom": say("out of memory"),
    "interrupted": say("interrupted"),
}
"""Outcome to the word for it."""


class Doing(msgspec.Struct, frozen=True, kw_only=True):
    """What one generation server of a machine does now."""

    words: str
    """"ComfyUI: sdxl_base 1024 × 1024, step 12 of 30, 0.8 s a step; 3 waiting"."""
    percent: int | None = None
    """How far its job is; None: its server does not tell, or it runs none or several."""


class ServerLine(msgspec.Struct, frozen=True, kw_only=True):
    """One generation server of a machine's page."""

    name: str
    version: str | None
    state: str
    """Why it is down, that it is paused, or what it does."""
    trouble: bool
    queue: str | None
    jobs: tuple[str, ...]
    percent: int | None
    """How far its job is; None: its server does not tell, or it runs none or several."""
    pace: str | None
    vram: str | None


def now_lines(servers: Sequence[ServerSample]) -> tuple[Doing, ...]:
    """What a machine makes now, a line for each server that has something to do."""
    lines = [
        Doing(
            words=say("{server}: {work}", server=name_of(each, servers), work=said),
            percent=_percent(each.jobs),
        )
        for each in servers
        if (said := _now(each))
    ]
    more = len(lines) - SHOWN_SERVERS
    if more <= 0:
        return tuple(lines)
    return (*lines[:SHOWN_SERVERS], Doing(words=say("And {count} more", count=more)))


def server_lines(
    servers: Sequence[ServerSample], usual_seconds: Mapping[str, float]
) -> tuple[ServerLine, ...]:
    """The servers of a machine; ``usual_seconds``: of a job, by server."""
    return tuple(
        ServerLine(
            name=name_of(server, servers),
            version=server.version,
            state=_state(server),
            trouble=server.state == "down" or server.stall is not None,
            queue=_queue(server, usual_seconds.get(server.id)),
            jobs=tuple(commas([*_what(job)]) or say("a job") for job in server.jobs),
            percent=_percent(server.jobs),
            pace=_paces(server.jobs),
            vram=None if server.vram_bytes is None else gib(server.vram_bytes),
        )
        for server in servers
    )


def job_words(job: RunningJob) -> str:
    """A running job in one line: model, size, step, pace."""
    return commas([*_what(job), *_pace(job)]) or say("a job")


def size_words(job: RunningJob | JobRecord) -> str | None:
    """Width × height, and how many at once: "1024 × 1024, 4 at once"; None: not known."""
    if not job.width or not job.height:
        return None
    size = f"{job.width}\u00a0×\u00a0{job.height}"
    if (job.batch or 1) == 1:
        return size
    return say("{size}, {count} at once", size=size, count=job.batch)


def step_words(job: RunningJob) -> str | None:
    """How far a job is: "step 12 of 30", or "40 %"; None: its server does not tell."""
    if job.step is not None and job.steps:
        return say("step {step} of {steps}", step=job.step, steps=job.steps)
    if job.step is not None:
        return say("step {step}", step=job.step)
    return None if job.progress_ratio is None else f"{100 * job.progress_ratio:.0f} %"


def waiting_seconds(server: ServerSample, usual: float | None) -> float | None:
    """How long a server needs for what waits for it, where its jobs' usual duration is known."""
    if usual is None or server.queue_pending is None:
        return None
    return server.queue_pending * usual


def about(seconds: float) -> str:
    """An estimated span: "about 4 min", "under a minute"."""
    if seconds < 60:
        return say("under a minute")
    step = 60 if seconds < 7200 else 3600
    return say("about {span}", span=duration(round(seconds / step) * step))


def took(seconds: float | None) -> str | None:
    """How long a job ran: "8.4 s", "1 min 12 s"; None: not known."""
    if seconds is None:
        return None
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def megapixels(pixels: int) -> str:
    """Pixels in millions, as camera makers count them."""
    millions = pixels / 1e6
    return f"{millions:.1f}" if 0 < millions < 9.95 else f"{millions:,.0f}"


def _now(server: ServerSample) -> str:
    if server.state == "down":
        return ""
    parts = [job_words(job) for job in server.jobs]
    if not parts and server.queue_running:
        parts.append(say("a job"))
    if server.paused:
        parts.append(say("paused"))
    if server.queue_pending:
        parts.append(_waiting(server.queue_pending))
    return semicolons(parts)


def _waiting(count: int) -> str:
    return say_many("{count} waiting", "{count} waiting", count)


def _percent(jobs: Sequence[RunningJob]) -> int | None:
    if len(jobs) != 1:
        return None
    job = jobs[0]
    if job.step is not None and job.steps:
        return round(100 * min(1.0, job.step / job.steps))
    return None if job.progress_ratio is None else round(100 * job.progress_ratio)


def _state(server: ServerSample) -> str:
    if server.state == "down":
        return say("down: {why}", why=server.reason) if server.reason else say("down")
    if server.stall is not None:
        return say("stalled: {evidence}", evidence=server.stall.evidence)
    if server.paused:
        return say("paused")
    return say("runs") if server.jobs or server.queue_running else say("idle")


def _queue(server: ServerSample, usual: float | None) -> str | None:
    if server.queue_pending is None:
        return None
    seconds = waiting_seconds(server, usual)
    if not server.queue_pending:
        return say("empty")
    waiting = _waiting(server.queue_pending)
    return commas([waiting, about(seconds)]) if seconds else waiting


def _what(job: RunningJob) -> Iterator[str]:
    size = size_words(job)
    if job.model and size:
        yield say("{model} {size}", model=job.model, size=size)
    elif named := job.model or size:
        yield named
    if step := step_words(job):
        yield step


def _pace(job: RunningJob) -> Iterator[str]:
    if job.seconds_per_step is not None:
        yield say("{time} a step", time=pace(job.seconds_per_step))


def _paces(jobs: Sequence[RunningJob]) -> str | None:
    said: list[str] = []
    for job in jobs:
        usual = job.usual_seconds_per_step
        also = [] if usual is None else [say("usually {time}", time=pace(usual))]
        said += [commas([words, *also]) for words in _pace(job)]
    return semicolons(said) or None
