"""Each GPU's lowest available VRAM by the minute over the last hour: what a sparkline draws.

A machine's minutes begin at a second of their own, so that a fleet's sparklines do not all grow in
the same moment. Only whole minutes are told: one that is under way changes nothing that is shown.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from zlib import crc32

import msgspec

from tierwatch_dashboard.fleet import Reading

MINUTES = 60
_MINUTE = 60.0

Lows = tuple[int | None, ...]
"""Bytes by minute, oldest first; None: nothing was heard in that minute."""


class Low(msgspec.Struct, frozen=True, kw_only=True):
    """The lowest available VRAM of a GPU in the minute that begins at ``at`` (Unix seconds)."""

    machine: str
    gpu: str
    at: float
    available_bytes: int


class _Ring:
    def __init__(self, minute: int) -> None:
        self.minute = minute
        self.lowest: int | None = None
        self.lows: Lows = ()

    def take(self, minute: int, available: int) -> bool:
        """Takes a figure in; whether that ended a minute."""
        passed = minute - self.minute
        if passed < 0:
            return False
        if passed:
            silent = (None,) * min(passed - 1, MINUTES)
            self.lows = (*self.lows, self.lowest, *silent)[-MINUTES:]
            self.minute, self.lowest = minute, None
        self.lowest = available if self.lowest is None else min(self.lowest, available)
        return passed > 0


class Trends:
    """The last hour of every GPU. Safe to use from several threads."""

    def __init__(self) -> None:
        self._rings: dict[tuple[str, str], _Ring] = {}
        self._lock = threading.Lock()
        self._version = 0

    @property
    def version(self) -> int:
        """Rises whenever a GPU's minute ended."""
        return self._version

    def fill(self, lows: Iterable[Low]) -> None:
        """Takes the past in, oldest first, before any reading is taken."""
        for low in lows:
            # A stored minute overlaps two of ours: it counts for the one that holds its middle.
            self._take(low.machine, low.gpu, low.at + _MINUTE / 2, low.available_bytes)

    def take(self, reading: Reading) -> None:
        """Takes a reading in."""
        for gpu in reading.snapshot.gpus if reading.snapshot else ():
            if gpu.attribution is not None:
                self._take(reading.machine, gpu.index, reading.at, gpu.attribution.available_bytes)

    def of(self, machine: str, gpu: str) -> Lows:
        """A GPU's minutes up to the last whole one; the same object until another has ended."""
        ring = self._rings.get((machine, gpu))
        return ring.lows if ring else ()

    def _take(self, machine: str, gpu: str, at: float, available: int) -> None:
        minute = int((at - phase(machine)) // _MINUTE)
        with self._lock:
            ring = self._rings.get((machine, gpu))
            if ring is None:
                ring = self._rings[machine, gpu] = _Ring(minute)
            if ring.take(minute, available):
                self._version += 1


def phase(machine: str) -> int:
    """The second at which a machine's minutes begin."""
    return crc32(machine.encode()) % int(_MINUTE)
