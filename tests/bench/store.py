"""What the embedded store costs: bytes, writing, rolling up, pruning, and a machine's page.

    python -m tests.bench.store [--gpus 200] [--compared 20] [--hours 24]

Two stores, both with the dashboard's own code:

- a few GPUs' points of some hours, written as they come in, beside a real Prometheus' blocks of
  the very same samples, by its own promtool;
- 90 days of many GPUs as a dashboard keeps them (points for a day, minutes for seven, ten minutes
  and hours for 90), written by SQL: the file, what one more hour costs, and what a machine's page
  reads.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import Engine, text

from tests.bench.big_fleet.figures import points
from tests.bench.big_fleet.past import GPUS_EACH, KEPT, OPENED, fill_as_kept
from tests.bench.big_fleet.tsdb import FIGURES, Blocks, blocks_of
from tierwatch_dashboard.charts.timeline import MOST_JOBS
from tierwatch_dashboard.database import open_database, reading
from tierwatch_dashboard.history import GpuPoint
from tierwatch_dashboard.history.database import DatabaseHistory
from tierwatch_dashboard.history.holdings import HoldingStore
from tierwatch_dashboard.history.past import Past
from tierwatch_dashboard.history.tables import LEVELS
from tierwatch_dashboard.history.verdicts import VerdictStore

EVERY_SECONDS = 5.0
BATCH = 20_000
"""Points in a commit when the past is written."""
DAY = 86400.0
KEPT_DAYS = KEPT / 86_400_000
TIMES = 7
"""How often a page's data is read; the median counts."""
MIB = 2**20


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpus", type=int, default=200, help="whose 90 days are kept")
    parser.add_argument("--compared", type=int, default=20, help="GPUs kept by both stores")
    parser.add_argument("--hours", type=float, default=24.0, help="how long they are")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        theirs = _compare(folder, asked.compared, asked.hours)
        _keep(folder, asked.gpus, theirs)


def _compare(folder: Path, gpus: int, hours: float) -> Blocks:
    print(
        f"{gpus} GPUs, {hours:g} h at {EVERY_SECONDS:g} s: a point has {len(FIGURES)} samples, "
        "of GPUs that work and rest by turns"
    )
    start = time.time() // 7200 * 7200 - hours * 3600
    made = [p for gpu in range(gpus) for p in points(gpu, start, hours * 3600, EVERY_SECONDS)]
    made.sort(key=lambda point: point.at)
    engine = open_database(f"sqlite:///{(folder / 'compared.db').as_posix()}")
    history = DatabaseHistory(engine)
    took = _seconds(lambda: _append(history, made))
    _say("written", f"{len(made) / took:,.0f} points/s ({took:.1f} s, {BATCH:,} a commit)")
    took = _seconds(lambda: history.roll_up(start + hours * 3600))
    _say("rolled up", f"{len(made) / took:,.0f} points/s into {len(LEVELS) - 1} levels")
    sizes = _sizes(engine)
    ours = sizes["points"] / len(made)
    for level in LEVELS:
        rows = _rows(engine, level.table.name)
        if rows:
            _say(level.table.name, f"{sizes[level.table.name] / rows:6.1f} bytes a row")
    engine.dispose()
    theirs = blocks_of(made, folder)
    ours_each, theirs_each = ours / len(FIGURES), theirs.total_bytes / theirs.samples
    packed = theirs.chunk_bytes / theirs.samples
    _say("a sample", f"{ours_each:.2f} bytes as it came")
    _say("Prometheus", f"{theirs_each:.2f} bytes a sample, {packed:.2f} without its index")
    _say("ratio", f"{ours_each / theirs_each:.1f} of Prometheus', for points as they came\n")
    return theirs


