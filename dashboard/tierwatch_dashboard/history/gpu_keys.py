"""The small keys that stand for GPUs in every row of points and holders."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, select

from tierwatch_dashboard.database import upsert
from tierwatch_dashboard.history.tables import GPUS

Gpu = tuple[str, str]
"""A machine, and the index of one of its GPUs."""


class GpuKeys:
    """Remembers the keys of a database, and makes those that are asked for and not there yet."""

    def __init__(self) -> None:
        self._known: dict[Gpu, int] = {}

    def of(self, connection: Connection, gpus: Iterable[Gpu]) -> dict[Gpu, int]:
        """The keys of every GPU, ``gpus`` included; new ones hold once committed (``keep``)."""
        new = set(gpus) - self._known.keys()
        if not new:
            return self._known
        connection.execute(
            upsert(connection, GPUS).on_conflict_do_nothing(),
            [{"machine": machine, "gpu": gpu} for machine, gpu in sorted(new)],
        )
        return {(row.machine, row.gpu): row.id for row in connection.execute(select(GPUS))}

    def keep(self, keys: dict[Gpu, int]) -> None:
        """Remembers what ``of`` gave, now that it is committed."""
        self._known = keys
