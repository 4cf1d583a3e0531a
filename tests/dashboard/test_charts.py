"""Figures of a machine's past: what is drawn, what is said, and that Plotly takes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from flask.testing import FlaskClient
from msgspec.structs import replace

import tierwatch_dashboard
from tests.dashboard.doubles import History, Past, Studio
from tests.dashboard.studio import GIB, NOW, TIERS
from tierwatch_agent.snapshot import JobRecord, Outcome, RunningJob, ServerSample
from tierwatch_dashboard.alerts import Alert
from tierwatch_dashboard.app import create_app
from tierwatch_dashboard.changes import StateChange
from tierwatch_dashboard.charts.drawing import Look
from tierwatch_dashboard.charts.gpu import GpuChart, gpu_chart
from tierwatch_dashboard.charts.spans import RANGES, Span, SpanError, asked, live, shown
from tierwatch_dashboard.charts.theme import THEMES
from tierwatch_dashboard.charts.timeline import (
    MOST_STATES,
    Happened,
    RunningSpan,
    Timeline,
    timeline,
)
from tierwatch_dashboard.history import Bucket, Series
from tierwatch_dashboard.history.holdings import Held, Holding
from tierwatch_dashboard.history.job_spans import JobSpan
from tierwatch_dashboard.holder_changes import Holder

HOUR = Span(start=NOW - 3600, end=NOW, range="1h", refresh_seconds=10)
LIGHT = Look(theme=THEMES["light"], spoken=str)
MANY = 5000


def every(step: float, count: int, **figures: Any) -> list[Bucket]:
    known = {"total_bytes": 16 * GIB, "available_bytes": 15 * GIB, "others_bytes": GIB // 2}
    return [Bucket(at=NOW - 3600 + step * n, **{**known, **figures}) for n in range(count)]


def series(*buckets: Bucket, resolution: int = 0) -> Series:
    return Series(machine="a", gpu="0", resolution_seconds=resolution, buckets=buckets)


def drawn(
    *buckets: Bucket,
    tier: str | None = "mass",
    holdings: tuple[Holding, ...] = (),
    resolution: int = 0,
    slowdown: float | None = None,
) -> GpuChart:
    found = series(*buckets, resolution=resolution)
    return gpu_chart(found, holdings, TIERS[tier] if tier else None, slowdown, HOUR, LIGHT)


def held(name: str, *parts: tuple[float, float], before: float = 0, **more: Any) -> Holding:
    """A holder that has so many GiB from so many seconds after the hour's beginning on."""
    return Holding(
        holder=Holder(machine="a", gpu="0", name=name, **more),
        before_bytes=round(before * GIB),
        parts=tuple(
            Held(
                at=NOW - 3600 + at,
                most_bytes=round(size * GIB),
                last_bytes=round(size * GIB),
            )
            for at, size in parts
        ),
    )


def layer(figure: GpuChart, name: str) -> list[float | None]:
    (found,) = [trace["y"] for trace in figure.data if trace["name"] == name]
    return found  # type: ignore[return-value]


def words(figure: GpuChart | Timeline) -> list[str]:
    return [sign.words for sign in figure.legend]


def valid(data: object, layout: object) -> None:
    """Raises on what Plotly's own schema lacks."""
    go.Figure({"data": data, "layout": layout})


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("tier", [None, "draft", "mass"])
def test_a_gpu_s_figure_is_what_plotly_takes(theme: str, tier: str | None) -> None:
    (found,) = History().series("a", NOW - 3600, NOW)
    look = Look(theme=THEMES[theme], spoken=str)
    holders = (held("game.exe", (600, 4)), held("webui", before=1, server="forge"))
    figure = gpu_chart(found, holders, TIERS[tier] if tier else None, 90, HOUR, look)
    valid(figure.data, figure.layout)


def test_production_s_own_stands_below_and_the_others_hang_from_the_top() -> None:
    figure = drawn(
        *every(5, 3, available_bytes=10 * GIB, others_bytes=5.5 * GIB, own_bytes=6 * GIB),
        holdings=(held("game.exe", before=4), held("train.py", before=1)),
    )
    assert layer(figure, "production's own") == [6] * 3
    assert layer(figure, "free") == [4] * 3
    assert layer(figure, "game.exe") == [4] * 3
    assert layer(figure, "train.py") == [1] * 3
    assert layer(figure, "others together") == [0.5] * 3
    assert layer(figure, "reserved by the driver") == [0.5] * 3
    stack = [trace for trace in figure.data if "stackgroup" in trace]
    assert sum(trace["y"][0] or 0 for trace in stack) == 16  # type: ignore[index]
    assert [trace["name"] for trace in stack[:3]] == ["production's own", "free", "game.exe"]


