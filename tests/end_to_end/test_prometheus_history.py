"""A machine's past out of real engines that were given one: every figure, at every resolution."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.metric_engines import (
    MetricEngine,
    PastSample,
    Prometheus,
    VictoriaMetrics,
)
from tests.processes import eventually, free_port
from tierwatch_dashboard.fleet import mapping
from tierwatch_dashboard.fleet.promql import Promql
from tierwatch_dashboard.fleet.promql_settings import PromqlSettings
from tierwatch_dashboard.history import HistoryError
from tierwatch_dashboard.history.prometheus import MAX_POINTS, PrometheusHistory, step_for
from tierwatch_dashboard.history.prometheus_jobs import CountedJobs

pytestmark = pytest.mark.slow

GIB = 2**30
HOUR = 3600.0
SCRAPED_EVERY = 15.0
END = (time.time() - 4 * HOUR) // 600 * 600
"""Older than what an engine takes for the present."""
START = END - 30 * HOUR + 1
"""Off every step's edge: whether a sample on it counts in differs from release to release."""
SILENT = (END - 20 * HOUR, END - 19 * HOUR)
HOT = (END - 6 * HOUR, END - 5 * HOUR)


def used(at: float) -> float:
    return (6 + 2 * math.sin(at / 600)) * GIB


def past() -> Iterator[PastSample]:
    for machine in ("render-01", "other"):
        for gpu in ("0", "1"):
            labels = f'machine="{machine}",gpu="{gpu}",uuid="GPU-{gpu}",instance="a:1"'
            for number in range(int((END - START) / SCRAPED_EVERY) + 1):
                at = START + number * SCRAPED_EVERY
                if SILENT[0] <= at < SILENT[1]:
                    continue
                taken = used(at)
                for family, value in (
                    ("tierwatch_gpu_memory_total_bytes", 16.0 * GIB),
                    ("tierwatch_gpu_memory_used_bytes", taken),
                    ("tierwatch_gpu_memory_free_bytes", 16 * GIB - taken),
                    ("tierwatch_gpu_memory_available_bytes", 18 * GIB - taken),
                ):
                    yield f"{family}{{{labels}}}", value, at
                core = f'tierwatch_gpu_temperature_celsius{{{labels},sensor="core"}}'
                yield core, 60.0 + number % 4, at
                jobs = f'machine="{machine}",server="comfyui-8188",instance="a:1"'
                if gpu == "0":
                    yield from made(jobs, number, at)
                if HOT[0] < at <= HOT[1]:
                    hot = f'tierwatch_gpu_throttled{{{labels},reason="hw_thermal_slowdown"}}'
                    yield hot, 1.0, at


def made(labels: str, number: int, at: float) -> Iterator[PastSample]:
    """A job each minute, of 20 s and four images; each tenth runs out of memory."""
    jobs = number // 4
    outcomes = {"success": jobs - jobs // 10, "oom": jobs // 10}
    for outcome, count in outcomes.items():
        yield f'tierwatch_jobs_finished_total{{{labels},outcome="{outcome}"}}', float(count), at
    for family, each in (
        ("images_generated_total", 4),
        ("image_pixels_total", 4 * 1024**2),
        ("job_duration_seconds_sum", 20),
        ("job_duration_seconds_count", 1),
    ):
        yield f"tierwatch_{family}{{{labels}}}", float(each * jobs), at


@pytest.fixture(scope="module", params=[Prometheus, VictoriaMetrics], ids=lambda kind: kind.name)
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MetricEngine]:
    engine: MetricEngine = request.param(tmp_path_factory.mktemp("past") / "engine", [])
    if isinstance(engine, Prometheus):
        engine.load(past())
    with engine:
        if isinstance(engine, VictoriaMetrics):
            engine.load(past())
        count = f"count_over_time(tierwatch_gpu_memory_used_bytes[{60 * 86400}s])"
        eventually(lambda: engine.values(count), lambda found: len(found) == 4, "its past")
        yield engine


@pytest.fixture
def asked(engine: MetricEngine) -> Iterator[Promql]:
    asked = Promql(PromqlSettings(url=engine.url))
    asked.start()
    yield asked
    asked.close()


