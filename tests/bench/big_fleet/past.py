"""The past of a big fleet, written straight into the embedded store by SQL.

The file stays in the system's folder for temporary files and is brought up to the moment by the
next run: what takes minutes once takes seconds then.
"""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
import time
from pathlib import Path

from sqlalchemy import Engine, Table, text

from tests.bench.big_fleet.machines import RESERVED_BYTES, STEPS, TOTAL_BYTES, job_seconds, name
from tierwatch_dashboard.database import open_database, writing
from tierwatch_dashboard.history.tables import (
    DAY,
    LEVELS,
    METADATA,
    MINUTE,
    POINTS,
    Level,
)

OPENED = name(0)
"""The machine that is looked at: it alone has a past of 90 days."""
GPUS_EACH = 2
EVERY = 5_000
"""Milliseconds between two points of a GPU."""
HOLDING_CHANGES = 5 * MINUTE
HOUR = 60 * MINUTE
KEPT = LEVELS[-1].kept
"""For how long everything about the opened machine goes back."""
GIB, MIB = 2**30, 2**20

_WAVE = "abs((({at}) / 1000 + g.id * 137) % 3600 - 1800) / 1800.0"
"""From 0 to 1 and back in an hour, each GPU at its own point of it."""
_NOISE = "((({at}) / 1000 * 7919 + g.id * 104729) % 1009) / 1009.0"


def bring_up_to_date(machines: int, hours: float) -> tuple[Path, str]:
    """The database, and in words what was generated."""
    folder, size = Path(tempfile.gettempdir()), f"{machines}x{hours:g}h.db"
    file = folder / f"tierwatch-bench-{_schema()}-{size}"
    for other in folder.glob(f"tierwatch-bench-*-{size}*"):
        # What an earlier schema left, with its log.
        if not other.name.startswith(file.name):
            other.unlink()
    began = time.perf_counter()
    engine = open_database(f"sqlite:///{file.as_posix()}")
    now = int(time.time()) * 1000 // EVERY * EVERY
    try:
        rows = _fill(engine, machines, round(hours * 3_600_000), now)
    finally:
        engine.dispose()
    _compact(file)
    took = time.perf_counter() - began
    gigabytes = file.stat().st_size / 10**9
    return file, f"{rows:,} rows in {took:.0f} s; {file} has {gigabytes:.1f} GB"


def fill_as_kept(engine: Engine, machines: int, now: int) -> int:
    """All that a dashboard keeps which has run for longer than it keeps anything; rows.

    Who held VRAM and what was made is the opened machine's alone.
    """
    _add_gpus(engine, machines)
    rows = _points(engine, now - LEVELS[0].kept, now)
    for level in LEVELS[1:]:
        rows += _roll_up(engine, level, "SELECT id FROM gpus", now - level.kept, now)
    opened = f"SELECT id FROM gpus WHERE machine = '{OPENED}'"
    rows += _holdings(engine, opened, now - KEPT, now)
    return rows + _states(engine, now - KEPT, now) + _jobs(engine, range(1), now - KEPT, now)


def _fill(engine: Engine, machines: int, span: int, now: int) -> int:
    _add_gpus(engine, machines)
    with writing(engine) as connection:
        last = connection.execute(text("SELECT max(minute) FROM points")).scalar_one()
    start = max(now - span, ((last or 0) + 1) * MINUTE)
    rows = _points(engine, start, now)
    all_gpus = f"SELECT id FROM gpus WHERE id <= {machines * GPUS_EACH}"
    opened = f"SELECT id FROM gpus WHERE machine = '{OPENED}'"
    for level in LEVELS[1:]:
        rows += _roll_up(engine, level, all_gpus, start, now)
        rows += _roll_up(engine, level, opened, now - level.kept, now)
    rows += _holdings(engine, all_gpus, start, now)
    rows += _holdings(engine, opened, now - KEPT, start)
    rows += _states(engine, start, now)
    rows += _jobs(engine, range(machines), start, now)
    return rows + _jobs(engine, range(1), now - KEPT, start)


