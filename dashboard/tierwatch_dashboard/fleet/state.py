"""The fleet as it is now: each machine's last snapshot and its verdict, judged as time passes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from tierwatch_agent.snapshot import (
    GpuSample,
    HostSample,
    MachineSnapshot,
    RunningJob,
    ServerSample,
)
from tierwatch_agent.wording import GIBIBYTE
from tierwatch_agent.words import say
from tierwatch_dashboard.changes import StateChange, change, gone
from tierwatch_dashboard.fleet import Reading
from tierwatch_dashboard.inventory import Inventory, Machine
from tierwatch_dashboard.reasons import sentence
from tierwatch_dashboard.verdict import WORST_FIRST, Memory, Verdict, judge, passes

REJUDGE_SECONDS = 2.5
"""How old a verdict may get: a machine that answers is judged at each reading anyway."""

_RANK = {state: rank for rank, state in enumerate(WORST_FIRST)}


class InventoryInForce(Protocol):
    """The part of the inventory file that judging needs."""

    @property
    def current(self) -> Inventory:
        """The last good edit."""
        ...


class MachineView(msgspec.Struct, frozen=True, kw_only=True):
    """One machine as every page sees it."""

    machine: Machine
    verdict: Verdict
    snapshot: MachineSnapshot | None
    """The last it had, however old; None: none yet."""
    heard_at: float | None
    """When its last new snapshot came, by the dashboard's clock."""
    error: str | None
    """Why the last reading gave nothing new, in words; None: it did."""
    row_version: int = 0
    """The fleet's version at which something shown of this machine changed last."""


class _Row:
    """What is known of one machine; guarded by the state's lock."""

    def __init__(self, machine: Machine, memory: Memory | None) -> None:
        self.machine = machine
        self.memory = memory
        self.snapshot: MachineSnapshot | None = None
        self.heard_at: float | None = None
        self.error: str | None = None
        self.view: MachineView | None = None
        self.judged_under: Inventory | None = None
        self.judged_at: float | None = None
        self.deaf_since: float | None = None
        """Since when nothing could be heard of it, through no fault of its own."""
        self.shown: object = None


class FleetState:
    """Safe to use from several threads; what it hands out never changes.

    ``memories`` are those of an earlier run, so that its clocks go on. ``on_change`` is told of
    each machine whose state, tier or cause changed, or that left, in the thread that saw it.
    """

    def __init__(
        self,
        inventory_file: InventoryInForce,
        now: Callable[[], float],
        memories: Mapping[str, Memory] | None = None,
        on_change: Callable[[StateChange], None] | None = None,
    ) -> None:
        self._inventory_file = inventory_file
        self._now = now
        self._restored = dict(memories or {})
        self._on_change = on_change
        self._lock = threading.Lock()
        self._inventory = Inventory()
        self._rows: dict[str, _Row] = {}
        self._sorted: tuple[MachineView, ...] | None = None
        self._version = 0
        self.judge(now())

    @property
    def version(self) -> int:
        """Rises only when something that a page shows has changed."""
        return self._version

    def receive(self, reading: Reading) -> None:
        """Takes a reading in and judges its machine; one that the inventory lacks is dropped."""
        with self._lock:
            self._follow_inventory()
            row = self._rows.get(reading.machine)
            if row is None:
                return
            now = self._now()
            row.error = reading.error
            _listen(row, reading, now)
            if reading.snapshot is not None:
                self._take(row, reading.snapshot, reading.at)
            self._judge(row, now)

    def judge(self, now: float) -> None:
        """Judges anew every machine whose verdict is old, or was made under another inventory."""
        with self._lock:
            self._follow_inventory()
            rows = tuple(self._rows.values())
        for row in rows:
            with self._lock:
                left = self._rows.get(row.machine.id) is not row
                if not left and not self._is_fresh(row, now):
                    self._judge(row, now)

    def views(self) -> tuple[MachineView, ...]:
        """Every machine, worst first, then by id."""
        with self._lock:
            if self._sorted is None:
                views = (row.view for row in self._rows.values() if row.view is not None)
                self._sorted = tuple(
                    sorted(views, key=lambda v: (_RANK[v.verdict.state], v.machine.id))
                )
            return self._sorted

    def views_since(self, version: int) -> tuple[MachineView, ...]:
        """Those of ``views()`` of which something shown changed after ``version``.

        A machine that left the inventory raises the version and is in no answer.
        """
        return tuple(view for view in self.views() if view.row_version > version)

    def view(self, machine_id: str) -> MachineView | None:
        """One machine; None where the inventory has no such id."""
        row = self._rows.get(machine_id)
        return row.view if row else None

    def memories(self) -> dict[str, Memory]:
        """What the next judgement of each machine needs of the last ones, to be kept."""
        with self._lock:
            return {id_: row.memory for id_, row in self._rows.items() if row.memory is not None}

    def _follow_inventory(self) -> None:
        inventory = self._inventory_file.current
        if inventory is self._inventory:
            return
        self._inventory = inventory
        rows: dict[str, _Row] = {}
        for machine in inventory.machines:
            row = self._rows.get(machine.id) or _Row(machine, self._restored.pop(machine.id, None))
            row.machine = machine
            rows[machine.id] = row
        left = self._rows.keys() - rows.keys()
        if left:
            self._version += 1
        now = self._now()
        for machine_id in sorted(left | self._restored.keys()):
            self._tell(gone(machine_id, now))
        # Those of machines that left while no dashboard ran.
        self._restored.clear()
        self._rows = rows
        self._sorted = None

    def _take(self, row: _Row, snapshot: MachineSnapshot, at: float) -> None:
        if row.snapshot is None or row.snapshot.taken_at != snapshot.taken_at:
            row.heard_at = at
        elif at - (row.heard_at or at) > self._inventory.policy.stale_after_seconds:
            row.error = "its agent answers, but its figures stand still: restart the agent"
        row.snapshot = snapshot

    def _is_fresh(self, row: _Row, now: float) -> bool:
        if row.judged_at is None or row.judged_under is not self._inventory:
            return False
        stale_after = self._inventory.policy.stale_after_seconds
        heard = row.heard_at is not None and 0 <= now - row.heard_at < stale_after
        settled = heard and row.memory is not None and not passes(row.memory)
        # A clock that was set back makes none fresh for longer.
        return 0 <= now - row.judged_at < (stale_after if settled else REJUDGE_SECONDS)

    def _judge(self, row: _Row, now: float) -> None:
        before = row.memory
        # While nothing can be heard of any machine, time stands still for its verdict.
        moment = now if row.deaf_since is None else row.deaf_since
        verdict, row.memory = judge(
            row.machine, self._inventory, row.snapshot, row.heard_at, row.error, row.memory, moment
        )
        if row.deaf_since is not None and row.snapshot is not None and row.error:
            known = say("This is its last known state: {why}", why=row.error)
            verdict = msgspec.structs.replace(verdict, reasons=(sentence(known), *verdict.reasons))
        view = MachineView(
            machine=row.machine,
            verdict=verdict,
            snapshot=row.snapshot,
            heard_at=row.heard_at,
            error=row.error,
            row_version=row.view.row_version if row.view else 0,
        )
        row.judged_under, row.judged_at = self._inventory, now
        if view != row.view:
            shown = _shown(view)
            if shown != row.shown:
                self._version += 1
                row.shown = shown
                view = msgspec.structs.replace(view, row_version=self._version)
            row.view = view
            self._sorted = None
        self._tell(change(row.machine, verdict, before, row.memory, now))

    def _tell(self, change: StateChange | None) -> None:
        if change is not None and self._on_change:
            self._on_change(change)


