"""The clock: asks every source once an interval and makes the current snapshot of it."""

from __future__ import annotations

import logging
import platform
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import psutil

from tierwatch_agent import __version__
from tierwatch_agent.attribution import attribute
from tierwatch_agent.host import Host, ProcessTable
from tierwatch_agent.peaks import Peak
from tierwatch_agent.runner import SourceRunner
from tierwatch_agent.servers.watching import Watching
from tierwatch_agent.snapshot import SCHEMA, GpuSample, HostSample, MachineSnapshot, SourceState

PEAK_WINDOWS = {"1m": 60.0, "10m": 600.0}
SIMULATED = "simulated"
SETTLE_SHARE = 0.3
"""How much of the interval a snapshot waits for its sources; what is later is in the next one."""

_log = logging.getLogger(__name__)


class Sampler:
    """Keeps ``current``: one immutable snapshot, swapped whole, that others read at any time."""

    def __init__(
        self,
        machine: str,
        runners: Sequence[SourceRunner],
        *,
        watching: Watching | None = None,
        interval_seconds: float = 1.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._runners = runners
        self._watching = watching
        self._interval_seconds = interval_seconds
        self._now = now
        self._host = Host()
        self._host_state = SourceState(name="host", state="down", reason="has not answered yet")
        self._processes = ProcessTable()
        self._peaks: dict[tuple[str, str], Peak] = {}
        self._stopping = threading.Event()
        self._empty = MachineSnapshot(
            schema=SCHEMA,
            machine=machine,
            agent_version=__version__,
            taken_at=now(),
            started_at=now(),
            interval_seconds=interval_seconds,
            os=operating_system(),
            simulated=any(runner.name == SIMULATED for runner in runners),
            sources=self._source_states(),
        )
        self.current = self._empty

    def start_sources(self) -> None:
        """Starts sources and watching; ``sample`` is then for the caller to call."""
        for runner in self._runners:
            runner.start()
        if self._watching is not None:
            self._watching.start()

    def start(self) -> None:
        """Starts the sources and the sampler's own thread."""
        self.start_sources()
        threading.Thread(target=self._run, name="sampler", daemon=True).start()

    def stop(self) -> None:
        """Ends sources and sampler without waiting for them."""
        self._stopping.set()
        for runner in self._runners:
            runner.stop()
        if self._watching is not None:
            self._watching.stop()

    def sample(self, settle_seconds: float) -> MachineSnapshot:
        """Asks every source, waits so long for their answers, and makes them the current one."""
        detailed = self._watching is not None and self._watching.wants_details()
        for runner in self._runners:
            runner.ask(detailed=detailed)
        host = self._sample_host()
        until = time.monotonic() + settle_seconds
        for runner in self._runners:
            runner.wait(max(0.0, until - time.monotonic()))
        gpus = [self._named(gpu) for gpu in self._gpus()]
        watching = self._watching
        if watching is not None:
            watching.note(gpus)
        gpus = [self._completed(gpu, host) for gpu in gpus]
        self.current = msgspec.structs.replace(
            self._empty,
            taken_at=self._now(),
            host=host,
            gpus=tuple(gpus),
            servers=() if watching is None else watching.samples(gpus),
            jobs=() if watching is None else watching.recent(),
            sources=self._source_states(),
        )
        return self.current

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            self.sample(self._interval_seconds * SETTLE_SHARE)
            # A machine that slept, or is too busy, gets the next sample and not those it missed.
            due = max(due + self._interval_seconds, time.monotonic())
            self._stopping.wait(due - time.monotonic())

    def _sample_host(self) -> HostSample | None:
        started = time.perf_counter()
        try:
            host = self._host.sample()
        except (psutil.Error, OSError) as error:
            if self._host_state.state != "down":
                _log.warning("source host is down: %s", error)
            self._host_state = msgspec.structs.replace(
                self._host_state,
                state="down",
                reason=str(error),
                failures=self._host_state.failures + 1,
            )
            return None
        self._host_state = msgspec.structs.replace(
            self._host_state,
            state="up",
            reason=None,
            last_success_at=self._now(),
            duration_seconds=time.perf_counter() - started,
        )
        return host

    def _source_states(self) -> tuple[SourceState, ...]:
        search = None if self._watching is None else self._watching.state()
        states = (*(runner.state() for runner in self._runners), self._host_state)
        return states if search is None else (*states, search)

    def _gpus(self) -> list[GpuSample]:
        """Every source's GPUs; where two count alike, the later source's index bears its name."""
        gpus: list[GpuSample] = []
        taken: set[str] = set()
        for runner in self._runners:
            for gpu in runner.gpus():
                if gpu.index in taken:
                    gpu = msgspec.structs.replace(gpu, index=f"{gpu.source}-{gpu.index}")
                taken.add(gpu.index)
                gpus.append(gpu)
        return gpus

    def _named(self, gpu: GpuSample) -> GpuSample:
        """With the names of its processes, and the generation servers that they are."""
        if not gpu.processes:
            return gpu
        gpu = msgspec.structs.replace(gpu, processes=self._processes.label(gpu.processes))
        return gpu if self._watching is None else self._watching.claimed(gpu)

    def _completed(self, gpu: GpuSample, host: HostSample | None) -> GpuSample:
        """Adds what a driver does not tell: attribution and peaks."""
        if gpu.memory is None:
            return gpu
        used = gpu.memory.used_bytes
        at = time.monotonic()
        told = None if self._watching is None else self._watching.server_bytes(gpu.uuid)
        return msgspec.structs.replace(
            gpu,
            attribution=attribute(gpu, host, told),
            memory_used_peak_bytes={
                window: self._peaks.setdefault((gpu.uuid, window), Peak(seconds)).add(at, used)
                for window, seconds in PEAK_WINDOWS.items()
            },
        )


def operating_system() -> str:
    """``linux``, ``windows``, ``macos`` or ``wsl``."""
    system = platform.system().lower()
    if system == "linux":
        release = Path("/proc/sys/kernel/osrelease")
        # https://github.com/microsoft/WSL/issues/423 names this as the sign to go by.
        return "wsl" if release.exists() and "microsoft" in release.read_text().lower() else "linux"
    return "macos" if system == "darwin" else system


def hostname() -> str:
    """This machine's name, the default of its id."""
    return socket.gethostname()
