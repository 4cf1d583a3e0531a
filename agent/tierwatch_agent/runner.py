"""Runs one GPU source: asks it, notices what fails or hangs, and keeps what it knew.

Each source has a thread and a process of its own. A reading that misses its deadline marks the
source down; one that is still missing ten deadlines later costs the process. Where even that
cannot be ended (a call stuck in the kernel), it is left behind and another takes its place.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tierwatch_agent.snapshot import GpuSample, GpuState, SourceState
from tierwatch_agent.source_process import SourceProcess, WorkerEnded
from tierwatch_agent.wording import duration
from tierwatch_agent.words import phrase
from tierwatch_agent.worker import Answer

LONGEST_RETRY_SECONDS = 10.0
LONGEST_ABSENCE_SECONDS = 300.0
"""How long until an absent source is looked for again: a driver may be installed later."""
ABANDON_DEADLINES = 10
"""How many deadlines a reading may take before its process is given up."""
MOST_LEFT_BEHIND = 3

_log = logging.getLogger(__name__)


class SourceRunner:
    """One source's readings, as far as they go. ``ask`` and the getters never block."""

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any],
        *,
        deadline_seconds: float = 3.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._options = options
        self._deadline_seconds = deadline_seconds
        self._abandon_seconds = ABANDON_DEADLINES * deadline_seconds
        self._now = now
        self._lock = threading.Condition()
        self._generation = 0
        self._process: SourceProcess | None = None
        self._left_behind: list[SourceProcess] = []
        self._wanted = False
        self._detailed = False
        self._asked_at: float | None = None
        self._ready_at = 0.0
        self._fruitless = 0
        self._state = SourceState(name=name, state="down", reason=phrase("has not answered yet"))
        self._gpus: tuple[GpuSample, ...] = ()
        self._known: dict[str, GpuSample] = {}
        self._lost = False
        """Whether it failed since every GPU is lost."""
        self._xids = XidCounts()

    def start(self) -> None:
        """Starts the source's thread."""
        threading.Thread(
            target=self._run, args=(self._generation,), name=f"source-{self.name}", daemon=True
        ).start()

    def ask(self, *, detailed: bool = False) -> None:
        """Asks for a reading, unless one is under way or a retry is not due.

        ``detailed``: with the figures that take the driver long, while a job is slow.
        """
        with self._lock:
            now = time.monotonic()
            self._reap()
            if self._asked_at is not None:
                if now - self._asked_at > self._abandon_seconds:
                    self._abandon()
                return
            if now < self._ready_at:
                return
            if self._process is None and len(self._left_behind) >= MOST_LEFT_BEHIND:
                self._turn(
                    msgspec.structs.replace(
                        self._state,
                        state="down",
                        reason=f"{len(self._left_behind)} of its processes hang in the driver and "
                        "cannot be ended: this machine needs a reboot",
                    )
                )
                return
            self._wanted = True
            self._detailed = detailed
            self._asked_at = now
            self._lock.notify_all()

    def wait(self, seconds: float) -> None:
        """Waits for the reading under way, for so long at most."""
        with self._lock:
            self._lock.wait_for(lambda: self._asked_at is None, timeout=seconds)

    def state(self) -> SourceState:
        """How the source fares at this moment."""
        with self._lock:
            waited = 0.0 if self._asked_at is None else time.monotonic() - self._asked_at
            if waited <= self._deadline_seconds:
                return self._state
            if self._state.last_success_at is not None:
                waited = self._now() - self._state.last_success_at
            reason = f"has not answered for {duration(waited)}: a call to the driver hangs"
            return msgspec.structs.replace(self._state, state="down", reason=reason)

    def gpus(self) -> tuple[GpuSample, ...]:
        """The GPUs of the last reading; while the source is down, what is known of them."""
        state = self.state()
        if state.state == "up":
            return self._gpus
        return tuple(
            _identity(
                gpu, "lost" if self._lost else "unreadable", state.reason or "its source is down"
            )
            for gpu in self._known.values()
        )

    def stop(self) -> None:
        """Ends the source's process without waiting for it."""
        with self._lock:
            self._generation += 1
            if self._process is not None:
                self._process.end()
            self._lock.notify_all()

    def _reap(self) -> None:
        """Takes leave of the processes that were given up and have ended since."""
        for process in list(self._left_behind):
            if process.is_gone():
                process.release()
                self._left_behind.remove(process)

    def _abandon(self) -> None:
        """Gives up the hanging process and its thread; a new pair takes over."""
        if self._process is not None:
            self._process.end()
            self._left_behind.append(self._process)
        self._process = None
        self._asked_at = None
        self._generation += 1
        reason = f"has not answered for {duration(self._abandon_seconds)}: its process was replaced"
        self._failed(reason, restart=True)
        self.start()

    def _run(self, generation: int) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._wanted or generation != self._generation)
                if generation != self._generation:
                    return
                self._wanted = False
                if self._process is None:
                    self._process = SourceProcess(self.name, self._options)
                process, detailed = self._process, self._detailed
            try:
                answer = process.ask(detailed=detailed)
                ended = None
            except WorkerEnded as end:
                answer, ended = None, str(end)
            with self._lock:
                if generation != self._generation:
                    process.release()
                    return
                self._asked_at = None
                if answer is None:
                    self._retire()
                    self._failed(ended or "its process ended", restart=True)
                else:
                    self._take(answer)
                self._lock.notify_all()

    def _retire(self) -> None:
        """Ends the process; the next reading starts a fresh one."""
        if self._process is None:
            return
        self._process.end()
        self._left_behind.append(self._process)
        self._process = None
        self._xids.process_replaced()

    def _take(self, answer: Answer) -> None:
        if answer.outcome == "read":
            self._succeeded(answer)
        elif answer.outcome == "absent" and not self._known:
            self._retire()
            self._retry_in(LONGEST_ABSENCE_SECONDS)
            self._turn(msgspec.structs.replace(self._state, state="absent", reason=answer.reason))
        else:
            if answer.replace_process:
                self._retire()
            self._failed(
                answer.reason or "failed", restart=answer.replace_process, lost=answer.lost
            )

    def _succeeded(self, answer: Answer) -> None:
        self._fruitless = 0
        self._lost = False
        self._gpus = self._xids.counted(self._with_missing(answer.gpus), self._now())
        self._turn(
            msgspec.structs.replace(
                self._state,
                state="up",
                reason=None,
                last_success_at=self._now(),
                duration_seconds=answer.duration_seconds,
            )
        )

    def _failed(self, reason: str, *, restart: bool, lost: bool = False) -> None:
        self._lost = lost
        self._retry_in(LONGEST_RETRY_SECONDS)
        self._turn(
            msgspec.structs.replace(
                self._state,
                state="down",
                reason=reason,
                failures=self._state.failures + 1,
                restarts=self._state.restarts + restart,
            )
        )

    def _retry_in(self, longest_seconds: float) -> None:
        self._fruitless += 1
        self._ready_at = time.monotonic() + min(2.0 ** (self._fruitless - 1), longest_seconds)

    def _turn(self, state: SourceState) -> None:
        """Takes a new state, and logs it where it says something new."""
        if (state.state, state.reason) != (self._state.state, self._state.reason):
            level = logging.WARNING if state.state == "down" else logging.INFO
            said = f"{state.state}: {state.reason}" if state.reason else state.state
            _log.log(level, "source %s is %s", self.name, said)
        self._state = state

    def _with_missing(self, gpus: tuple[GpuSample, ...]) -> tuple[GpuSample, ...]:
        """Adds GPUs that the driver listed before and no longer does: they are lost, not absent."""
        listed = {gpu.uuid for gpu in gpus}
        # A card that was asleep when it was first met has another identity once it is awake.
        slots = {gpu.pci_bus_id for gpu in gpus if gpu.pci_bus_id is not None}
        missing = [
            _identity(gpu, "lost", "the driver no longer lists it")
            for uuid, gpu in self._known.items()
            if uuid not in listed and gpu.parent_uuid is None and gpu.pci_bus_id not in slots
        ]
        gpus = (*gpus, *missing)
        self._known = {gpu.uuid: gpu for gpu in gpus}
        return gpus


