"""A made-up studio whose truth is known: what each job of a model really needs, and on which card.

A model's peak is a hidden function of its work (megapixels × batch), bent a little as attention's
is, with noise from job to job. A job that needs more than is available runs out of memory.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from tierwatch_dashboard.envelope import Ended, Envelope, Envelopes

GB = 10**9
SIZES = (
    (512, 512), (512, 768), (768, 768), (832, 1216), (1024, 1024), (1344, 768), (1216, 1216),
    (1536, 1024), (1440, 1440), (1792, 1344), (2048, 1536),
)  # fmt: skip
"""Width and height."""


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """What a model needs, in bytes."""

    base: float = 5.0 * GB
    slope: float = 2.4 * GB
    bend: float = 0.05 * GB
    noise: float = 0.25 * GB

    def middle(self, width: int, height: int, batch: int = 1) -> float:
        work = width * height * batch / 1e6
        return self.base + self.slope * work + self.bend * work * work

    def p95(self, width: int, height: int, batch: int = 1) -> float:
        return self.middle(width, height, batch) + 1.645 * self.noise

    def drawn(self, chance: random.Random, size: tuple[int, int], batch: int = 1) -> int:
        return round(self.middle(*size, batch) + chance.gauss(0, self.noise))


def ended(
    peak: int | None,
    size: tuple[int, int] = (1024, 1024),
    *,
    available: int | None = None,
    machine: str = "render-01",
    at: float = 0.0,
    **fields: object,
) -> Ended:
    """A job that takes ``peak`` bytes, or runs out of memory where less is available."""
    died = available is not None and peak is not None and peak > available
    job = Ended(
        machine=machine,
        server="comfyui-8188",
        gpu="GPU-0",
        outcome="oom" if died else "success",
        model="sdxl_base",
        width=size[0],
        height=size[1],
        batch=1,
        images=0 if died else 1,
        seconds=10.0,
        peak_bytes=None if died else peak,
        ended_at=at,
        card="RTX 4090",
        available_bytes=available if died else None,
    )
    return job._replace(**fields)


def made(
    truth: Truth,
    chance: random.Random,
    sizes: Sequence[tuple[int, int]],
    count: int,
    available: Sequence[float] = (float("inf"),),
) -> list[Ended]:
    """``count`` jobs of each size, each where one of ``available`` bytes is to be had."""
    return [
        ended(
            truth.drawn(chance, size),
            size,
            available=None if room == float("inf") else round(room),
            at=float(number),
        )
        for size in sizes
        for number in range(count)
        for room in (chance.choice(available),)
    ]


def envelope(jobs: Sequence[Ended]) -> Envelope:
    """What these jobs tell."""
    envelopes = Envelopes()
    for job in jobs:
        envelopes.take(job)
    return envelopes.envelope()