def _keep(folder: Path, gpus: int, theirs: Blocks) -> None:
    machines = gpus // GPUS_EACH
    print(f"{gpus} GPUs on {machines} machines, {KEPT_DAYS:g} days as a dashboard keeps them")
    file = folder / "kept.db"
    engine = open_database(f"sqlite:///{file.as_posix()}")
    history = DatabaseHistory(engine)
    now = time.time() // 3600 * 3600
    took = _seconds(lambda: fill_as_kept(engine, machines, round(now) * 1000))
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    _say("generated", f"in {took:.0f} s, by SQL")
    sizes = _sizes(engine)
    for table in (*(level.table.name for level in LEVELS), "holdings", "jobs", "verdict_changes"):
        rows = _rows(engine, table)
        _say(table, f"{sizes[table] / MIB:8.1f} MiB, {rows:9,} rows of {sizes[table] / rows:.1f} B")
    ours = sum(sizes[level.table.name] for level in LEVELS)
    samples = KEPT_DAYS * DAY / EVERY_SECONDS * gpus * len(FIGURES)
    whole = samples * theirs.total_bytes / theirs.samples
    _say("the file", f"{file.stat().st_size / MIB:,.0f} MiB, figures {ours / MIB:,.0f} of it")
    _say("Prometheus", f"{whole / MIB:,.0f} MiB for every sample of as long, packed as above")
    _say("ratio", f"{ours / whole:.2f} of Prometheus', for figures as each keeps them")
    _grow(history, gpus, now)
    _read(engine, history, now)
    engine.dispose()


def _grow(history: DatabaseHistory, gpus: int, now: float) -> None:
    """An hour more: each round of points committed by itself, minutes rolled up as they close."""
    rounds = [list(points(gpu, now, 3600.0, EVERY_SECONDS)) for gpu in range(gpus)]
    appends: list[float] = []
    minutes: list[float] = []
    for tick, came in enumerate(zip(*rounds, strict=True), 1):
        appends.append(_seconds(lambda came=came: history.append(came)))
        if tick % round(60 / EVERY_SECONDS) == 0:
            closed = now + tick * EVERY_SECONDS
            minutes.append(_seconds(lambda closed=closed: history.roll_up(closed)))
    a_round = statistics.median(appends)
    _say("a round", f"{1000 * a_round:.1f} ms to commit {gpus} points ({gpus / a_round:,.0f}/s)")
    usual, worst = 1000 * statistics.median(minutes), 1000 * max(minutes)
    _say("rolling up", f"{usual:.0f} ms a minute, {worst:.0f} ms at the worst")
    took = _seconds(lambda: history.prune(now + 3600.0))
    pruned = gpus * 3600.0 / EVERY_SECONDS
    _say("pruning", f"{took:.2f} s for an hour's: {pruned:,.0f} points and what is rolled up")


def _read(engine: Engine, history: DatabaseHistory, now: float) -> None:
    past = Past(engine, HoldingStore(engine), VerdictStore(engine))

    def page(days: float) -> Callable[[], object]:
        start, end = now - days * DAY, now
        return lambda: (
            found := history.series(OPENED, start, end),
            past.holdings(OPENED, start, end, found[0].resolution_seconds or 1),
            past.jobs(OPENED, start, end, MOST_JOBS),
            past.states(OPENED, start, end),
        )

    for days, said in ((1.0, "24 h"), (7.0, "7 days"), (KEPT_DAYS, f"{KEPT_DAYS:g} days")):
        taken = statistics.median(_seconds(page(days)) for _ in range(TIMES))
        _say("a page", f"{1000 * taken:.0f} ms to read a machine's {said}")


def _append(history: DatabaseHistory, made: Sequence[GpuPoint]) -> None:
    for first in range(0, len(made), BATCH):
        history.append(made[first : first + BATCH])


def _sizes(engine: Engine) -> dict[str, int]:
    """Bytes of each table, its indexes included."""
    statement = (
        "SELECT m.tbl_name, SUM(s.pgsize) AS size FROM dbstat s "
        "JOIN sqlite_master m ON m.name = s.name GROUP BY m.tbl_name"
    )
    with reading(engine) as connection:
        return {row.tbl_name: row.size for row in connection.execute(text(statement))}


def _rows(engine: Engine, table: str) -> int:
    with reading(engine) as connection:
        return connection.execute(text(f"SELECT COUNT(*) FROM {table}")).scalar_one()


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _say(what: str, figures: str) -> None:
    print(f"  {what:24}{figures}", flush=True)


if __name__ == "__main__":
    main()