def _listen(row: _Row, reading: Reading, now: float) -> None:
    """Keeps since when a machine cannot be heard; once it can, silence counts from then."""
    if reading.source_failed:
        if row.deaf_since is None:
            row.deaf_since = now
    elif row.deaf_since is not None:
        row.deaf_since = None
        if row.memory is not None:
            row.memory = msgspec.structs.replace(row.memory, watching_since=now)


def _shown(view: MachineView) -> object:
    """What pages show of a machine, as exactly as they show it: what is finer is no change."""
    snapshot = view.snapshot
    verdict = view.verdict
    return (
        view.machine,
        view.error,
        msgspec.structs.replace(verdict, gpus=()),
        tuple(
            msgspec.structs.replace(
                gpu,
                available_bytes=_tenth_gib(gpu.available_bytes),
                headroom_bytes=_tenth_gib(gpu.headroom_bytes),
            )
            for gpu in verdict.gpus
        ),
        snapshot and (snapshot.agent_version, snapshot.os, snapshot.simulated, snapshot.started_at),
        snapshot and tuple(_shown_gpu(gpu) for gpu in snapshot.gpus),
        snapshot and tuple((s.name, s.state, s.reason) for s in snapshot.sources),
        snapshot and tuple(_shown_server(server) for server in snapshot.servers),
        # Whoever sees the last one change sees that there is more to list.
        snapshot and snapshot.jobs[-1:],
        snapshot and snapshot.host and _shown_host(snapshot.host),
    )


def _shown_gpu(gpu: GpuSample) -> object:
    return (
        (gpu.index, gpu.uuid, gpu.name, gpu.state, gpu.detail, gpu.driver_version),
        gpu.memory and _tenth_gib(gpu.memory.used_bytes),
        gpu.attribution and _tenth_gib(gpu.attribution.available_bytes),
        [(p.pid, p.name, p.server, _tenth_gib(p.vram_bytes)) for p in gpu.processes or ()],
        None if gpu.utilization_ratio is None else round(gpu.utilization_ratio, 2),
        None if gpu.temperature_celsius is None else round(gpu.temperature_celsius),
        None if gpu.power_watts is None else round(gpu.power_watts / 5),
        gpu.throttle_reasons,
        gpu.xid_errors,
        gpu.recovery_action,
    )


def _shown_server(server: ServerSample) -> object:
    return (
        (server.id, server.kind, server.state, server.reason, server.version, server.gpus),
        (server.queue_pending, server.queue_running, server.paused, server.stall),
        _tenth_gib(server.vram_bytes),
        [_shown_job(job) for job in server.jobs],
    )


def _shown_job(job: RunningJob) -> object:
    ratio, pace = job.progress_ratio, job.seconds_per_step
    return (
        (job.id, job.model, job.width, job.height, job.batch, job.step, job.steps),
        None if ratio is None else round(ratio, 2),
        None if pace is None else float(f"{pace:.2g}"),
        None if job.usual_seconds_per_step is None else float(f"{job.usual_seconds_per_step:.2g}"),
    )


def _shown_host(host: HostSample) -> object:
    return (
        None if host.cpu_ratio is None else round(host.cpu_ratio * 20),
        round(host.memory_available_bytes / GIBIBYTE),
        round(host.swap_used_bytes / GIBIBYTE),
    )


def _tenth_gib(count: int | None) -> int | None:
    return None if count is None else round(count * 10 / GIBIBYTE)
