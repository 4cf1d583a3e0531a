"""What the fleet made in the last hour, counted every so often rather than for each page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Protocol

import msgspec

from tierwatch_dashboard.history.jobs import Throughput

HOUR = 3600.0


class Made(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Everything that ended in an hour."""

    throughput: tuple[Throughput, ...] = ()
    usual_seconds: Mapping[tuple[str, str], float] = {}
    """How long a job takes, by machine and generation server."""

    @cached_property
    def by_machine(self) -> Mapping[str, Sequence[Throughput]]:
        """The throughput of each machine that made something."""
        found: dict[str, list[Throughput]] = {}
        for line in self.throughput:
            found.setdefault(line.machine, []).append(line)
        return found


class Counted(Protocol):
    """The part of the store of jobs that is counted."""

    def throughput(self, start: float, end: float) -> Sequence[Throughput]:
        """What each GPU made of jobs that ended in a span."""
        ...

    def usual_seconds(self, start: float, end: float) -> Mapping[tuple[str, str], float]:
        """Median duration by machine and server."""
        ...


class LastHour:
    """The count in force. ``refresh`` in the background, ``current`` from any thread."""

    def __init__(self, jobs: Counted, now: Callable[[], float]) -> None:
        self._jobs = jobs
        self._now = now
        self._current = Made()

    @property
    def current(self) -> Made:
        """The last count; the same object until something in it changes."""
        return self._current

    def refresh(self) -> None:
        """Counts anew."""
        end = self._now()
        made = Made(
            throughput=tuple(self._jobs.throughput(end - HOUR, end)),
            usual_seconds=self._jobs.usual_seconds(end - HOUR, end),
        )
        if made != self._current:
            self._current = made
