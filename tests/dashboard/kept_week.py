"""A week that is kept in a real database, in a test's hands."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timezone

from sqlalchemy import Engine, insert

from tests.dashboard.studio import NOW
from tierwatch_agent.snapshot import JobRecord, Outcome
from tierwatch_dashboard.changes import StateChange
from tierwatch_dashboard.database import writing
from tierwatch_dashboard.history import GpuPoint
from tierwatch_dashboard.history.database import DatabaseHistory
from tierwatch_dashboard.history.energy import EnergyLog
from tierwatch_dashboard.history.jobs import FinishedJob, JobStore
from tierwatch_dashboard.history.tables import WATCHES
from tierwatch_dashboard.history.verdicts import VerdictStore
from tierwatch_dashboard.history.watches import WatchStore
from tierwatch_dashboard.reports import Reports
from tierwatch_dashboard.weeks import read_week

HOUR = 3600.0
MONDAY = read_week("2026-W47").midnights(timezone.utc)[0]
"""Of the week before the studio's present, Tuesday 2026-11-24 21:20 UTC."""


class Past:
    """A past in a real database, in the test's hands; hours count from that Monday."""

    def __init__(self, engine: Engine) -> None:
        self._verdicts, self._jobs = VerdictStore(engine), JobStore(engine)
        self._engine, self._history = engine, DatabaseHistory(engine)
        self.reports = Reports(
            self._verdicts,
            WatchStore(engine),
            self._jobs,
            EnergyLog(engine),
            lambda: NOW,
            timezone.utc,
        )

    def becomes(self, machine: str, hour: float, state: str, **fields: str | None) -> None:
        told = {"machine": machine, "at": MONDAY + hour * HOUR, "state": state, "headline": "",
                "tier": "mass", **fields}  # fmt: skip
        self._verdicts.append_changes([StateChange(**told)])  # pyright: ignore[reportArgumentType]

    def watched(self, start: float, end: float) -> None:
        since, until = (round((MONDAY + hour * HOUR) * 1000) for hour in (start, end))
        with writing(self._engine) as connection:
            connection.execute(insert(WATCHES), {"since": since, "until": until})

    def makes(self, machine: str, hour: float, images: int, outcome: Outcome = "success") -> None:
        job = JobRecord(
            id=f"{hour}",
            server="comfyui-8188",
            outcome=outcome,
            ended_at=MONDAY + hour * HOUR,
            images=images,
            pixels=images * 1_000_000,
        )
        self._jobs.append([FinishedJob(machine=machine, job=job)])

    def draws(self, machine: str, watts: float, start: float, end: float) -> None:
        moments: Sequence[int] = range(round(start * 3600), round(end * 3600), 600)
        self._history.append(
            [
                GpuPoint(machine=machine, gpu="0", at=MONDAY + at, power_watts=watts)
                for at in moments
            ]
        )
        self._history.roll_up(NOW)


def week_47(past: Past) -> None:
    """Two machines of mass, one of light; a game for 29 hours, a machine down for 8."""
    past.becomes("render-01", 0, "ok")
    past.becomes("render-03", 0, "ok")
    past.becomes("render-03", 20, "below", cause="others", culprit="eldenring.exe")
    past.becomes("render-03", 49, "ok")
    past.becomes("render-01", 100, "down", cause="down")
    past.becomes("render-01", 108, "ok")
    past.becomes("light-01", 0, "ok", tier="light")
    past.watched(0, 150)
    past.watched(156, 168 + 40)
    past.makes("render-01", 5, 300)
    past.makes("render-03", 6, 24)
    past.makes("render-03", 7, 0, "oom")
    past.draws("render-01", 200.0, 0, 84)
