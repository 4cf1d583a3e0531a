"""The weekly reports, made of what is kept; a week that is over is reckoned once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import tzinfo
from itertools import pairwise
from typing import Protocol

from tierwatch_agent.snapshot import Outcome
from tierwatch_dashboard.changes import StateChange
from tierwatch_dashboard.history.energy import Energy
from tierwatch_dashboard.history.jobs import Throughput
from tierwatch_dashboard.report import Piece, Report, Work, report
from tierwatch_dashboard.stretches import Span, cuts, stretches
from tierwatch_dashboard.weeks import Week, week_of

SETTLED_SECONDS = 3600.0
"""How long after its end nothing of a span is still under way to the store."""

FRESH_SECONDS = 60.0
"""For how long the report of the week that it is holds."""

KEPT_WEEKS = 26
_KEPT_PIECES = 100


class Changes(Protocol):
    """The part of the store of verdicts that a report is made of."""

    def all_changes(self, start: float, end: float) -> Sequence[StateChange]:
        """Every machine's changes in a span, and the last before it."""
        ...


class Watches(Protocol):
    """The store of when a dashboard watched."""

    def spans(self, start: float, end: float) -> Sequence[Span]:
        """Within a span."""
        ...


class Made(Protocol):
    """The part of the store of jobs that a report is made of."""

    def throughput(self, start: float, end: float) -> Sequence[Throughput]:
        """What each GPU made of jobs that ended in a span."""
        ...


class Drawn(Protocol):
    """The store of power."""

    def energy(self, start: float, end: float) -> Sequence[Energy]:
        """What each machine drew in a span."""
        ...


class Reports:
    """Safe to call from several threads, of which one reckons at a time.

    ``zone`` is the one whose midnights divide weeks; None: the machine's own.
    """

    def __init__(
        self,
        changes: Changes,
        watches: Watches,
        made: Made,
        drawn: Drawn | None,
        now: Callable[[], float],
        zone: tzinfo | None = None,
    ) -> None:
        self._changes = changes
        self._watches = watches
        self._made = made
        self._drawn = drawn
        self._now = now
        self.zone = zone
        self._turn = threading.Lock()
        self._weeks: dict[Week, tuple[Report, float]] = {}
        self._pieces: dict[Span, Piece] = {}

    @property
    def current(self) -> Week:
        """The week that it is."""
        return week_of(self._now(), self.zone)

    def week(self, week: Week) -> Report:
        """A week's report; of the one that it is, up to this minute."""
        with self._turn:
            now = self._now()
            known, at = self._weeks.get(week, (None, now))
            if known is None or not _holds(known, at, now):
                known = self._reckoned(week.midnights(self.zone), now)
                self._weeks[week] = known, now
                while len(self._weeks) > KEPT_WEEKS:
                    del self._weeks[min(self._weeks)]
            return known

    def _reckoned(self, midnights: Sequence[float], now: float) -> Report:
        start = midnights[0]
        end = max(start, min(midnights[-1], now))
        known = stretches(self._changes.all_changes(start, end), start, end)
        moments = sorted({*(at for at in midnights if at < end), end, *cuts(known)})
        pieces = [self._piece(each, now) for each in pairwise(moments)]
        return report((start, end), known, self._watches.spans(start, end), pieces)

    def _piece(self, span: Span, now: float) -> Piece:
        known = self._pieces.get(span)
        if known is None:
            known = Piece(*span, self._work(span))
            if span[1] + SETTLED_SECONDS < now:
                self._pieces[span] = known
                while len(self._pieces) > _KEPT_PIECES:
                    del self._pieces[next(iter(self._pieces))]
        return known

    def _work(self, span: Span) -> dict[str, Work]:
        made: dict[str, list[Throughput]] = {}
        for line in self._made.throughput(*span):
            made.setdefault(line.machine, []).append(line)
        drawn = {each.machine: each for each in self._drawn.energy(*span)} if self._drawn else {}
        return {
            machine: _work(made.get(machine, ()), drawn.get(machine))
            for machine in made.keys() | drawn.keys()
        }


def _holds(known: Report, reckoned_at: float, now: float) -> bool:
    """Whether a report is as it would be reckoned now, but for a minute."""
    return reckoned_at > known.end + SETTLED_SECONDS or 0 <= now - reckoned_at < FRESH_SECONDS


def _work(lines: Sequence[Throughput], energy: Energy | None) -> Work:
    jobs = Counter[Outcome]()
    for line in lines:
        jobs.update(line.jobs)
    return Work(
        jobs=dict(jobs),
        images=sum(line.images for line in lines),
        pixels=sum(line.pixels for line in lines),
        gpus=energy.gpus if energy else 0,
        joules=energy.joules if energy else 0.0,
        power_seconds=energy.power_seconds if energy else 0.0,
    )
