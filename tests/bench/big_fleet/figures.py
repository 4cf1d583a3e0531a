"""Figures of GPUs that work as a studio's do, as finely as drivers tell them.

A job of some minutes and a rest of some minutes by turns: what does not move repeats, so that a
store which packs repetition is not made to look worse than it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tests.bench.big_fleet.machines import RESERVED_BYTES, TOTAL_BYTES, name
from tierwatch_dashboard.history import GpuPoint

GPUS_EACH = 2
GIB, PAGE = 2**30, 2 * 2**20
"""A driver gives memory out in pages."""


def points(gpu: int, start: float, seconds: float, every: float) -> Iterator[GpuPoint]:
    """One GPU's points; the same for the same arguments. Unix seconds."""
    chance = Random(gpu)
    works, left = False, 0.0
    temperature, others, own = 40.0, GIB // 2, 0
    for tick in range(round(seconds / every)):
        if left <= 0:
            works, left = not works, chance.uniform(60.0, 600.0)
            own = PAGE * chance.randrange(3000, 5500) if works else own
            others = PAGE * chance.randrange(150, 400)
        left -= every
        if works and chance.random() < 0.05:
            own += PAGE * chance.randrange(-20, 20)
        temperature += ((76.0 if works else 41.0) - temperature) * every / 90.0
        used = own + others
        yield GpuPoint(
            machine=name(gpu // GPUS_EACH),
            gpu=str(gpu % GPUS_EACH),
            at=start + tick * every + gpu * 0.01,
            total_bytes=TOTAL_BYTES,
            used_bytes=used,
            available_bytes=TOTAL_BYTES - RESERVED_BYTES - others,
            others_bytes=others,
            utilization_ratio=chance.randrange(88, 101) / 100 if works else 0.0,
            temperature_celsius=float(round(temperature)),
            power_watts=round(chance.gauss(310.0, 12.0) if works else chance.gauss(31.0, 0.3), 2),
            own_bytes=own,
            clock_hertz=1e6 * (15 * chance.randrange(168, 182) if works else 210),
            heat_ratio=0.0,
            capped_ratio=float(works and chance.random() < 0.1),
        )