@pytest.fixture
def history(asked: Promql) -> Iterator[PrometheusHistory]:
    history = PrometheusHistory(asked, mapping.load("tierwatch").past)
    yield history
    history.close()


def test_each_gpu_of_the_machine_has_its_past_and_no_other_machine_s(
    history: PrometheusHistory,
) -> None:
    found = history.series("render-01", END - HOUR, END)
    assert [(series.machine, series.gpu) for series in found] == [
        ("render-01", "0"),
        ("render-01", "1"),
    ]
    assert history.series("nobody", END - HOUR, END) == ()


def test_a_short_span_shows_each_scrape(history: PrometheusHistory) -> None:
    series = history.series("render-01", END - HOUR, END)[0]
    assert series.resolution_seconds == 5
    for bucket in series.buckets:
        scraped_at = bucket.at - (bucket.at - START) % SCRAPED_EVERY
        assert bucket.used_bytes == pytest.approx(used(scraped_at))
        assert bucket.total_bytes == 16 * GIB
        assert bucket.available_bytes == pytest.approx(18 * GIB - used(scraped_at))
        assert bucket.own_bytes == pytest.approx(2 * GIB)
        assert bucket.power_watts is None


def test_a_long_span_keeps_the_worst_of_each_step(history: PrometheusHistory) -> None:
    series = history.series("render-01", END - 24 * HOUR, END)[0]
    step = series.resolution_seconds
    assert step == 120
    moments = {bucket.at: bucket for bucket in series.buckets}
    bucket = moments[END - 2 * HOUR]
    within = [used(bucket.at + 1 + at) for at in range(0, step, int(SCRAPED_EVERY))]
    assert bucket.used_bytes == pytest.approx(sum(within) / len(within))
    assert bucket.used_max_bytes == round(max(within))
    assert bucket.available_min_bytes == pytest.approx(18 * GIB - max(within), abs=1)
    assert bucket.temperature_max_celsius == 63
    assert bucket.heat_ratio is None
    assert moments[(HOT[0] + HOT[1]) / 2].heat_ratio == pytest.approx(1, abs=0.01)
    silent = [at for at in moments if SILENT[0] <= at < SILENT[1] - step]
    assert silent == []


@pytest.mark.parametrize("days", [1 / 24, 1, 7, 30, 90, 900])
def test_no_span_has_more_points_than_a_chart_shows(
    history: PrometheusHistory, days: float
) -> None:
    for series in history.series("render-01", END - days * 24 * HOUR, END):
        assert len(series.buckets) <= MAX_POINTS + 1
    assert days * 24 * HOUR / step_for(days * 24 * HOUR) <= MAX_POINTS


def test_what_a_machine_made_in_an_hour_is_counted(asked: Promql) -> None:
    jobs = CountedJobs(asked)
    other, own = jobs.throughput(END - HOUR, END)
    assert [other.machine, own.machine] == ["other", "render-01"]
    assert own.gpu is None
    assert own.jobs == {"success": pytest.approx(54, abs=1), "oom": pytest.approx(6, abs=1)}
    assert own.images == pytest.approx(240, abs=5)
    assert own.pixels == pytest.approx(240 * 1024**2, rel=0.03)
    assert own.busy_seconds == pytest.approx(1200, rel=0.03)
    usual = jobs.usual_seconds(END - HOUR, END)
    assert usual == {
        ("other", "comfyui-8188"): pytest.approx(20),
        ("render-01", "comfyui-8188"): pytest.approx(20),
    }


def test_an_engine_that_is_away_is_said(tmp_path: Path) -> None:
    port = free_port()
    asked = Promql(PromqlSettings(url=f"http://127.0.0.1:{port}"))
    history = PrometheusHistory(asked, mapping.load("tierwatch").past)
    asked.start()
    try:
        with pytest.raises(HistoryError, match="refuses the connection: does it run"):
            history.series("render-01", END - HOUR, END)
    finally:
        history.close()
    with pytest.raises(HistoryError, match="is not asked any more"):
        history.series("render-01", END - HOUR, END)
