"""The past as a PromQL engine keeps it: one query for all GPUs and figures of a machine.

What is written here is not kept: the engine scrapes its own points, and keeps and prunes them by
its own settings. Jobs and changes of verdict stay in the dashboard's database.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from tierwatch_dashboard.fleet.mapping import Figure, Past
from tierwatch_dashboard.fleet.promql import Promql, PromqlError
from tierwatch_dashboard.fleet.samples import Course
from tierwatch_dashboard.history import Bucket, GpuPoint, HistoryError, Series

MAX_POINTS = 720
"""Of one GPU in a series: what a chart shows of a screen's width."""
STEPS = (5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
"""Seconds between two points; a series has the smallest that keeps it within ``MAX_POINTS``."""
SUMMED_FROM_SECONDS = 120
"""From this step on a point is of all samples within it; below it, of the last one."""

_WHOLE = frozenset({"total_bytes", "used_max_bytes", "available_min_bytes"})
"""Fields of a bucket that are integers."""


class PrometheusHistory:
    """The engine's store (see ``History``). ``past`` says which series of it are a machine's."""

    def __init__(self, engine: Promql, past: Past) -> None:
        self._engine = engine
        self._past = past

    def append(self, points: Sequence[GpuPoint]) -> None:
        """Keeps nothing: the engine has scraped them itself."""

    def roll_up(self, now: float) -> None:
        """Does nothing: the engine computes what it is asked for."""

    def prune(self, now: float) -> None:
        """Does nothing: the engine has a retention of its own."""

    def close(self) -> None:
        """Lets go of the engine."""
        self._engine.close()

    def series(self, machine: str, start: float, end: float) -> tuple[Series, ...]:
        """Each GPU of a machine that has points from ``start`` to ``end``.

        Raises:
            HistoryError: The engine gave no answer.
        """
        step = step_for(end - start)
        # On multiples of the step, so that the same moments are asked for time and again.
        first, last = math.ceil(start / step) * step, math.floor(end / step) * step
        if last < first:
            return ()
        query = expression(machine, step, self._past)
        try:
            found = self._engine.wait(self._engine.span(query, first, last, step))
        except PromqlError as error:
            raise HistoryError(error.args[0]) from error
        return _series(machine, step, found)


def step_for(span: float) -> int:
    """Seconds between two points of a span; beyond the longest step, whole days."""
    for step in STEPS:
        if span // step <= MAX_POINTS:
            return step
    day = STEPS[-1]
    return day * math.ceil(span / (day * MAX_POINTS))


def expression(machine: str, step: int, past: Past) -> str:
    """Every figure of every GPU of a machine as one expression, told apart by the label stat."""
    named = json.dumps(machine, ensure_ascii=False)
    return "\nor\n".join(
        _of_figure(figure, of_machine, past, step)
        for of_machine in past.of_machine(named)
        for figure in past.figures
    )


def _of_figure(figure: Figure, of_machine: str, past: Past, step: int) -> str:
    def of(family: str, of_samples: str, matcher: str = "") -> str:
        series = f"{family}{{{','.join(filter(None, (of_machine, matcher)))}}}"
        if step >= SUMMED_FROM_SECONDS:
            series = f"{of_samples}_over_time({series}[{step}s])"
        # Of a GPU that two servers scrape, either will do.
        return f"max by (gpu) ({past.with_gpu(series)})"

    value = of(figure.family, figure.of_samples, figure.matcher)
    if figure.plus:
        value = f"({value} + {of(figure.plus, figure.of_samples)})"
    if figure.less:
        value = f"clamp_min({value} - {of(figure.less, figure.of_samples)}, 0)"
    if figure.share_of and step >= SUMMED_FROM_SECONDS:
        value = f"{value} / {of(figure.share_of, figure.of_samples)}"
    if figure.factor != 1:
        value = f"{value} * {figure.factor!r}"
    return f'label_replace({value}, "stat", "{figure.field}", "", "")'


def _series(machine: str, step: int, found: Iterable[Course]) -> tuple[Series, ...]:
    gpus: defaultdict[str, defaultdict[float, dict[str, float]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    # A point of all samples within a step stands at its end in the answer, and begins before it.
    back = step if step >= SUMMED_FROM_SECONDS else 0
    for course in found:
        field = course.labels.stat
        moments = gpus[course.labels.gpu]
        for at, written in course.points:
            value = float(written)
            if math.isfinite(value):
                moments[at - back][field] = round(value) if field in _WHOLE else value
    return tuple(
        Series(
            machine=machine,
            gpu=gpu,
            resolution_seconds=step,
            buckets=tuple(
                msgspec.convert({"at": at, **figures}, Bucket)
                for at, figures in sorted(gpus[gpu].items())
                if figures
            ),
        )
        for gpu in sorted(gpus, key=lambda index: [(len(part), part) for part in index.split(":")])
    )