def test_the_floor_is_drawn_in_and_named_and_what_is_below_it_marked() -> None:
    low = every(5, 6)
    low[2:4] = [replace(b, available_bytes=9 * GIB, others_bytes=6.5 * GIB) for b in low[2:4]]
    figure = drawn(*low)
    layout: dict[str, Any] = figure.layout
    (line,) = layout["shapes"]
    assert line["y0"] == line["y1"] == pytest.approx(15e9 / GIB)
    assert layout["annotations"][-1]["text"] == "mass, 16 GB class: 14.0 GiB"
    assert layout["annotations"][-1]["y"] == line["y0"]
    # To where it ends: a step lasts until the next moment.
    assert layer(figure, "below the floor") == [None, None, 9, 9, 9, None]


@pytest.mark.parametrize("tier", [None, "draft"])
def test_without_a_floor_there_is_no_line(tier: str | None) -> None:
    figure = drawn(*every(5, 3), tier=tier)
    assert figure.layout["shapes"] == []
    assert "GB class" not in str(figure.layout)
    assert "below the floor" not in [trace["name"] for trace in figure.data]


def test_the_largest_three_are_named_and_the_rest_stand_together() -> None:
    holders = tuple(held(f"p{n}.exe", before=n / 2) for n in range(1, 6))
    figure = drawn(*every(5, 2, available_bytes=7 * GIB, others_bytes=8.5 * GIB), holdings=holders)
    assert words(figure)[1:] == [
        "p5.exe, up to 2.5 GiB",
        "p4.exe, up to 2.0 GiB",
        "p3.exe, up to 1.5 GiB",
        "others together",
        "reserved by the driver",
    ]
    assert layer(figure, "others together") == [2.5, 2.5]


def test_a_holder_comes_moves_and_goes_where_it_did() -> None:
    figure = drawn(
        *every(60, 6, available_bytes=5 * GIB, others_bytes=10.5 * GIB),
        holdings=(held("game.exe", (60, 4), (121, 6), (240, 0)),),
    )
    assert layer(figure, "game.exe") == [None, 4, 4, 6, None, None]


def test_in_a_bucket_each_stands_at_its_most_and_all_within_what_is_held() -> None:
    figure = drawn(
        *every(60, 3, available_bytes=9 * GIB, others_bytes=6.5 * GIB),
        holdings=(held("game.exe", (70, 6), (110, 0)), held("train.py", (115, 7))),
        resolution=60,
    )
    game, train = layer(figure, "game.exe"), layer(figure, "train.py")
    assert game[0] is None
    assert (game[1] or 0) + (train[1] or 0) == pytest.approx(6.5, abs=0.02)
    assert (game[2], train[2]) == (None, 6.5)


def test_another_generation_server_goes_by_its_name() -> None:
    figure = drawn(*every(5, 2), holdings=(held("python launch.py", before=0.4, server="forge"),))
    assert "Forge, up to 0.4 GiB" in words(figure)


def test_what_nobody_is_known_to_hold_is_told_as_that() -> None:
    figure = drawn(*every(5, 2, available_bytes=9 * GIB, others_bytes=None, used_bytes=6.5 * GIB))
    assert layer(figure, "not known whose") == [6.5, 6.5]
    assert layer(figure, "reserved by the driver") == [0.5, 0.5]
    assert "not known whose" in words(figure)


def test_a_card_of_which_only_the_use_is_known_shows_that() -> None:
    figure = drawn(*every(5, 2, available_bytes=None, others_bytes=None, used_bytes=4 * GIB))
    assert layer(figure, "not known whose") == [4, 4]
    assert "available" not in [trace["name"] for trace in figure.data]
    assert figure.account.sentence == "GPU 0: what was available is not known."


def test_a_silence_is_a_gap_in_every_line_and_nothing_is_held_in_it() -> None:
    early = every(5, 10, utilization_ratio=0.5, temperature_celsius=50.0, own_bytes=GIB)
    late = [replace(bucket, at=bucket.at + 600) for bucket in early]
    figure = drawn(*early, *late, holdings=(held("game.exe", before=0.3),))
    for name in ("utilisation", "temperature", "available", "production's own", "game.exe"):
        found = layer(figure, name)
        assert len(found) == 21
        assert found[10] is None


