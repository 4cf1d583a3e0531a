"""What a fleet made, as a PromQL engine's counters tell: how many jobs, images and pixels.

No series has a job of its own, so which GPU made it is not known, and what is usual is a mean.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import cast, get_args

from tierwatch_agent.snapshot import Outcome
from tierwatch_dashboard.fleet.promql import Promql, PromqlError
from tierwatch_dashboard.fleet.samples import Sample
from tierwatch_dashboard.history import HistoryError
from tierwatch_dashboard.history.jobs import Throughput

_OUTCOMES: tuple[str, ...] = get_args(Outcome)
_SECONDS = "tierwatch_job_duration_seconds"
_COUNTED = {
    "images": "tierwatch_images_generated_total",
    "pixels": "tierwatch_image_pixels_total",
    "busy_seconds": f"{_SECONDS}_sum",
}


class CountedJobs:
    """Counts by the engine: five questions in all, however many machines there are."""

    def __init__(self, engine: Promql) -> None:
        self._engine = engine

    def throughput(self, start: float, end: float) -> Sequence[Throughput]:
        """What each machine made from ``start`` to ``end``; HistoryError where none is told."""
        span = _span(start, end)
        jobs: defaultdict[str, dict[Outcome, int]] = defaultdict(dict)
        finished = _rise("tierwatch_jobs_finished_total", span, "outcome")
        for sample in self._ask(f"sum by (machine, outcome) ({finished}) > 0", end):
            if sample.labels.outcome in _OUTCOMES:
                outcome = cast(Outcome, sample.labels.outcome)
                jobs[sample.labels.machine][outcome] = round(sample.value)
        made: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for field, family in _COUNTED.items():
            for sample in self._ask(f"sum by (machine) ({_rise(family, span)}) > 0", end):
                made[sample.labels.machine][field] = sample.value
        return [
            Throughput(
                machine=machine,
                gpu=None,
                jobs=jobs[machine],
                images=round(made[machine].get("images", 0)),
                pixels=round(made[machine].get("pixels", 0)),
                busy_seconds=made[machine].get("busy_seconds", 0.0),
            )
            for machine in sorted(jobs.keys() | made.keys())
        ]

    def usual_seconds(self, start: float, end: float) -> Mapping[tuple[str, str], float]:
        """Mean duration by machine and server."""
        span = _span(start, end)
        query = f"{_rise(f'{_SECONDS}_sum', span)} / ({_rise(f'{_SECONDS}_count', span)} > 0)"
        return {(s.labels.machine, s.labels.server): s.value for s in self._ask(query, end)}

    def _ask(self, query: str, at: float) -> list[Sample]:
        try:
            found = self._engine.wait(self._engine.instant(query, at))
        except PromqlError as error:
            raise HistoryError(error.args[0]) from error
        return [each for each in found if each.labels.machine and math.isfinite(each.value)]


def _span(start: float, end: float) -> str:
    return f"{max(1, round(end - start))}s"


def _rise(family: str, span: str, *labels: str) -> str:
    """By how much a counter rose; of a machine that two servers scrape, either will do."""
    by = ", ".join(("machine", "server", *labels))
    return f"max by ({by}) (increase({family}[{span}]))"
