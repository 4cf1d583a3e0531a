from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import plotly.graph_objects as go
import pytest

from tests.dashboard.doubles import History
from tests.dashboard.studio import GIB, NOW, TIERS
from tierwatch_dashboard import charts
from tierwatch_dashboard.charts import RANGES, THEMES, chart, span_of, thinned
from tierwatch_dashboard.history import Bucket, Series

LIGHT = THEMES["light"]


def series(*buckets: Bucket, resolution: int = 0) -> Series:
    return Series(machine="a", gpu="0", resolution_seconds=resolution, buckets=buckets)


def every(step: float, count: int, **figures: Any) -> list[Bucket]:
    return [Bucket(at=1000 + step * n, **figures) for n in range(count)]


def drawn(found: Series, tier: str | None = "mass") -> dict[str, Any]:
    return chart(found, TIERS[tier] if tier else None, NOW - 3600, NOW, LIGHT)


def traces(figure: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [trace for trace in figure["data"] if trace["name"] == name]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("tier", [None, "draft", "mass"])
def test_a_figure_is_what_plotly_takes(theme: str, tier: str | None) -> None:
    (found,) = History().series("a", NOW - 3600, NOW)
    figure = chart(found, TIERS[tier] if tier else None, NOW - 3600, NOW, THEMES[theme])
    go.Figure({"data": figure["data"], "layout": figure["layout"]})  # raises on what it lacks


def test_the_floor_is_drawn_in_and_named() -> None:
    layout = drawn(series(*every(5, 3, used_bytes=GIB)))["layout"]
    (line,) = layout["shapes"]
    assert line["y0"] == line["y1"] == pytest.approx(15e9 / GIB)
    assert layout["annotations"][-1]["text"] == "mass, 16 GB class: 14.0 GiB"
    assert layout["annotations"][-1]["y"] == line["y0"]


@pytest.mark.parametrize("tier", [None, "draft"])
def test_without_a_floor_there_is_no_line(tier: str | None) -> None:
    layout = drawn(series(*every(5, 3, used_bytes=GIB)), tier)["layout"]
    assert layout["shapes"] == []
    assert "GB class" not in str(layout)


def test_a_silence_stays_a_gap_in_every_line() -> None:
    early = every(5, 10, used_bytes=GIB, utilization_ratio=0.5, temperature_celsius=50.0)
    late = [msgspec.structs.replace(bucket, at=bucket.at + 600) for bucket in early]
    figure = drawn(series(*early, *late))

    for name in ("utilisation", "temperature"):
        (line,) = traces(figure, name)
        assert line["y"].count(None) == 1
        assert line["y"].index(None) == 10
    used = traces(figure, "used")
    assert [len(stretch["x"]) for stretch in used] == [10, 10]


def test_an_unknown_figure_is_a_gap_and_not_zero() -> None:
    buckets = every(5, 5, utilization_ratio=0.5)
    buckets[2] = msgspec.structs.replace(buckets[2], utilization_ratio=None)
    (line,) = traces(drawn(series(*buckets)), "utilisation")
    assert line["y"] == [50, 50, None, 50, 50]


def test_moments_drawn_together_keep_the_worst() -> None:
    buckets = [
        Bucket(
            at=1000 + n,
            used_bytes=n * GIB,
            available_bytes=(16 - n) * GIB,
            utilization_ratio=n / 10,
            temperature_celsius=40.0 + n,
        )
        for n in range(10)
    ]
    (together,) = thinned(series(*buckets), 10)
    assert together.used == 9
    assert together.available == 7
    assert together.utilization == 45
    assert together.temperature == 49


def test_a_rolled_up_bucket_shows_its_worst_and_not_its_mean() -> None:
    bucket = Bucket(
        at=1200,
        used_bytes=4.0 * GIB,
        used_max_bytes=12 * GIB,
        available_bytes=11.0 * GIB,
        available_min_bytes=3 * GIB,
        temperature_celsius=50,
        temperature_max_celsius=80,
    )
    (moment,) = thinned(series(bucket, resolution=60), 60)
    assert (moment.used, moment.available, moment.temperature) == (12, 3, 80)


@pytest.mark.parametrize("name", RANGES)
def test_no_range_draws_more_points_than_a_screen_shows(name: str) -> None:
    start, end, _ = span_of(name, NOW)
    step = {"7d": 60, "90d": 600}.get(name, 5)
    (found,) = History(step).series("a", start, end)
    moments = tuple(thinned(found, (end - start) / charts.POINTS))
    # A few more than POINTS: the first and last are cut, and each silence adds one.
    assert len(moments) <= charts.POINTS * 1.05


def test_the_end_lies_on_a_grid_so_that_answers_stay_the_same() -> None:
    assert span_of("1h", 1001) == span_of("1h", 1009) == (1010 - 3600, 1010, 10)
    assert span_of("90d", 5)[2] == 10_800


def test_the_axis_shows_the_whole_range_even_where_nothing_is_known() -> None:
    figure = drawn(series(*every(5, 3, used_bytes=GIB)))
    assert figure["layout"]["xaxis"]["range"] == [(NOW - 3600) * 1000, NOW * 1000]


def test_a_past_with_nothing_in_it_says_so() -> None:
    assert drawn(series())["empty"] is True
    assert drawn(series(*every(5, 3, used_bytes=GIB)))["empty"] is False


def test_the_axis_has_room_for_the_floor_above_a_small_card() -> None:
    figure = drawn(series(*every(5, 3, total_bytes=8 * GIB, used_bytes=GIB)))
    assert figure["layout"]["yaxis"]["range"][1] > 15e9 / GIB


def test_the_colours_are_the_stylesheet_s() -> None:
    css = (Path(charts.__file__).parent / "web" / "static" / "tierwatch.css").read_text(
        encoding="utf-8"
    )
    pairs = dict(re.findall(r"--([\w-]+): light-dark\((#\w+, #\w+)\)", css))
    for name in THEMES["light"].__struct_fields__:
        light, dark = pairs[name].split(", ")
        assert getattr(THEMES["light"], name) == light
        assert getattr(THEMES["dark"], name) == dark
