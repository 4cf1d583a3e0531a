"""Counts each finished job once, whatever is told again and whatever restarts.

A server tells its last jobs at every reading, so that a job counts by its id. Of each server the
ledger keeps the ids that it counted and a moment, ``since``: what ended at or before it is known,
and never counted. The first sight of a server sets it, so that an old history is no new work; where
ids are dropped for want of room, it rises to the newest of them. All of it is in one small file, so
that a fresh agent knows what the last one counted.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote

import msgspec

from tierwatch_agent.snapshot import DURATION_BOUNDS, JobRecord, JobTotals

GRACE_SECONDS = 60.0
"""What ended so long before a server was first seen is new still: finding one takes a moment."""
MOST_IDS = 1024
"""Of one server."""
MOST_SERVERS = 64
RECENT_SECONDS = 3600.0
MOST_RECENT = 500
VERSION = 1

_log = logging.getLogger(__name__)


class _Server(msgspec.Struct):
    """What is known of one server's jobs. Moments are Unix seconds."""

    since: float
    seen_at: float
    ids: dict[str, float] = {}
    """Counted jobs, and when each ended."""
    totals: JobTotals = JobTotals()


class _Book(msgspec.Struct):
    """All that is kept in the file."""

    version: int = VERSION
    servers: dict[str, _Server] = {}
    recent: list[JobRecord] = []
    """Oldest first."""


class Ledger:
    """Finished jobs: totals by server, and the records of the last hour. For any thread."""

    def __init__(self, file: Path | None = None, *, now: Callable[[], float] = time.time) -> None:
        """``file``: where it is kept; None, or one that cannot be written: in memory alone."""
        self._file = file
        self._now = now
        self._lock = threading.Lock()
        self._writable = True
        self._book = _Book() if file is None else _read(file)
        self._recent: tuple[JobRecord, ...] = tuple(self._book.recent)

    def meet(self, server: str) -> None:
        """Takes note of a server: what ended before it was first met is not counted."""
        with self._lock:
            if server not in self._book.servers:
                self._entry(server)
                self._write()

    def unknown(self, server: str, records: Iterable[JobRecord]) -> list[JobRecord]:
        """The jobs among these that were not counted, and are to be."""
        with self._lock:
            return self._fresh(self._entry(server), records)

    def count(self, server: str, records: Iterable[JobRecord]) -> None:
        """Counts the jobs among these that it does not know yet."""
        with self._lock:
            entry = self._entry(server)
            fresh = {record.id: record for record in self._fresh(entry, records)}
            if not fresh:
                return
            for record in fresh.values():
                entry.ids[record.id] = record.ended_at
                entry.totals = _with(entry.totals, record)
            _drop_oldest(entry)
            recent = sorted((*self._book.recent, *fresh.values()), key=lambda r: r.ended_at)
            self._book.recent = recent[-MOST_RECENT:]
            self._recent = tuple(self._book.recent)
            self._write()

    def totals(self, server: str) -> JobTotals:
        """What a server has finished since it was first met."""
        with self._lock:
            entry = self._book.servers.get(server)
            return JobTotals() if entry is None else entry.totals

    def recent(self) -> tuple[JobRecord, ...]:
        """The jobs of the last hour, oldest first, ``MOST_RECENT`` at most."""
        earliest = self._now() - RECENT_SECONDS
        with self._lock:
            if self._recent and self._recent[0].ended_at < earliest:
                self._book.recent = [r for r in self._book.recent if r.ended_at >= earliest]
                self._recent = tuple(self._book.recent)
            return self._recent

    def _entry(self, server: str) -> _Server:
        servers, now = self._book.servers, self._now()
        entry = servers.get(server)
        if entry is None:
            if len(servers) >= MOST_SERVERS:
                del servers[min(servers, key=lambda known: servers[known].seen_at)]
            entry = servers[server] = _Server(since=now - GRACE_SECONDS, seen_at=now)
        entry.seen_at = now
        return entry

    def _fresh(self, entry: _Server, records: Iterable[JobRecord]) -> list[JobRecord]:
        return [r for r in records if r.ended_at > entry.since and not self._knows(r.id)]

    def _knows(self, job: str) -> bool:
        """Whether any server's job of that id was counted: a server may have moved."""
        return any(job in entry.ids for entry in self._book.servers.values())

    def _write(self) -> None:
        """Replaces the file, atomically; where it cannot, says so once and goes on in memory."""
        if self._file is None:
            return
        fresh = self._file.with_suffix(f".{os.getpid()}.new")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_bytes(msgspec.json.encode(self._book))
            fresh.replace(self._file)
        except OSError as error:
            if self._writable:
                why = error.strerror or error
                consequence = "counted jobs are forgotten when the agent ends"
                _log.warning("%s cannot be written (%s): %s", self._file, why, consequence)
            self._writable = False
            return
        self._writable = True


def ledger_file(folder: Path, machine: str) -> Path:
    """Where a machine's ledger is kept: several agents may share a folder."""
    return folder / f"{quote(machine, safe='')}.jobs.json"


def _read(file: Path) -> _Book:
    """The kept book; an empty one where there is none, or none that can be read."""
    try:
        book = msgspec.json.decode(file.read_bytes(), type=_Book)
        problem = None if book.version == VERSION else f"it has version {book.version}"
    except FileNotFoundError:
        return _Book()
    except OSError as error:
        _log.warning("%s cannot be read (%s): jobs are counted anew", file, error.strerror or error)
        return _Book()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        book, problem = _Book(), str(error)
    if problem is None:
        return book
    aside = file.with_suffix(".damaged")
    _log.warning(
        "%s cannot be used (%s): jobs are counted anew, it is now %s", file, problem, aside
    )
    try:
        file.replace(aside)
    except OSError as error:
        _log.warning("%s cannot be renamed: %s", file, error.strerror or error)
    return _Book()


def _with(totals: JobTotals, record: JobRecord) -> JobTotals:
    """The totals with one job more."""
    seconds, durations = record.duration_seconds, totals.durations
    known = seconds is not None and seconds >= 0
    if seconds is not None and known:
        first = bisect_left(DURATION_BOUNDS, seconds)
        before = durations or (0,) * (len(DURATION_BOUNDS) + 1)
        durations = tuple(count + (place >= first) for place, count in enumerate(before))
    return JobTotals(
        finished={
            **totals.finished,
            record.outcome: totals.finished.get(record.outcome, 0) + 1,
        },
        images=totals.images + max(0, record.images or 0),
        pixels=totals.pixels + max(0, record.pixels or 0),
        duration_seconds=totals.duration_seconds
        + (seconds if seconds is not None and known else 0),
        durations=durations,
    )


def _drop_oldest(entry: _Server) -> None:
    """Keeps room for ids, a quarter at a time; what is dropped stays known by its end."""
    if len(entry.ids) <= MOST_IDS:
        return
    by_end = sorted(entry.ids.items(), key=lambda item: item[1])
    dropped, kept = by_end[: -MOST_IDS * 3 // 4], by_end[-MOST_IDS * 3 // 4 :]
    entry.since = max(entry.since, dropped[-1][1])
    entry.ids = dict(kept)
