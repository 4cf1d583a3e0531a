"""Doubles of what the pages read, in a test's hands: fleet, history, inventory file and clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.dashboard.studio import GIB, MIB, NOW, machines, worst_first
from tierwatch_agent.snapshot import Outcome
from tierwatch_dashboard.alerts.board import AlertBoard
from tierwatch_dashboard.app import Services
from tierwatch_dashboard.changes import StateChange
from tierwatch_dashboard.envelope import Envelope
from tierwatch_dashboard.fleet import SourceHealth
from tierwatch_dashboard.fleet.state import MachineView
from tierwatch_dashboard.fleet.trend import Trends
from tierwatch_dashboard.history import Bucket, GpuPoint, Series
from tierwatch_dashboard.history.holdings import Holding
from tierwatch_dashboard.history.job_spans import JobSpan
from tierwatch_dashboard.history.jobs import JobFilter, JobLog, StoredJob
from tierwatch_dashboard.inventory import Inventory
from tierwatch_dashboard.last_hour import Made


class Fleet:
    """The fleet's state: the test sets it, and its version rises."""

    def __init__(self, views: Sequence[MachineView]) -> None:
        self._views = tuple(views)
        self.version = 1

    def views(self) -> tuple[MachineView, ...]:
        return self._views

    def view(self, machine_id: str) -> MachineView | None:
        return next((v for v in self._views if v.machine.id == machine_id), None)

    def set(self, views: Sequence[MachineView]) -> None:
        self._views = tuple(views)
        self.version += 1

    def change(self, changed: MachineView) -> None:
        """Puts one machine's new view in place of its old one, worst first."""
        rest = [v for v in self._views if v.machine.id != changed.machine.id]
        self.set(worst_first([*rest, changed]))


MOST_BUCKETS = 1000


class History:
    """A store with a made-up past: a job loads a model, the agent rests, a game starts."""

    def __init__(self, step: float = 5.0, gpus: Sequence[str] = ("0",)) -> None:
        self.step = step
        self.gpus = gpus

    def series(self, machine: str, start: float, end: float) -> tuple[Series, ...]:
        # As a store does: in no more buckets than a chart shows.
        step = self.step * math.ceil((end - start) / (self.step * MOST_BUCKETS))
        return tuple(
            Series(
                machine=machine,
                gpu=index,
                resolution_seconds=0 if step == self.step else round(step),
                buckets=tuple(self._buckets(start, end, step)),
            )
            for index in self.gpus
        )

    def _buckets(self, start: float, end: float, step: float) -> list[Bucket]:
        made: list[Bucket] = []
        at_ = math.ceil(start / step) * step
        while at_ <= end:
            phase = (at_ % 3600) / 3600
            if not 0.55 < phase < 0.62:
                game = 5.8 if phase > 0.7 else 0.0
                job = 6.4 if phase > 0.2 else 0.0
                wave = 0.4 * math.sin(at_ / 90)
                made.append(
                    Bucket(
                        at=at_,
                        total_bytes=16376 * MIB,
                        used_bytes=(0.2 + game + job + wave * (job > 0)) * GIB + 0.5 * GIB,
                        available_bytes=(15.4 - game) * GIB,
                        others_bytes=(0.2 + game) * GIB,
                        utilization_ratio=0.9 + wave / 5 if job else 0.02,
                        temperature_celsius=45 + 30 * phase + wave * 4,
                        power_watts=280.0 if job else 35.0,
                        own_bytes=(job + wave * (job > 0)) * GIB,
                        clock_hertz=2_505e6 if job else 210e6,
                        heat_ratio=float(phase > 0.9),
                        capped_ratio=float(job > 0),
                    )
                )
            at_ += step
        return made

    def append(self, points: Sequence[GpuPoint]) -> None:
        raise NotImplementedError

    def roll_up(self, now: float) -> None:
        raise NotImplementedError

    def prune(self, now: float) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Holds nothing."""


class Jobs:
    """Finished jobs, the latest first, in the test's hands."""

    def __init__(self, *kept: StoredJob) -> None:
        self.kept = kept

    def recent(
        self,
        limit: int,
        machine: str | None = None,
        outcome: Outcome | None = None,
        before: int | None = None,
    ) -> tuple[StoredJob, ...]:
        return tuple(
            each
            for each in self.kept
            if machine in (None, each.machine)
            and outcome in (None, each.job.outcome)
            and (before is None or each.key < before)
        )[:limit]

    def find(
        self, limit: int, sought: JobFilter, before: int | None = None
    ) -> tuple[StoredJob, ...]:
        machine = next(iter(sought.machines)) if sought.machines else None
        return self.recent(limit, machine, sought.outcome, before)


@dataclass
class Past:
    """What happened on every machine; the test sets it."""

    held: tuple[Holding, ...] = ()
    spans: tuple[JobSpan, ...] = ()
    changes: tuple[StateChange, ...] = ()

    def holdings(self, machine: str, start: float, end: float, width: float) -> tuple[Holding, ...]:
        return self.held

    def jobs(self, machine: str, start: float, end: float, most: int) -> tuple[JobSpan, ...]:
        return tuple(each for each in self.spans if each.end >= start and each.start <= end)

    def states(self, machine: str, start: float, end: float) -> tuple[StateChange, ...]:
        return self.changes


@dataclass
class LastHour:
    """What the fleet made; the test sets it."""

    current: Made = field(default_factory=Made)


@dataclass
class Production:
    """What the studio makes; the test sets it."""

    current: Envelope = field(default_factory=Envelope)


@dataclass
class InventoryFile:
    """The inventory file; the test sets its error."""

    current: Inventory = field(default_factory=Inventory)
    error: str | None = None
    loaded_at: float = NOW - 3600


@dataclass
class Clock:
    """A clock that stands until the test moves it."""

    at: float = NOW

    def __call__(self) -> float:
        return self.at


@dataclass
class Alerts:
    """The board of alerts in force; the test sets it."""

    board: AlertBoard


@dataclass
class Studio:
    """Everything that the pages read, in the test's hands."""

    fleet: Fleet = field(default_factory=lambda: Fleet(machines()))
    history: History = field(default_factory=History)
    jobs: JobLog = field(default_factory=Jobs)
    last_hour: LastHour = field(default_factory=LastHour)
    inventory_file: InventoryFile = field(default_factory=InventoryFile)
    now: Clock = field(default_factory=Clock)
    trends: Trends = field(default_factory=Trends)
    source: SourceHealth = field(default_factory=SourceHealth)
    past: Past = field(default_factory=Past)
    alerts: Alerts | None = None
    production: Production = field(default_factory=Production)

    def __post_init__(self) -> None:
        self.inventory_file.current = Inventory(
            machines=tuple(v.machine for v in self.fleet.views())
        )

    def services(self) -> Services:
        return Services(
            state=self.fleet,
            history=self.history,
            jobs=self.jobs,
            last_hour=self.last_hour,
            inventory_file=self.inventory_file,
            now=self.now,
            past=self.past,
            trends=self.trends,
            source=lambda: self.source,
            alerts=self.alerts,
            production=self.production,
        )
