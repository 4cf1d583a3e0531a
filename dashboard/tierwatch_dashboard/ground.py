"""The GPUs that jobs ran on: their cards as the fleet has them now, and what they had then."""

from __future__ import annotations

from collections.abc import Callable

from tierwatch_agent.snapshot import GpuSample
from tierwatch_dashboard.fleet.state import MachineView
from tierwatch_dashboard.history.available_at import AvailableAt


class Ground:
    """Of a machine that has one kind of card it need not be known which of them a job ran on."""

    def __init__(self, view: Callable[[str], MachineView | None], kept: AvailableAt) -> None:
        self._view = view
        self._kept = kept

    def card(self, machine: str, gpu: str | None) -> str | None:
        """The name of a GPU's card; None where its machine has it no more, or was not heard."""
        names = {each.name for each in self._gpus(machine) if gpu in (None, each.uuid)}
        return names.pop() if len(names) == 1 else None

    def available_bytes(self, machine: str, gpu: str | None, moment: float) -> int | None:
        """What was available on it at a moment; None: not known."""
        found = [each for each in self._gpus(machine) if gpu in (None, each.uuid)]
        return self._kept.at(machine, found[0].index, moment) if len(found) == 1 else None

    def _gpus(self, machine: str) -> list[GpuSample]:
        view = self._view(machine)
        gpus = view.snapshot.gpus if view and view.snapshot else ()
        return [gpu for gpu in gpus if not gpu.partitioned]