def _add_gpus(engine: Engine, machines: int) -> None:
    with writing(engine) as connection:
        connection.execute(
            text("INSERT INTO gpus (machine, gpu) VALUES (:machine, :gpu) ON CONFLICT DO NOTHING"),
            [
                {"machine": name(m), "gpu": str(g)}
                for m in range(machines)
                for g in range(GPUS_EACH)
            ],
        )


def _points(engine: Engine, start: int, now: int) -> int:
    rows = 0
    for minute in range(start - start % MINUTE, now, 10 * MINUTE):
        with writing(engine) as connection:
            statement = text(_points_sql())
            stop = min(now, minute + 10 * MINUTE)
            connection.execute(statement, {"start": minute, "stop": stop})
            rows += connection.execute(text("SELECT changes()")).scalar_one()
    return rows


def _points_sql() -> str:
    figures = _figures(POINTS, "t.at")
    return f"""
        WITH RECURSIVE t(at) AS (
            SELECT :start UNION ALL SELECT at + {EVERY} FROM t WHERE at + {EVERY} < :stop)
        INSERT INTO points (minute, gpu, at, {", ".join(figures)})
        SELECT t.at / {MINUTE}, g.id, t.at, {", ".join(figures.values())}
        FROM (SELECT DISTINCT at / {MINUTE} AS minute FROM t) m
        CROSS JOIN gpus g CROSS JOIN t ON t.at / {MINUTE} = m.minute
        WHERE true ON CONFLICT DO NOTHING
    """


