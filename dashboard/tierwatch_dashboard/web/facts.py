"""What of a machine the fleet page searches, filters and sorts by. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from tierwatch_agent.snapshot import GpuSample, ServerSample
from tierwatch_agent.tiers import Tier, ladder
from tierwatch_agent.wording import GIBIBYTE
from tierwatch_dashboard.servers import title
from tierwatch_dashboard.web.standing import tiers_of

if TYPE_CHECKING:
    from tierwatch_dashboard.fleet.state import MachineView


class Facts:
    """One machine's; each is worked out once a view asks for it, since few do.

    Figures are as exact as they are shown. Those of a machine that is down are not known.
    """

    def __init__(self, view: MachineView, tiers: Sequence[Tier]) -> None:
        self._view = view
        self._tiers = tiers
        self.id = view.machine.id
        self.state = view.verdict.state
        self.tags = view.machine.tags
        self.headline = view.verdict.headline

    @cached_property
    def tiers(self) -> frozenset[str]:
        """Those that it or a GPU of it is assigned to."""
        return frozenset(tiers_of(self._view))

    @cached_property
    def place(self) -> int:
        """Of its highest assigned tier; the highest there is has 0."""
        names = [tier.name for tier in reversed(ladder(self._tiers))]
        return min((names.index(tier) for tier in self.tiers if tier in names), default=len(names))

    @cached_property
    def gpus(self) -> frozenset[str]:
        """Names of its cards, of one that is down the last known."""
        return (
            frozenset(gpu.name for gpu in self._view.snapshot.gpus)
            if self._view.snapshot
            else frozenset()
        )

    @cached_property
    def servers(self) -> frozenset[str]:
        """Kinds of its generation servers."""
        return frozenset(server.kind for server in self._servers)

    @cached_property
    def text(self) -> str:
        """Everything that is searched but the headline, in small letters."""
        parts = [self.id, *self.tags, *self.gpus]
        for server in self._servers:
            parts += [title(server.kind), server.id]
            parts += [job.model for job in server.jobs if job.model]
        return "\n".join(parts).casefold()

    @cached_property
    def headroom(self) -> int | None:
        """The least of its GPUs, in tenths of a GiB."""
        judged = () if self.state == "down" else self._view.verdict.gpus
        known = [gpu.headroom_bytes for gpu in judged if gpu.headroom_bytes is not None]
        return round(10 * min(known) / GIBIBYTE) if known else None

    @cached_property
    def busy(self) -> int | None:
        """The most of its GPUs, in percent."""
        known = [g.utilization_ratio for g in self._cards if g.utilization_ratio is not None]
        return round(100 * max(known)) if known else None

    @cached_property
    def temperature(self) -> int | None:
        """The highest of its GPUs, in Celsius."""
        known = [g.temperature_celsius for g in self._cards if g.temperature_celsius is not None]
        return round(max(known)) if known else None

    @property
    def _servers(self) -> Sequence[ServerSample]:
        return self._view.snapshot.servers if self._view.snapshot and self.state != "down" else ()

    @property
    def _cards(self) -> Sequence[GpuSample]:
        if self._view.snapshot is None or self.state == "down":
            return ()
        return [gpu for gpu in self._view.snapshot.gpus if not gpu.partitioned]