def test_an_unknown_figure_is_a_gap_and_not_zero() -> None:
    buckets = every(5, 5, utilization_ratio=0.5)
    buckets[2] = replace(buckets[2], utilization_ratio=None)
    assert layer(drawn(*buckets), "utilisation") == [50, 50, None, 50, 50]


def test_a_figure_of_which_nothing_is_known_has_no_pane() -> None:
    figure = drawn(*every(5, 3, power_watts=100.0))
    titles = [each["text"] for each in figure.layout["annotations"][:2]]  # type: ignore[index]
    assert titles == ["VRAM, GiB", "Power, W"]
    assert "yaxis3" not in figure.layout


def test_a_rolled_up_bucket_shows_its_worst_and_not_its_mean() -> None:
    bucket = Bucket(
        at=NOW - 600,
        total_bytes=16 * GIB,
        available_bytes=11.0 * GIB,
        available_min_bytes=3 * GIB,
        others_bytes=4.5 * GIB,
        temperature_celsius=50,
        temperature_max_celsius=80,
    )
    figure = drawn(bucket, resolution=60)
    assert layer(figure, "available") == [3]
    assert layer(figure, "others together") == [12.5]
    assert layer(figure, "temperature") == [80]


def test_the_slowdown_limit_stands_in_the_pane_of_temperature() -> None:
    figure = drawn(*every(5, 3, temperature_celsius=80.0), slowdown=90.0)
    assert figure.layout["shapes"][-1]["y0"] == 90  # type: ignore[index]
    assert figure.layout["annotations"][-1]["text"] == "slows down at 90 °C"  # type: ignore[index]


def test_throttling_is_shaded_and_said() -> None:
    buckets = every(5, 4, temperature_celsius=80.0, power_watts=200.0, heat_ratio=0.0)
    buckets[1] = replace(buckets[1], heat_ratio=1.0)
    hot = drawn(*buckets)
    (shade,) = [trace for trace in hot.data if trace.get("fill") == "tozeroy"]
    assert [bool(y) for y in shade["y"]] == [False, True, False, False]  # type: ignore[attr-defined]
    assert "heat holds the clock back" in words(hot)
    # A card at work is at its limit at times; shaded is where it was so for most of a span.
    now_and_then = drawn(*every(60, 4, power_watts=200.0, capped_ratio=0.3), resolution=60)
    assert "the power limit holds the clock back" not in words(now_and_then)
    mostly = drawn(*every(60, 4, power_watts=200.0, capped_ratio=0.7), resolution=60)
    assert "the power limit holds the clock back" in words(mostly)


def test_a_past_with_nothing_in_it_says_so() -> None:
    assert drawn().empty is True
    assert drawn(*every(5, 3)).empty is False


def test_the_axis_has_room_for_the_floor_above_a_small_card() -> None:
    figure = drawn(*every(5, 3, total_bytes=8 * GIB, available_bytes=7 * GIB))
    assert figure.layout["yaxis"]["range"][1] > 15e9 / GIB  # type: ignore[index]


@pytest.mark.parametrize(
    ("low", "sentence"),
    [
        ({}, "GPU 0: 15.0 GiB available at the lowest, 1.0 GiB above the floor of mass."),
        (
            {2: 9},
            "GPU 0: 9.0 GiB available at the lowest, 5.0 GiB below the floor of mass; below it "
            "for 1 min.",
        ),
        (
            {2: 9, 3: 9, 7: 12},
            "GPU 0: 9.0 GiB available at the lowest, 5.0 GiB below the floor of mass; below it "
            "for 2 min at the longest, 3 min in all.",
        ),
    ],
    ids=["never", "once", "twice"],
)
def test_a_chart_s_sentence_tells_the_lowest_and_how_long(
    low: dict[int, float], sentence: str
) -> None:
    buckets = every(60, 10)
    for place, gib in low.items():
        buckets[place] = replace(buckets[place], available_bytes=gib * GIB)
    assert drawn(*buckets, resolution=60).account.sentence == sentence


def test_a_minute_s_lowest_alone_is_a_moment() -> None:
    buckets = every(60, 5, available_min_bytes=15 * GIB)
    buckets[2] = replace(buckets[2], available_min_bytes=9 * GIB)
    sentence = drawn(*buckets, resolution=60).account.sentence
    assert sentence.endswith("5.0 GiB below the floor of mass, for a moment.")