class XidCounts:
    """Carries counts of Xids over the replacement of the process that counts them; dates them."""

    def __init__(self) -> None:
        self._last_at: dict[str, dict[int, float]] = {}
        self._before: dict[str, dict[int, int]] = {}
        self._last: dict[str, dict[int, int]] = {}

    def process_replaced(self) -> None:
        """From now on the source counts from zero again."""
        self._before = {uuid: dict(counts) for uuid, counts in self._last.items()}

    def counted(self, gpus: tuple[GpuSample, ...], now: float) -> tuple[GpuSample, ...]:
        """The samples with counts since the agent started, and when each last rose."""
        if not self._before and not any(gpu.xid_errors for gpu in gpus):
            return gpus
        return tuple(self._with_carried(gpu, now) for gpu in gpus)

    def _with_carried(self, gpu: GpuSample, now: float) -> GpuSample:
        total = dict(self._before.get(gpu.uuid, {}))
        for xid, count in (gpu.xid_errors or {}).items():
            total[xid] = total.get(xid, 0) + count
        if not total:
            return gpu
        last = self._last.get(gpu.uuid, {})
        risen = {xid: now for xid, count in total.items() if count > last.get(xid, 0)}
        dates = {**self._last_at.get(gpu.uuid, {}), **risen}
        self._last[gpu.uuid], self._last_at[gpu.uuid] = total, dates
        return msgspec.structs.replace(gpu, xid_errors=total, xid_last_at=dates)


def _identity(gpu: GpuSample, state: GpuState, detail: str) -> GpuSample:
    """A GPU without its figures: what stays true while it cannot be read."""
    return GpuSample(
        index=gpu.index,
        uuid=gpu.uuid,
        name=gpu.name,
        vendor=gpu.vendor,
        source=gpu.source,
        state=state,
        detail=detail,
        driver_version=gpu.driver_version,
        driver_model=gpu.driver_model,
        pci_bus_id=gpu.pci_bus_id,
        partitioned=gpu.partitioned,
        parent_uuid=gpu.parent_uuid,
        mig_profile=gpu.mig_profile,
        xid_errors=gpu.xid_errors,
        xid_last_at=gpu.xid_last_at,
    )
