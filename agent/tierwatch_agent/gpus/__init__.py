"""Where GPU figures come from: one file per source, registered here by name.

A source knows one vendor's interface and nothing else: it opens it, reads every GPU at once, and
closes it. It runs in a process of its own (``worker.py``), so that a driver call that never
returns costs its figures and not the agent.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from tierwatch_agent.snapshot import GpuSample

SOURCES: dict[str, str] = {
    "nvml": "tierwatch_agent.gpus.nvml:NvmlSource",
    "amdgpu": "tierwatch_agent.gpus.amdgpu:AmdgpuSource",
    "simulated": "tierwatch_agent.gpus.simulated:SimulatedSource",
}
"""Name to ``module:Class``, imported only in the process that runs the source."""


class SourceAbsent(Exception):
    """There is nothing of this kind on the machine, which is no fault; the text says what."""


class SourceError(Exception):
    """A source that should answer does not; the text says why, for people.

    ``replace_process``: only a fresh process can cure it (a library mapped before an update).
    ``lost``: every GPU has fallen off its bus.
    """

    def __init__(self, reason: str, *, replace_process: bool = False, lost: bool = False) -> None:
        super().__init__(reason)
        self.replace_process = replace_process
        self.lost = lost


class GpuSource(Protocol):
    """One vendor's interface. Its options are keyword arguments of its class, with defaults."""

    def open(self) -> None:
        """Gets ready to read; called again after ``close``. Raises SourceAbsent, SourceError."""
        ...

    def read(self) -> tuple[GpuSample, ...]:
        """Every GPU now, without attribution; raises SourceError where nothing can be read.

        A process whose ``name`` is empty is looked up by the caller.
        """
        ...

    def close(self) -> None:
        """Lets go of the interface; never raises."""
        ...


@runtime_checkable
class DetailedSource(Protocol):
    """A source that can tell more where that is worth its time: while a job is slow."""

    def read_detailed(self) -> tuple[GpuSample, ...]:
        """As ``read``, with the figures that take the driver long."""
        ...
