"""Finished jobs as the pages list them, and why they failed in words. Pure."""

from __future__ import annotations

import msgspec

from tierwatch_agent.snapshot import JobRecord
from tierwatch_agent.wording import gib
from tierwatch_agent.words import say
from tierwatch_dashboard.history.jobs import StoredJob
from tierwatch_dashboard.servers import name_of_id
from tierwatch_dashboard.web.making import OUTCOMES, size_words, took

LONGEST_ERROR = 90
"""Letters of an error that a line has room for."""


class FinishedLine(msgspec.Struct, frozen=True, kw_only=True):
    """One job of a list; None: not known."""

    key: int
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
    why: str | None
    """What went wrong, where the outcome does not say it already."""
    whole: str | None
    """The whole of it, where the line has no room for that."""
    bad: bool
    """It failed, which nobody wanted."""


def finished(stored: StoredJob, available_bytes: float | None = None) -> FinishedLine:
    """A kept job as a line; ``available_bytes`` is what its GPU had for it when it stopped."""
    job = stored.job
    why = _why(job, available_bytes)
    shown = None if why is None else shortened(why)
    return FinishedLine(
        key=stored.key,
        machine=stored.machine,
        ended_at=job.ended_at,
        server=name_of_id(job.server),
        model=job.model,
        size=size_words(job),
        steps=job.steps,
        took=took(job.duration_seconds),
        peak_vram=None if job.peak_vram_bytes is None else gib(job.peak_vram_bytes),
        outcome=OUTCOMES[job.outcome],
        why=shown,
        whole=why if shown != why else None,
        bad=job.outcome in ("error", "oom"),
    )


def shortened(words: str) -> str:
    """As much of an error as a line has room for, cut between words."""
    if len(words) <= LONGEST_ERROR:
        return words
    cut = words[:LONGEST_ERROR]
    whole, space, _ = cut.rpartition(" ")
    return f"{(whole if space and len(whole) > LONGEST_ERROR // 2 else cut).rstrip(' ,;:.')}\u00a0…"


def _why(job: JobRecord, available: float | None) -> str | None:
    if job.outcome == "oom":
        return _memory(job.peak_vram_bytes, available)
    if job.outcome != "error" or not job.error:
        return None
    # What Tierwatch itself says has its translation; a program's own words have none.
    return job.error if "{" in job.error else say(job.error)


def _memory(peak: int | None, available: float | None) -> str | None:
    if available is not None and peak is not None and peak <= available:
        return say(
            "it held {peak} of the {available} that were available, and asked for more",
            peak=gib(peak),
            available=gib(available),
        )
    if available is not None:
        return say("it asked for more than the {available} there were", available=gib(available))
    if peak is not None:
        return say("it held {peak} and asked for more than there was", peak=gib(peak))
    return None