def test_the_table_tells_the_same_in_a_few_parts() -> None:
    buckets = every(5, 60, utilization_ratio=0.5, temperature_celsius=60.0, power_watts=100.0)
    buckets[59] = replace(buckets[59], temperature_celsius=70.0)
    account = drawn(*buckets, holdings=(held("game.exe", (150, 0.4)),)).account
    assert len(account.rows) == 12
    assert account.rows[0].at == NOW - 3600
    assert account.rows[0].cells == [
        "15.0 GiB",
        "others together, 0.5 GiB",
        "50 %",
        "60 °C",
        "100 W",
    ]
    assert account.rows[-1].cells == ["15.0 GiB", "game.exe, 0.4 GiB", "50 %", "70 °C", "100 W"]
    assert len(account.columns) == 6


# What happened


def change(before: float, state: str) -> StateChange:
    return StateChange(machine="a", at=NOW - before, state=state, headline=f"It is {state}")  # type: ignore[arg-type]


def alert(before: float, lasted: float | None, severity: str = "warning") -> Alert:
    fired = NOW - before
    return Alert(
        fingerprint=f"{before}",
        rule="MachineBelowTier",
        severity=severity,  # type: ignore[arg-type]
        labels={"machine": "a"},
        summary="a cannot serve mass",
        todo="",
        state="firing" if lasted is None else "resolved",
        since=fired - 60,
        fired_at=fired,
        resolved_at=None if lasted is None else fired + lasted,
    )


def job(
    before: float, outcome: Outcome = "success", gpu: str | None = "A", count: int = 1
) -> JobSpan:
    return JobSpan(
        outcome=outcome,
        start=NOW - before,
        end=NOW - before + 40,
        count=count,
        gpu=gpu,
        model="sdxl" if count == 1 else None,
        width=1024,
        height=768,
        duration_seconds=40,
    )


def told(**what: Any) -> Timeline:
    return timeline(Happened(**what), HOUR, NOW, LIGHT)


def bars(figure: Timeline, name: str) -> list[dict[str, Any]]:
    return [trace for trace in figure.data if trace["name"] == name]


FULL: dict[str, Any] = {
    "states": [change(4000, "ok"), change(2000, "below"), change(1000, "maintenance")],
    "alerts": [alert(1900, 500), alert(1500, None, "critical"), alert(1400, 10, "info")],
    "jobs": [job(3000), job(2500, "oom"), job(2000, "error"), job(1800, "interrupted")],
    "running": [RunningSpan(start=NOW - 30, gpu="B")],
    "gpus": {"A": "0", "B": "1"},
}


@pytest.mark.parametrize("theme", THEMES)
def test_a_timeline_is_what_plotly_takes(theme: str) -> None:
    look = Look(theme=THEMES[theme], spoken=str)
    found = timeline(Happened(**FULL), HOUR, NOW, look)
    valid(found.data, found.layout)


def test_a_state_lasts_until_the_next_and_the_last_until_now() -> None:
    figure = told(states=FULL["states"])
    (ok,) = bars(figure, "ok")
    assert (ok["base"], ok["x"]) == ([(NOW - 3600) * 1000], [1600 * 1000])
    (resting,) = bars(figure, "maintenance")
    assert resting["base"][0] + resting["x"][0] == NOW * 1000
    assert bars(figure, "below")[0]["hovertext"] == ["below, 16 min 40 s: It is below"]


def test_every_state_outcome_and_severity_has_a_sign_beside_its_colour() -> None:
    figure = told(**FULL)
    signs = [(sign.swatch.split()[1:], sign.sign) for sign in figure.legend]
    assert len({repr(sign) for sign in signs}) == len(signs)
    marks = {
        trace["marker"]["symbol"]: trace["name"]  # type: ignore[index]
        for trace in figure.data
        if trace["type"] == "scatter"
    }
    assert len(marks) == 3 + 4


def test_jobs_are_told_by_gpu_where_there_are_several() -> None:
    titles = [each["text"] for each in told(**FULL).layout["annotations"]]  # type: ignore[attr-defined]
    assert titles == ["Verdict", "Alerts", "Jobs on GPU 0", "Jobs on GPU 1"]
    lost = told(jobs=[job(100, gpu="A"), job(50, gpu=None)], gpus=FULL["gpus"])
    assert [each["text"] for each in lost.layout["annotations"]][-1] == "Jobs, not known where"  # type: ignore[attr-defined]
    alone = told(jobs=[job(100)], gpus={"A": "0"})
    assert [each["text"] for each in alone.layout["annotations"]] == ["Jobs"]  # type: ignore[attr-defined]


