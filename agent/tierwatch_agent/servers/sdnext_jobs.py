"""SD.Next's jobs, from the events of its ``/sdapi/v1/history``. Pure.

The facts are those of modules/shared_state.py, call_queue.py, ui_control.py and api/generate.py. A
job begins and ends with an event under one id; within it each phase ("VAE Decode", "Save image")
does so under its own, and between two phases the server looks idle. The events have the server's
own moments, so that jobs too short to be seen running are known exactly.

No event tells an error. Told apart: *oom*, torch's counter rose about when the job ended;
*interrupted*, the status said so while or right after it ran (SD.Next sets it for most errors while
sampling, too); *error*, the job never ended though the server has long been idle. Paths of files
are in the events and are not kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tierwatch_agent.servers import fields
from tierwatch_agent.snapshot import JobRecord, Outcome

GENERATING = frozenset(
    {
        "api-ctl",
        "api-detail",
        "api-img",
        "api-txt",
        "control",
        "image",
        "postprocess",
        "text",
        "video",
    }
)
"""Names under which a job begins; all others are phases, or make no image."""
LEFT = "the server left it without an end"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the events tell it. Moments are Unix seconds by the server."""

    id: str
    started_at: float
    ended_at: float | None = None
    images: int | None = None
    """Files that it has saved, grids included; None: none, as of most jobs that come by the API."""


class Signs(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen from outside while jobs ran."""

    interrupted_at: Sequence[float] = ()
    oom_between: Sequence[tuple[float, float]] = ()
    """Two looks at the counter, between which it rose."""


def jobs(events: Sequence[object]) -> list[Job]:
    """The jobs in a history, by their beginning; an unreadable event is passed over."""
    found: dict[str, Job] = {}
    latest: dict[str, str] = {}
    running = ""
    for event in events:
        name, kind = fields.text(event, "job"), fields.text(event, "op")
        key, at = fields.token(event, "id"), fields.number(event, "timestamp")
        if key is None or at is None:
            continue
        if kind == "begin" and name in GENERATING:
            # The moment makes it unique for ever: fifteen random digits, or a page's own task id.
            running = latest[key] = f"{key}:{at:.0f}"
            found[running] = Job(id=running, started_at=at)
        elif kind == "end" and key in latest:
            ended = latest.pop(key)
            found[ended] = msgspec.structs.replace(found[ended], ended_at=at)
        elif kind == "output" and running and found[running].ended_at is None:
            made = (found[running].images or 0) + 1
            found[running] = msgspec.structs.replace(found[running], images=made)
    return list(found.values())


def left_at(job: Job, others: Sequence[Job], resting_since: float | None) -> float | None:
    """When a job without an end was left, as by an error; None: it may well run.

    Jobs run one after the other, so that it is over once a later one has ended.
    """
    later = [j for j in others if j.started_at > job.started_at and j.ended_at is not None]
    return min((j.started_at for j in later), default=resting_since)


def record(
    job: Job, others: Sequence[Job], signs: Signs, server: str, ended_at: float
) -> JobRecord:
    """The record of an ended job.

    Args:
        job: The job; one without an end was left by an error.
        others: All jobs of the same history: a sign belongs to the job that fits it best.
        signs: What was seen while they ran.
        server: The server's id.
        ended_at: When it ended, or when the server was first idle after it.
    """
    outcome: Outcome = "success" if job.ended_at is not None else "error"
    error = None if job.ended_at is not None else LEFT
    if any(_last_ended(others, span) == job.id for span in signs.oom_between):
        outcome, error = "oom", "OutOfMemoryError"
    elif any(_last_begun(others, at) == job.id for at in signs.interrupted_at):
        outcome, error = "interrupted", None
    return JobRecord(
        id=job.id,
        server=server,
        outcome=outcome,
        ended_at=ended_at,
        started_at=job.started_at,
        duration_seconds=max(0.0, ended_at - job.started_at),
        images=job.images,
        error=error,
    )


def _last_begun(found: Sequence[Job], at: float) -> str | None:
    begun = [job for job in found if job.started_at <= at]
    return max(begun, key=lambda job: job.started_at).id if begun else None


def _last_ended(found: Sequence[Job], span: tuple[float, float]) -> str | None:
    first, last = span
    ended = [
        (job.ended_at, job.id)
        for job in found
        if job.ended_at is not None and first <= job.ended_at <= last
    ]
    return max(ended)[1] if ended else None
