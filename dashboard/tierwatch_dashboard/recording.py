"""Readings, jobs and changes of verdict to the store: in batches, kept until committed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import msgspec

from tierwatch_agent.snapshot import GpuSample, MachineSnapshot
from tierwatch_dashboard.changes import StateChange
from tierwatch_dashboard.fleet import Reading
from tierwatch_dashboard.history import GpuPoint
from tierwatch_dashboard.history.jobs import KEPT_SECONDS, FinishedJob
from tierwatch_dashboard.holder_changes import HolderChange, HolderChanges

MAX_WAITING = 500_000
"""GPU samples kept while the history cannot be written: an hour of 700 GPUs at 5 s."""
_HEAT = frozenset({"hw_thermal_slowdown", "sw_thermal_slowdown", "hw_slowdown"})
_CAPS = frozenset({"sw_power_cap", "hw_power_brake_slowdown"})

_BATCH = 20_000
"""Samples in one commit, so that a long backlog holds the database for a moment at a time."""

_T = TypeVar("_T")


class RecorderHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the start: GPU samples committed and given up, batches that failed."""

    written: int = 0
    dropped: int = 0
    failures: int = 0
    waiting: int = 0


class Recorder:
    """Takes from any thread; ``write`` commits what came since.

    Each ``append`` commits all it is given or raises. ``holders``: who held VRAM when a dashboard
    wrote last.
    """

    def __init__(
        self,
        append: Callable[[Sequence[GpuPoint]], None],
        append_changes: Callable[[Sequence[StateChange]], None],
        append_jobs: Callable[[Sequence[FinishedJob]], None],
        append_holders: Callable[[Sequence[HolderChange]], None],
        *,
        holders: Iterable[HolderChange] = (),
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._append = append
        self._append_changes = append_changes
        self._append_jobs = append_jobs
        self._append_holders = append_holders
        self._holder_changes = HolderChanges(holders)
        self._max_waiting = max_waiting
        self._changes: deque[StateChange] = deque(maxlen=max_waiting)
        self._waiting: deque[GpuPoint] = deque()
        self._jobs: deque[FinishedJob] = deque(maxlen=max_waiting)
        self._holders: deque[HolderChange] = deque(maxlen=max_waiting)
        self._taken_at: dict[str, float] = {}
        self._known_jobs: dict[str, frozenset[str]] = {}
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._written = self._dropped = self._failures = 0

    def take(self, reading: Reading) -> None:
        """Keeps the points and the new jobs of a snapshot, unless it is the one that came before.

        What a store keeps of a job is the first that it hears of it, so that nothing is lost where
        a job is told again: after a restart of either side.
        """
        snapshot = reading.snapshot
        if snapshot is None or self._taken_at.get(reading.machine) == snapshot.taken_at:
            return
        with self._lock:
            self._taken_at[reading.machine] = snapshot.taken_at
            self._waiting.extend(points(reading.machine, snapshot, reading.at))
            while len(self._waiting) > self._max_waiting:
                self._waiting.popleft()
                self._dropped += 1
            self._holders.extend(self._holder_changes.take(reading.machine, snapshot, reading.at))
            known = self._known_jobs.get(reading.machine, frozenset())
            self._known_jobs[reading.machine] = frozenset(job.id for job in snapshot.jobs)
            self._jobs.extend(jobs(reading.machine, snapshot, reading.at, known))

    def take_change(self, change: StateChange) -> None:
        """Keeps the verdict of a machine that changed."""
        with self._lock:
            self._changes.append(change)

    def write(self) -> None:
        """Commits what waits; where that fails it stays for the next time, and the error rises."""
        with self._writing:
            self._write_points()
            self._commit(self._changes, self._append_changes)
            self._commit(self._jobs, self._append_jobs)
            self._commit(self._holders, self._append_holders)

    def health(self) -> RecorderHealth:
        """How it fares now."""
        return RecorderHealth(
            written=self._written,
            dropped=self._dropped,
            failures=self._failures,
            waiting=len(self._waiting),
        )

    def _write_points(self) -> None:
        while batch := self._next_batch():
            try:
                self._append(batch)
            except Exception:
                self._put_back(batch)
                raise
            self._written += len(batch)

    def _commit(self, waiting: deque[_T], append: Callable[[Sequence[_T]], None]) -> None:
        """Commits what waits, the oldest first; where that raises it stays."""
        while True:
            with self._lock:
                batch = tuple(islice(waiting, _BATCH))
            if not batch:
                return
            append(batch)
            with self._lock:
                for each in batch:
                    # A full queue may have let go of its oldest meanwhile.
                    if waiting and waiting[0] is each:
                        waiting.popleft()

    def _next_batch(self) -> tuple[GpuPoint, ...]:
        with self._lock:
            count = min(_BATCH, len(self._waiting))
            return tuple(self._waiting.popleft() for _ in range(count))

    def _put_back(self, batch: tuple[GpuPoint, ...]) -> None:
        with self._lock:
            self._failures += 1
            room = max(0, self._max_waiting - len(self._waiting))
            kept = batch[len(batch) - min(room, len(batch)) :]
            self._dropped += len(batch) - len(kept)
            self._waiting.extendleft(reversed(kept))


def jobs(
    machine: str, snapshot: MachineSnapshot, at: float, known: Collection[str] = ()
) -> Iterator[FinishedJob]:
    """The finished jobs of a snapshot, on the dashboard's own clock, without those that are known.

    One that ended at no sensible moment, by a clock that was wrong and is right now, is left out.
    """
    ahead = at - snapshot.taken_at
    for job in snapshot.jobs:
        if job.id in known:
            continue
        ended_at = min(at, job.ended_at + ahead)
        if ended_at > at - KEPT_SECONDS:
            started_at = None if job.started_at is None else job.started_at + ahead
            yield FinishedJob(
                machine=machine,
                job=msgspec.structs.replace(job, ended_at=ended_at, started_at=started_at),
            )


def points(machine: str, snapshot: MachineSnapshot, at: float) -> tuple[GpuPoint, ...]:
    """A snapshot as the history keeps it: a point for each GPU whose figures were read.

    ``at`` is the dashboard's own moment, so that a machine whose clock is wrong is in its place.
    """
    return tuple(
        GpuPoint(
            machine=machine,
            gpu=gpu.index,
            at=at,
            total_bytes=gpu.memory.total_bytes if gpu.memory else None,
            used_bytes=gpu.memory.used_bytes if gpu.memory else None,
            available_bytes=gpu.attribution.available_bytes if gpu.attribution else None,
            others_bytes=gpu.attribution.others_bytes if gpu.attribution else None,
            utilization_ratio=gpu.utilization_ratio,
            temperature_celsius=gpu.temperature_celsius,
            power_watts=gpu.power_watts,
            own_bytes=_own(gpu),
            clock_hertz=gpu.graphics_clock_hertz,
            heat_ratio=_among(_HEAT, gpu.throttle_reasons),
            capped_ratio=_among(_CAPS, gpu.throttle_reasons),
        )
        for gpu in snapshot.gpus
        if gpu.state == "ok"
    )


def _own(gpu: GpuSample) -> int | None:
    """What production's own server holds: what is available and is not free."""
    memory, attribution = gpu.memory, gpu.attribution
    if memory is None or attribution is None:
        return None
    if attribution.server_pid is None:
        return None if attribution.lower_bound else 0
    if memory.unified:
        # What the system can still give may be less than what the GPU calls free.
        mine = [p.vram_bytes for p in gpu.processes or () if p.server_pid == attribution.server_pid]
        return sum(size or 0 for size in mine)
    return max(0, attribution.available_bytes - memory.free_bytes)


def _among(kinds: Collection[str], reasons: tuple[str, ...] | None) -> float | None:
    return None if reasons is None else float(any(reason in kinds for reason in reasons))
