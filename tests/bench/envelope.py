"""A million finished jobs: time to make the envelope, to add to it and to answer; memory.

python -m tests.bench.envelope
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import Engine, insert

from tests.dashboard.studio import GIB, NOW, many
from tierwatch_dashboard.database import open_database, writing
from tierwatch_dashboard.fit import fit
from tierwatch_dashboard.fleet.state import MachineView
from tierwatch_dashboard.history.job_feed import JobFeed
from tierwatch_dashboard.history.tables import JOBS
from tierwatch_dashboard.placement import candidates
from tierwatch_dashboard.possible import Asked, find
from tierwatch_dashboard.production import Production

MACHINES, MODELS = 1000, 40
SIZES = ((512, 512), (768, 768), (832, 1216), (1024, 1024), (1344, 768), (1536, 1024), (2048, 1536))
BATCHES = (1, 1, 1, 2, 4)
ANSWERS = 300


class Ground:
    """As a dashboard knows its machines' cards; what was available is made up."""

    def __init__(self, views: Sequence[MachineView]) -> None:
        self._cards = {
            (view.machine.id, gpu.uuid): gpu.name
            for view in views
            for gpu in (view.snapshot.gpus if view.snapshot else ())
        }

    def card(self, machine: str, gpu: str | None) -> str | None:
        return self._cards.get((machine, gpu or ""))

    def available_bytes(self, machine: str, gpu: str | None, moment: float) -> int:
        return 9 * GIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    count: int = parser.parse_args().jobs
    views = many(MACHINES)
    with tempfile.TemporaryDirectory() as folder:
        engine = open_database(f"sqlite:///{(Path(folder) / 'tierwatch.db').as_posix()}")
        _write(engine, views, count)
        before = _resident_mib()
        production = Production(JobFeed(engine), Ground(views), lambda: NOW)
        made, _ = _timed(production.refresh)
        held = _resident_mib() - before
        _write(engine, views, 1000, count)
        added, _ = _timed(production.refresh)
        idle, _ = _timed(production.refresh)
        known = production.current
        print(f"{known.jobs} jobs, {len(known.recipes)} recipes, {MACHINES} machines")
        print(f"made from the database   {made:8.2f} s, {1e6 * made / count:.1f} µs a job")
        print(f"resident for it          {held:8.1f} MiB")
        print(f"1000 further jobs        {1000 * added:8.1f} ms; none {1000 * idle:.1f} ms")
        asked = Asked(model="model-7", width=1152, height=896, batch=2)
        lines = {}
        recipes = known.by_model["model-7"]
        line, lines[0] = _timed(lambda: fit(recipes))
        print(f"a model's line           {1000 * line:8.1f} ms, once a change of the envelope")

        def can() -> object:
            return find(known, asked, views, lambda _: lines[0])

        def place() -> object:
            found = find(known, asked, views, lambda _: lines[0])
            return candidates(found, views) if found else ()

        for name, work in (("which machine can run it", can), ("where to send it", place)):
            taken = sorted(1000 * _timed(work)[0] for _ in range(ANSWERS))
            print(
                f"{name:24} {statistics.median(taken):8.2f} ms, "
                f"p99 {taken[int(0.99 * ANSWERS)]:.2f} ms, worked out; kept until there is news"
            )
        engine.dispose()


def _timed(work: Callable[[], object]) -> tuple[float, object]:
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def _write(engine: Engine, views: Sequence[MachineView], count: int, first: int = 0) -> None:
    chance = random.Random(first)
    spots = [
        (view.machine.id, view.snapshot.gpus[0].uuid)
        for view in views
        if view.snapshot and view.snapshot.gpus
    ]
    for start in range(first, first + count, 50_000):
        rows = []
        for number in range(start, min(start + 50_000, first + count)):
            (machine, gpu), size = chance.choice(spots), chance.choice(SIZES)
            batch, model = chance.choice(BATCHES), chance.randrange(MODELS)
            work = size[0] * size[1] * batch / 1e6
            died = chance.random() < 0.02
            rows.append(
                {
                    "machine": machine,
                    "id": str(number),
                    "server": "comfyui-8188",
                    "outcome": "oom" if died else "success",
                    "ended_at": round(1000 * (NOW - 29 * 86400 + number)),
                    "duration": round(4000 * work),
                    "model": f"model-{model}",
                    "width": size[0],
                    "height": size[1],
                    "batch": batch,
                    "images": 0 if died else batch,
                    "gpu": gpu,
                    "peak_vram": round((4 + model / 5 + work) * 1e9 + chance.gauss(0, 2e8)),
                }
            )
        with writing(engine) as connection:
            connection.execute(insert(JOBS), rows)


def _resident_mib() -> float:
    if sys.platform != "linux":
        return float("nan")
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