def test_what_is_said_of_a_job_names_model_size_outcome_and_time() -> None:
    figure = told(jobs=[job(100, "oom"), job(50, count=12)], running=[RunningSpan(start=NOW - 9)])
    assert bars(figure, "out of memory")[0]["hovertext"] == [
        "sdxl 1024 × 768: out of memory after 40 s"
    ]
    assert bars(figure, "done")[0]["hovertext"] == ["12 jobs: done, 40 s each on average"]
    assert bars(figure, "running")[0]["hovertext"] == ["a job: running"]


def test_alerts_at_one_time_do_not_cover_each_other() -> None:
    figure = told(alerts=[alert(900, None), alert(800, 9, "critical"), alert(795, None, "info")])
    rows = [bars(figure, name)[0]["y"][0] for name in ("warning", "critical", "info")]
    assert len(set(rows)) == 3


def test_the_sentence_counts_the_jobs() -> None:
    assert told(jobs=FULL["jobs"]).sentence == (
        "1 job done, 1 failed, 1 out of memory, 1 interrupted."
    )
    assert told(jobs=[job(50, count=12)]).sentence == "12 jobs done, none failed."
    assert told().sentence == "No job ended."


def test_what_is_too_short_to_be_seen_is_drawn_longer() -> None:
    figure = told(states=[change(1000, "ok"), change(500, "below"), change(499, "ok")])
    assert bars(figure, "below")[0]["x"] == [7200]


def test_thousands_of_changes_are_a_bounded_number_of_bars() -> None:
    flapping = [
        change(3600 - 3600 * n / MANY, "below" if n % 20 == 0 else "ok") for n in range(MANY)
    ]
    figure = told(states=flapping)
    drawn_bars = sum(len(trace["x"]) for trace in figure.data)  # type: ignore[arg-type]
    assert drawn_bars <= MOST_STATES + 1
    assert bars(figure, "below")


# What may be spanned


def test_a_live_span_s_end_lies_on_a_grid_so_that_answers_stay_the_same() -> None:
    assert live("1h", 1001) == live("1h", 1009)
    span = live("1h", 1001)
    assert (span.start, span.end, span.refresh_seconds) == (1010 - 3600, 1010, 10)
    assert live("90d", 5).refresh_seconds == 10_800


@pytest.mark.parametrize("name", RANGES)
def test_every_range_is_as_long_as_it_says(name: str) -> None:
    span = asked({"range": name}, NOW)
    assert (span.range, span.seconds) == (name, RANGES[name].seconds)


def test_two_moments_stay_and_are_asked_again_only_while_they_are_not_over() -> None:
    over = asked({"from": "1000", "to": "2000"}, NOW)
    assert (over.start, over.end, over.range, over.refresh_seconds) == (1000, 2000, None, None)
    open_ = asked({"from": str(NOW - 100), "to": str(NOW + 100)}, NOW)
    assert open_.refresh_seconds == 10


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ({"range": "2h"}, "range must be one of 15min, 1h, 6h, 24h, 7d, 90d; it is 2h"),
        ({"from": "1000"}, "to must be a moment in Unix seconds; it is -"),
        ({"from": "noon", "to": "2000"}, "from must be a moment in Unix seconds; it is noon"),
        ({"from": "nan", "to": "2000"}, "from must be a moment in Unix seconds; it is nan"),
        ({"from": "2000", "to": "1000"}, "to must be at least 60 s after from"),
        ({"from": "0", "to": "9000000"}, "from and to must be at most 90 days apart"),
        ({"from": str(NOW + 9), "to": str(NOW + 99)}, "from is yet to come: nothing is kept of it"),
    ],
)
def test_what_is_no_span_is_said_in_words(query: dict[str, str], why: str) -> None:
    with pytest.raises(SpanError) as caught:
        asked(query, NOW)
    assert str(caught.value) == why
    assert shown(query, NOW) == (live("1h", NOW), why)


