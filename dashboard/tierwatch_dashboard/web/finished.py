"""Finished jobs as the pages list them. Pure: kept records to lines of words."""

from __future__ import annotations

import msgspec

from tierwatch_agent.wording import gib
from tierwatch_agent.words import known
from tierwatch_dashboard.history.jobs import StoredJob
from tierwatch_dashboard.servers import name_of_id
from tierwatch_dashboard.web.making import OUTCOMES, size_words, took


class FinishedLine(msgspec.Struct, frozen=True, kw_only=True):
    """One job of a list; None: not known."""

    machine: str
    ended_at: float
    server: str
    model: str | None
    size: str | None
    steps: int | None
    took: str | None
    peak_vram: str | None
    outcome: str
    """In a word."""
    error: str | None
    """What went wrong, where the outcome does not say it already."""
    bad: bool
    """It failed, which nobody wanted."""


def finished(stored: StoredJob) -> FinishedLine:
    """A kept job as a line."""
    job = stored.job
    return FinishedLine(
        machine=stored.machine,
        ended_at=job.ended_at,
        server=name_of_id(job.server),
        model=job.model,
        size=size_words(job),
        steps=job.steps,
        took=took(job.duration_seconds),
        peak_vram=None if job.peak_vram_bytes is None else gib(job.peak_vram_bytes),
        outcome=OUTCOMES[job.outcome],
        error=known(job.error) if job.error and job.outcome == "error" else None,
        bad=job.outcome in ("error", "oom"),
    )
