from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from tierwatch_dashboard.database import open_database
from tierwatch_dashboard.demo_past import database_in, write_past
from tierwatch_dashboard.demo_studio import studio
from tierwatch_dashboard.history.database import DatabaseHistory
from tierwatch_dashboard.history.holdings import HoldingStore
from tierwatch_dashboard.history.jobs import JobStore

NOW = 1_795_555_200.0
HOUR = 3600.0


def test_the_demo_s_last_hour_is_told_as_closely_as_a_dashboard_keeps_it(tmp_path: Path) -> None:
    write_past(database_in(tmp_path), [m for m in studio(7) if m.id == "render-07"], NOW)
    engine = open_database(database_in(tmp_path))
    (series,) = DatabaseHistory(engine).series("render-07", NOW - HOUR, NOW)
    points = [bucket for bucket in series.buckets if bucket.available_bytes is not None]
    assert max(b.at - a.at for a, b in pairwise(points)) <= 10
    lowest = min(bucket.available_bytes or 0 for bucket in points) / 2**30
    assert round(lowest, 1) == 7.9

    (held,) = HoldingStore(engine).during("render-07", NOW - HOUR, NOW, 10)
    assert held.holder.name == "eldenring.exe"
    latest = JobStore(engine).recent(5, "render-07")
    assert all(job.job.ended_at > NOW - 300 for job in latest)
    engine.dispose()
