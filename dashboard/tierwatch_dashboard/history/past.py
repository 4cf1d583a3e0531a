"""What charts show of a machine beside its figures: who held VRAM, its jobs, its states."""

from __future__ import annotations

from typing import Protocol

from sqlalchemy import Engine

from tierwatch_dashboard.changes import StateChange
from tierwatch_dashboard.history.holdings import Holding, HoldingStore
from tierwatch_dashboard.history.job_spans import JobSpan, job_spans
from tierwatch_dashboard.history.verdicts import VerdictStore


class PastLog(Protocol):
    """Of one machine and a span of Unix seconds each."""

    def holdings(self, machine: str, start: float, end: float, width: float) -> tuple[Holding, ...]:
        """Who held memory of its GPUs, in parts of ``width`` seconds."""
        ...

    def jobs(self, machine: str, start: float, end: float, most: int) -> tuple[JobSpan, ...]:
        """Its finished jobs; about ``most`` at most, counted together where there are more."""
        ...

    def states(self, machine: str, start: float, end: float) -> tuple[StateChange, ...]:
        """Its changes of state, oldest first; the one before the span leads."""
        ...


class Past:
    """The ``PastLog`` of a dashboard's own database; DatabaseError where it cannot be read."""

    def __init__(self, engine: Engine, holdings: HoldingStore, verdicts: VerdictStore) -> None:
        self._engine = engine
        self.holdings = holdings.during
        self.states = verdicts.changes

    def jobs(self, machine: str, start: float, end: float, most: int) -> tuple[JobSpan, ...]:
        """See ``job_spans``."""
        return job_spans(self._engine, machine, start, end, most)
