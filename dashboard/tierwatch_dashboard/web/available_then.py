"""What was available to a job that ran out of memory, from what is kept of its machine."""

from __future__ import annotations

from typing import cast

from flask import current_app

from tierwatch_dashboard.app import services
from tierwatch_dashboard.database import DatabaseError
from tierwatch_dashboard.history import HistoryError, Series
from tierwatch_dashboard.history.jobs import StoredJob

LOOKED_AT_SECONDS = 60.0
"""How long before its end the least counts."""

_REMEMBERED = 2000
_EXTENSION = "tierwatch.available_then"


def available_then(stored: StoredJob) -> float | None:
    """The least that its GPU had available in its last minute, in bytes; None: not known."""
    if stored.job.outcome != "oom":
        return None
    known = cast("dict[int, float]", current_app.extensions.setdefault(_EXTENSION, {}))
    found = known.get(stored.key)
    if found is None:
        found = _looked_up(stored)
        if found is not None:
            if len(known) >= _REMEMBERED:
                known.clear()
            known[stored.key] = found
    return found


def _looked_up(stored: StoredJob) -> float | None:
    end = stored.job.ended_at
    try:
        kept = services().history.series(stored.machine, end - LOOKED_AT_SECONDS, end)
    except (DatabaseError, HistoryError):
        # The list is worth more than this figure of it.
        return None
    index = _index(stored)
    if index is None and len(kept) == 1:
        index = kept[0].gpu
    return next((_least(series) for series in kept if series.gpu == index), None)


def _index(stored: StoredJob) -> str | None:
    """Which GPU of its machine the job ran on, where the machine still has it."""
    view = services().state.view(stored.machine)
    gpus = view.snapshot.gpus if view and view.snapshot else ()
    return next((gpu.index for gpu in gpus if gpu.uuid == stored.job.gpu), None)


def _least(series: Series) -> float | None:
    figures = (
        bucket.available_bytes if bucket.available_min_bytes is None else bucket.available_min_bytes
        for bucket in series.buckets
    )
    return min((figure for figure in figures if figure is not None), default=None)
