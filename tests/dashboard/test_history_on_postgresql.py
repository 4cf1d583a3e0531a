"""The same past from PostgreSQL as from SQLite: points, roll-ups, holders, jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.dashboard.test_history import DAY, NOON, every
from tests.dashboard.test_holdings import FORGE, change
from tests.dashboard.test_job_spans import job
from tests.postgres import RunningPostgres
from tierwatch_dashboard.database import open_database
from tierwatch_dashboard.history.database import DatabaseHistory
from tierwatch_dashboard.history.holdings import HoldingStore
from tierwatch_dashboard.history.job_spans import job_spans
from tierwatch_dashboard.history.jobs import JobStore

pytestmark = pytest.mark.slow


def told(engine: Engine) -> list[Any]:
    """All that charts read, after a few days of writing, rolling up and pruning."""
    history, holdings = DatabaseHistory(engine), HoldingStore(engine)
    history.append(every(60, NOON, NOON + 2 * DAY))
    history.append(every(60, NOON, NOON + 600))
    history.roll_up(NOON + 2 * DAY)
    history.prune(NOON + 2 * DAY)
    holdings.append([change(30 * n, n) for n in range(9)] + [change(10, 2, FORGE)])
    holdings.append([change(300, 0), change(10, 3, FORGE)])
    JobStore(engine).append([job(12 * n, "oom" if n % 9 == 0 else "success") for n in range(200)])
    found: list[Any] = [history.series("render-01", NOON, NOON + d * DAY) for d in (0.01, 1, 2)]
    found += [holdings.during("render-01", NOON + 40, NOON + 400, 60), holdings.current()]
    holdings.prune(NOON + 100 * DAY)
    found += [holdings.during("render-01", 0, NOON + 400, 60)]
    return found + [job_spans(engine, "render-01", NOON, NOON + 3000, most) for most in (500, 20)]


def test_charts_read_the_same_from_either(tmp_path: Path) -> None:
    sqlite = open_database(f"sqlite:///{(tmp_path / 'tierwatch.db').as_posix()}")
    with RunningPostgres() as postgres:
        other = open_database(postgres.url("history"))
        here, there = told(sqlite), told(other)
        other.dispose()
    sqlite.dispose()
    for ours, theirs in zip(here, there, strict=True):
        assert ours
        assert set(map(repr, ours)) == set(map(repr, theirs))
