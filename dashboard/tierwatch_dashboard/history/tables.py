"""The tables, and the levels at which points are kept.

Rows are small integers, since a fleet writes millions of them: moments in milliseconds, bytes as
they are, ratios in 1/10000, temperatures in tenths of a degree, power in milliwatts; what a holder
has (``own``, ``size``) in MiB and clocks in MHz, which is as fine as a chart shows. ``heat`` and
``capped`` are 0 or 1 in a point, which takes no byte, and percent of the points in a roll-up. What
is unknown is NULL.

Buckets lie in the order (gpu, at): a chart reads one stretch of the file. Points lie by minute
first. In the order (gpu, at) the points of one moment would touch as many pages as there are GPUs,
twenty times what is written this way, while a chart's few hours are a few hundred minutes to seek.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

MINUTE = 60_000
DAY = 24 * 60 * MINUTE

METADATA = MetaData()

GPUS = Table(
    "gpus",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("machine", Text, nullable=False),
    Column("gpu", Text, nullable=False),
    UniqueConstraint("machine", "gpu"),
)
"""The small key that stands for a GPU in every row of points."""

POINTS = Table(
    "points",
    METADATA,
    Column("minute", Integer, primary_key=True),
    Column("gpu", Integer, ForeignKey("gpus.id"), primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("total", BigInteger),
    Column("used", BigInteger),
    Column("available", BigInteger),
    Column("others", BigInteger),
    Column("utilization", Integer),
    Column("temperature", Integer),
    Column("power", Integer),
    Column("own", Integer),
    Column("clock", Integer),
    Column("heat", Integer),
    Column("capped", Integer),
    sqlite_with_rowid=False,
)


def _rolled_up(name: str) -> Table:
    return Table(
        name,
        METADATA,
        Column("gpu", Integer, ForeignKey("gpus.id"), primary_key=True),
        Column("at", BigInteger, primary_key=True),
        Column("points", Integer, nullable=False),
        Column("total", BigInteger),
        Column("used", BigInteger),
        Column("used_max", BigInteger),
        Column("available", BigInteger),
        Column("available_min", BigInteger),
        Column("others", BigInteger),
        Column("utilization", Integer),
        Column("temperature", Integer),
        Column("temperature_max", Integer),
        Column("power", Integer),
        Column("own", Integer),
        Column("clock", Integer),
        Column("heat", Integer),
        Column("capped", Integer),
        sqlite_with_rowid=False,
    )


POINTS_BY_MINUTE = _rolled_up("points_by_minute")
POINTS_BY_TEN_MINUTES = _rolled_up("points_by_ten_minutes")
POINTS_BY_HOUR = _rolled_up("points_by_hour")

ROLL_UPS = Table(
    "roll_ups",
    METADATA,
    Column("seconds", Integer, primary_key=True, autoincrement=False),
    Column("until", BigInteger, nullable=False),
)
"""Up to when each level's buckets are made."""

HOLDERS = Table(
    "holders",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("gpu", Integer, ForeignKey("gpus.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("server", Text, nullable=False),
    UniqueConstraint("gpu", "name", "server"),
)
"""Who has held memory of a GPU beside production's own; ``server``: its kind, if it is one."""

HOLDINGS = Table(
    "holdings",
    METADATA,
    Column("holder", Integer, ForeignKey("holders.id"), primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("size", Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""What each holds from a moment on until its next row: a change is a row."""

VERDICT_MEMORY = Table(
    "verdict_memory",
    METADATA,
    Column("machine", Text, primary_key=True),
    Column("document", LargeBinary, nullable=False),
    Column("saved_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

VERDICT_CHANGES = Table(
    "verdict_changes",
    METADATA,
    Column("machine", Text, primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("state", Text, nullable=False),
    Column("headline", Text, nullable=False),
    Column("can_serve", Text),
    Column("tier", Text),
    Column("cause", Text),
    Column("culprit", Text),
    Index("verdict_changes_by_moment", "at"),
    sqlite_with_rowid=False,
)

WATCHES = Table(
    "watches",
    METADATA,
    Column("since", BigInteger, primary_key=True, autoincrement=False),
    Column("until", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""When a dashboard watched: a row for each stretch without a break."""

JOBS = Table(
    "jobs",
    METADATA,
    Column("key", Integer, primary_key=True),
    Column("machine", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("server", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("duration", BigInteger),
    Column("model", Text),
    Column("width", Integer),
    Column("height", Integer),
    Column("batch", Integer),
    Column("steps", Integer),
    Column("images", Integer),
    Column("pixels", BigInteger),
    Column("gpu", Text),
    Column("peak_vram", BigInteger),
    Column("error", Text),
    UniqueConstraint("machine", "id"),
    Index("jobs_by_end", "ended_at"),
    # With all that a chart's band of jobs asks, so that months of jobs are read off the index.
    Index("jobs_by_machine", "machine", "ended_at", "outcome", "duration", "gpu"),
    Index("jobs_by_outcome", "outcome", "ended_at"),
)
"""Finished jobs; a job is one by its machine and the id that the machine's agent gave it."""


class Level(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """One resolution at which points are kept, and for how long; spans are in milliseconds."""

    table: Table
    seconds: int
    """Its name in ``roll_ups``: the width of its buckets, 0 for points as they came."""
    kept: int

    @property
    def width(self) -> int:
        """Width of its buckets; 0: points as they came."""
        return self.seconds * 1000


RAW = Level(table=POINTS, seconds=0, kept=DAY)
BY_MINUTE = Level(table=POINTS_BY_MINUTE, seconds=60, kept=7 * DAY)
BY_TEN_MINUTES = Level(table=POINTS_BY_TEN_MINUTES, seconds=600, kept=90 * DAY)
BY_HOUR = Level(table=POINTS_BY_HOUR, seconds=3600, kept=90 * DAY)
LEVELS = (RAW, BY_MINUTE, BY_TEN_MINUTES, BY_HOUR)
"""Finest first; each is made of the one before it."""
