"""A month's jobs of the studio in ``studio.py``, for all that is told of recipes."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.dashboard.studio import GIB, NOW, machines
from tests.dashboard.synthetic_jobs import Truth, ended, envelope
from tierwatch_dashboard.envelope import Ended, Envelope

SDXL = Truth(base=4.0e9, slope=3.2e9, noise=0.2e9)
FLUX = Truth(base=11.5e9, slope=1.6e9, noise=0.15e9)
PACE = {"render-01": 4.1, "render-03": 6.8, "demo-02": 7.2, "render-05": 14.0}
"""Seconds per megapixel by machine."""
SIZES = ((768, 768), (832, 1216), (1024, 1024), (1344, 768), (1536, 1024))


def produced() -> Envelope:
    """What those jobs tell."""
    return envelope(list(jobs()))


def jobs() -> Iterator[Ended]:
    """SDXL everywhere, FLUX on two machines; some run out of memory."""
    gpus = {
        view.machine.id: view.snapshot.gpus[0]
        for view in machines()
        if view.snapshot and view.snapshot.gpus
    }
    chance = random.Random(5)
    for machine, pace in PACE.items():
        for number in range(120):
            size, at = chance.choice(SIZES), NOW - 86400 * (28 - number / 5)
            truth, model = (SDXL, "sdxl_base")
            if machine in ("render-01", "render-03") and number // 6 % 4 == 3:
                truth, model = (FLUX, "flux1-dev-Q8_0")
            seconds = pace * size[0] * size[1] / 1e6 * chance.uniform(0.95, 1.05)
            peak, room = truth.drawn(chance, size), None
            if model == "flux1-dev-Q8_0" and number % 5 == 0:
                room = round(9.7 * GIB)
            yield ended(
                peak,
                size,
                available=room,
                machine=machine,
                at=at,
                gpu=gpus[machine].uuid,
                card=gpus[machine].name,
                model=model,
                seconds=seconds * (2.5 if number % 6 == 0 else 1.0),
            )
    yield ended(
        9_000_000_000, (1216, 832), machine="render-01", at=NOW, batch=4, seconds=40.0, card=None
    )
