"""Made-up GPUs, for the demo and for trying a dashboard: says "simulated" wherever it shows.

What each card is and who holds its memory when is told by the settings, as ``Card`` and ``Holder``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tierwatch_agent.gpus import SourceError
from tierwatch_agent.snapshot import GpuMemory, GpuSample, Process

MEBIBYTE = 2**20
AMBIENT_CELSIUS = 31.0
HEAT_CELSIUS = 41.0
"""Above ambient, at full load."""
WARMING_SECONDS = 25.0


class Holder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A process on a card: ``mib`` for ``on_seconds``, then ``idle_mib`` for ``off_seconds``."""

    name: str
    mib: int
    idle_mib: int = 0
    on_seconds: float = 60.0
    off_seconds: float = 0.0
    delay_seconds: float = 0.0
    """How long after the start its first turn begins; until then it is not there."""
    load: float = 0.0
    """The GPU's utilisation while it is on, as a ratio."""
    server: str | None = None
    """The kind of generation server that it is."""


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A simulated GPU."""

    name: str
    vram_mib: int
    reserved_mib: int = 300
    watts: float = 285.0
    wddm: bool = False
    """Windows' driver model: the processes are told, what each holds is not."""
    lost_after_seconds: float | None = None
    holders: tuple[Holder, ...] = ()


class SimulatedSource:
    """The cards of the settings: ``[source.simulated] cards = [{name = "…", vram_mib = 8188}]``."""

    def __init__(
        self, cards: Sequence[Any] = (), now: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = cards
        self._now = now
        self._started = now()
        self._cards: tuple[Card, ...] = ()

    def open(self) -> None:
        """Reads the settings; SourceError names the wrong key."""
        try:
            self._cards = msgspec.convert(list(self._settings), tuple[Card, ...])
        except msgspec.ValidationError as error:
            raise SourceError(f"the settings' source.simulated.cards: {error}") from error

    def read(self) -> tuple[GpuSample, ...]:
        """Every card at this moment."""
        elapsed = self._now() - self._started
        return tuple(_sample(index, card, elapsed) for index, card in enumerate(self._cards))

    def close(self) -> None:
        """Nothing is held."""


def _sample(index: int, card: Card, elapsed: float) -> GpuSample:
    gpu = GpuSample(
        index=str(index),
        uuid=f"SIM-{index}",
        name=card.name,
        vendor="simulated",
        source="simulated",
        driver_version="simulated",
        driver_model="wddm" if card.wddm else None,
    )
    if card.lost_after_seconds is not None and elapsed > card.lost_after_seconds:
        detail = "simulated: it fell off the bus"
        return msgspec.structs.replace(gpu, state="lost", detail=detail)
    held = [
        (number, holder, _held_mib(holder, elapsed))
        for number, holder in enumerate(card.holders)
        if elapsed >= holder.delay_seconds
    ]
    used = min(card.vram_mib - card.reserved_mib, sum(mib for _, _, mib in held))
    load = min(1.0, sum(_load(holder, elapsed) for _, holder, _ in held))
    warmth = _warmth(card.holders, elapsed)
    return msgspec.structs.replace(
        gpu,
        memory=GpuMemory(
            total_bytes=card.vram_mib * MEBIBYTE,
            reserved_bytes=card.reserved_mib * MEBIBYTE,
            used_bytes=used * MEBIBYTE,
            free_bytes=(card.vram_mib - card.reserved_mib - used) * MEBIBYTE,
        ),
        processes=tuple(
            Process(
                pid=4000 + 100 * index + number,
                name=holder.name,
                vram_bytes=None if card.wddm else mib * MEBIBYTE,
                server=holder.server,
                server_pid=4000 + 100 * index + number if holder.server else None,
            )
            for number, holder, mib in held
            if mib
        ),
        utilization_ratio=round(load, 2),
        temperature_celsius=round(AMBIENT_CELSIUS + HEAT_CELSIUS * warmth),
        slowdown_celsius=90.0,
        power_watts=round(card.watts * (0.08 + 0.87 * load), 1),
        power_limit_watts=card.watts,
        fan_ratio=round(0.25 + 0.5 * warmth, 2),
        performance_state=0 if load else 8,
        throttle_reasons=(),
    )


def _is_on(holder: Holder, elapsed: float) -> bool:
    turn = holder.on_seconds + holder.off_seconds
    return (
        elapsed >= holder.delay_seconds
        and (elapsed - holder.delay_seconds) % turn < holder.on_seconds
    )


def _held_mib(holder: Holder, elapsed: float) -> int:
    return holder.mib if _is_on(holder, elapsed) else holder.idle_mib


def _load(holder: Holder, elapsed: float) -> float:
    return holder.load * (0.97 + 0.03 * math.sin(elapsed)) if _is_on(holder, elapsed) else 0.0


def _warmth(holders: Sequence[Holder], elapsed: float) -> float:
    """0 to 1: the load of the last moments, weighted as a heat sink forgets."""
    moments = range(0, 100, 5)
    weights = [math.exp(-ago / WARMING_SECONDS) for ago in moments]
    loads = [min(1.0, sum(_load(holder, elapsed - ago) for holder in holders)) for ago in moments]
    return sum(w * load for w, load in zip(weights, loads, strict=True)) / sum(weights)