def test_the_colours_are_the_stylesheet_s() -> None:
    package = Path(tierwatch_dashboard.__file__).parent
    css = (package / "web" / "static" / "tierwatch.css").read_text(encoding="utf-8")
    pairs = dict(re.findall(r"--([\w-]+): light-dark\((#\w+, #\w+)\)", css))
    for name in THEMES["light"].__struct_fields__:
        light, dark = pairs[name.replace("_", "-")].split(", ")
        assert getattr(THEMES["light"], name) == light
        assert getattr(THEMES["dark"], name) == dark


# Through the dashboard's door


@pytest.fixture
def studio() -> Studio:
    return Studio(
        past=Past(
            held=(held("EldenRing.exe", (1800, 5)),),
            spans=(job(900, "oom"), job(600)),
            changes=(change(4000, "ok"), change(1000, "below")),
        )
    )


@pytest.fixture
def client(studio: Studio) -> FlaskClient:
    return create_app(studio.services()).test_client()


ADDRESS = "/api/v1/machines/render-03/charts"


def test_an_answer_has_a_figure_of_what_happened_and_one_of_each_gpu(client: FlaskClient) -> None:
    answer = client.get(f"{ADDRESS}?range=1h").json
    assert answer
    assert answer["timeline"]["sentence"] == "1 job done, 1 out of memory."
    (figure,) = answer["figures"]
    assert figure["gpu"] == "0"
    assert [sign["words"] for sign in figure["legend"]][2] == "EldenRing.exe, up to 5.0 GiB"
    assert (answer["start_at"], answer["end_at"]) == (NOW - 3600, NOW)
    valid(figure["data"], figure["layout"])
    valid(answer["timeline"]["data"], answer["timeline"]["layout"])


def test_a_job_that_runs_now_is_among_them(studio: Studio, client: FlaskClient) -> None:
    known = studio.fleet.view("render-03")
    assert known
    assert known.snapshot
    running = RunningJob(id="x", started_at=NOW - 20, model="flux1-dev")
    server = ServerSample(id="comfyui-8188", kind="comfyui", jobs=(running,))
    snapshot = replace(known.snapshot, servers=(server,))
    studio.fleet.change(replace(known, snapshot=snapshot))
    assert "flux1-dev: running" in client.get(ADDRESS).text


def test_a_running_job_is_where_its_server_s_last_one_was(
    studio: Studio, client: FlaskClient
) -> None:
    known = studio.fleet.view("render-05")
    assert known
    assert known.snapshot
    running = RunningJob(id="x", started_at=NOW - 20)
    server = ServerSample(id="comfyui-8188", kind="comfyui", jobs=(running,))
    last = JobRecord(
        id="y",
        server="comfyui-8188",
        outcome="success",
        ended_at=NOW - 30,
        gpu=known.snapshot.gpus[1].uuid,
    )
    snapshot = replace(known.snapshot, servers=(server,), jobs=(last,))
    studio.fleet.change(replace(known, snapshot=snapshot))
    studio.past.spans = ()
    answer = client.get("/api/v1/machines/render-05/charts").json
    assert answer
    titles = [each["text"] for each in answer["timeline"]["layout"]["annotations"]]
    assert titles == ["Verdict", "Jobs on GPU 0", "Jobs on GPU 1"]


def test_figures_speak_the_viewer_s_language(client: FlaskClient) -> None:
    english = client.get(ADDRESS, headers={"Accept-Language": "en"})
    assert english.headers["Vary"]
    assert "VRAM, GiB" in english.text


@pytest.mark.parametrize("query", ["range=2h", "from=5", "from=9&to=1", "theme=mauve"])
def test_what_cannot_be_is_refused_in_words(client: FlaskClient, query: str) -> None:
    answer = client.get(f"{ADDRESS}?{query}")
    assert answer.status_code == 400
    assert answer.json
    assert " must be " in answer.json["error"]


def test_a_page_whose_address_asks_for_no_span_says_so_and_shows_the_last_hour(
    client: FlaskClient,
) -> None:
    page = client.get("/machines/render-03?from=9&to=1").text
    assert "to must be at least 60 s after from. Shown is the last hour." in page
    assert 'data-range="1h"' in page


def test_a_page_can_be_opened_at_two_moments(client: FlaskClient) -> None:
    page = client.get("/machines/render-03?from=1795550000&to=1795551000").text
    assert 'data-from="1795550000.0" data-to="1795551000.0"' in page
    assert 'data-range=""' in page
    assert "aria-current" not in page.split('class="ranges"')[1].split("</nav>")[0]
