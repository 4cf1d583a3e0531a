"""Finished jobs as CSV, for spreadsheets and scripts. Pure: pages of jobs in, text out.

It begins with a byte order mark, since Excel takes UTF-8 for the system's own letters without one,
and a studio's models have names in its own language; scripts read it as ``utf-8-sig``. The columns
keep their names in every language, with their units, so that what reads them goes on to.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone

from tierwatch_agent.wording import GIBIBYTE
from tierwatch_dashboard.history.jobs import StoredJob

PAGE = 1000
"""Jobs that are held at once."""

COLUMNS = (
    "ended_at_utc",
    "machine",
    "server",
    "model",
    "width_px",
    "height_px",
    "batch",
    "steps",
    "images",
    "duration_seconds",
    "peak_vram_gib",
    "outcome",
    "error",
    "gpu",
    "job",
)

_BYTE_ORDER_MARK = "\ufeff"
# What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")


def table(page: Callable[[int | None], Sequence[StoredJob]]) -> Iterator[str]:
    """The lines of the file; ``page`` gives ``PAGE`` jobs at most, after the one of a key."""
    yield _BYTE_ORDER_MARK + _lines([COLUMNS])
    before: int | None = None
    while jobs := page(before):
        yield _lines([_cells(each) for each in jobs])
        if len(jobs) < PAGE:
            return
        before = jobs[-1].key


def _cells(stored: StoredJob) -> tuple[object, ...]:
    job = stored.job
    ended = datetime.fromtimestamp(job.ended_at, timezone.utc)
    took, peak = job.duration_seconds, job.peak_vram_bytes
    return (
        ended.strftime("%Y-%m-%d %H:%M:%S"),
        _text(stored.machine),
        _text(job.server),
        _text(job.model),
        job.width,
        job.height,
        job.batch,
        job.steps,
        job.images,
        None if took is None else f"{took:.1f}",
        None if peak is None else f"{peak / GIBIBYTE:.2f}",
        job.outcome,
        _text(job.error),
        _text(job.gpu),
        _text(job.id),
    )


def _text(words: str | None) -> str | None:
    """A text that no spreadsheet takes for a formula."""
    return f"'{words}" if words is not None and words.startswith(_FORMULA) else words


def _lines(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()