def _roll_up(engine: Engine, level: Level, whose: str, since: int, now: int) -> int:
    figures = _figures(level.table, "t.at") | {"points": str(level.width // EVERY)}
    closed = now - now % level.width
    statement = f"""
        WITH RECURSIVE t(at) AS (
            SELECT :start WHERE :start < :stop UNION ALL
            SELECT at + {level.width} FROM t WHERE at + {level.width} < :stop)
        INSERT INTO {level.table.name} (gpu, at, {", ".join(figures)})
        SELECT g.id, t.at, {", ".join(figures.values())}
        FROM gpus g CROSS JOIN t WHERE g.id IN ({whose}) ON CONFLICT DO NOTHING
    """
    mark = "UPDATE roll_ups SET until = :until WHERE seconds = :seconds"
    with writing(engine) as connection:
        span = {"start": since - since % level.width, "stop": closed}
        connection.execute(text(statement), span)
        rows = connection.execute(text("SELECT changes()")).scalar_one()
        connection.execute(text(mark), {"until": closed, "seconds": level.seconds})
    return rows


def _figures(table: Table, at: str) -> dict[str, str]:
    """SQL for each figure of a table."""
    whole = 1 if table is POINTS else 100
    wave, noise = _WAVE.format(at=at), _NOISE.format(at=at)
    own = f"({wave} * 11 + {noise} * 0.5) * {GIB}"
    others = f"(0.4 + {noise} * 0.3) * {GIB}"
    used, available = f"{own} + {others}", f"{TOTAL_BYTES - RESERVED_BYTES} - {others}"
    known = {
        "total": str(TOTAL_BYTES),
        "used": f"CAST({used} AS INTEGER)",
        "used_max": f"CAST({used} + {GIB} AS INTEGER)",
        "available": f"CAST({available} AS INTEGER)",
        "available_min": f"CAST({available} - {GIB} AS INTEGER)",
        "others": f"CAST({others} AS INTEGER)",
        "utilization": f"CAST({wave} * 9500 + {noise} * 500 AS INTEGER)",
        "temperature": f"CAST(450 + {wave} * 300 + {noise} * 20 AS INTEGER)",
        "temperature_max": f"CAST(470 + {wave} * 300 + {noise} * 20 AS INTEGER)",
        "power": f"CAST(60000 + {wave} * 300000 + {noise} * 9000 AS INTEGER)",
        "own": f"CAST({own} AS INTEGER) / {MIB}",
        "clock": f"CAST(2200 + {wave} * 400 + {noise} * 15 AS INTEGER)",
        "heat": f"({wave} > 0.97) * {whole}",
        "capped": f"({noise} > 0.9) * {whole}",
    }
    return {column.name: known[column.name] for column in table.c if column.name in known}


def _holdings(engine: Engine, whose: str, start: int, stop: int) -> int:
    """What a browser and a desktop hold: each changes every few minutes."""
    begin, rows = start - start % HOLDING_CHANGES, 0
    with writing(engine) as connection:
        for holder, size in (("chrome.exe", 900), ("dwm.exe", 300)):
            named = "INSERT INTO holders (gpu, name, server) SELECT g.id, :holder, '' FROM gpus g"
            connection.execute(
                text(f"{named} WHERE true ON CONFLICT DO NOTHING"), {"holder": holder}
            )
            connection.execute(
                text(f"""
                    WITH RECURSIVE t(at) AS (
                        SELECT :begin WHERE :begin < :stop UNION ALL
                        SELECT at + {HOLDING_CHANGES} FROM t WHERE at + {HOLDING_CHANGES} < :stop)
                    INSERT INTO holdings (holder, at, size)
                    SELECT h.id, t.at, CAST({size} * (0.3 + {_NOISE.format(at="t.at")}) AS INTEGER)
                    FROM gpus g JOIN holders h ON h.gpu = g.id CROSS JOIN t
                    WHERE h.name = :holder AND g.id IN ({whose}) ON CONFLICT DO NOTHING
                """),
                {"begin": begin, "stop": stop, "holder": holder},
            )
            rows += connection.execute(text("SELECT changes()")).scalar_one()
    return rows


def _states(engine: Engine, start: int, now: int) -> int:
    """Each machine is below its tier for an hour of every four; the opened one for 90 days."""
    with writing(engine) as connection:
        connection.execute(
            text(f"""
                WITH RECURSIVE t(at) AS (
                    SELECT :begin UNION ALL
                    SELECT at + {4 * HOUR} FROM t WHERE at + {4 * HOUR} < :now)
                INSERT INTO verdict_changes (machine, at, state, headline, can_serve, tier)
                SELECT g.machine, t.at + s.after, s.state, s.headline, s.can, 'mass'
                FROM (SELECT DISTINCT machine FROM gpus) g CROSS JOIN t CROSS JOIN (
                    SELECT 0 AS after, 'below' AS state, 'Cannot serve mass now' AS headline,
                        'light' AS can
                    UNION ALL SELECT {HOUR}, 'ok', 'Serves mass', 'mass') s
                WHERE (t.at >= :start OR g.machine = :opened) AND t.at + s.after < :now
                ON CONFLICT DO NOTHING
            """),
            {
                "begin": (now - KEPT) // HOUR // 4 * 4 * HOUR,
                "start": start,
                "now": now,
                "opened": OPENED,
            },
        )
        return connection.execute(text("SELECT changes()")).scalar_one()


def _jobs(engine: Engine, machines: range, start: int, now: int) -> int:
    """The jobs that the played machines would have told of, as they tell them."""
    rows: list[tuple[object, ...]] = []
    for number in machines:
        seconds = job_seconds(number)
        for turn in range(int(start / 1000 // seconds) + 1, int(now / 1000 // seconds) + 1):
            ended, outcome = round(turn * seconds * 1000), "oom" if turn % 41 == 0 else "success"
            began = ended - round(seconds * 1000)
            gpu = f"GPU-{number:04}-0"
            rows.append(
                (name(number), f"job-{turn - 1}", outcome, ended, began, ended - began, gpu)
            )
    file = engine.url.database or ""
    with sqlite3.connect(file) as connection:
        connection.executemany(
            f"""INSERT INTO jobs (machine, id, server, outcome, ended_at, started_at, duration,
                model, width, height, batch, steps, images, pixels, gpu, peak_vram)
            VALUES (?, ?, 'comfyui-8188', ?, ?, ?, ?, 'sdxl_base_1.0.safetensors',
                1024, 1024, 4, {STEPS}, 4, {4 * 1024 * 1024}, ?, {11 * GIB})
            ON CONFLICT DO NOTHING""",
            rows,
        )
        made = connection.total_changes
    connection.close()
    return made


def _compact(file: Path) -> None:
    """Into the file with what stands in its log, so that no run pays for the one before."""
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _schema() -> str:
    """Changes with the tables and with what this file writes into them."""
    made_of = repr([(t.name, t.c.keys()) for t in METADATA.sorted_tables]).encode()
    return hashlib.sha256(made_of + Path(__file__).read_bytes() + str(DAY).encode()).hexdigest()[:8]
