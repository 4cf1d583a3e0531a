"""A machine's past in a real browser: its charts, their zoom and their range."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.dashboard.doubles import History, Past, Studio
from tests.dashboard.studio import NOW
from tests.end_to_end.served_studio import Dashboard
from tierwatch_agent.snapshot import Outcome
from tierwatch_dashboard.changes import StateChange
from tierwatch_dashboard.history.job_spans import JobSpan
from tierwatch_dashboard.verdict import State

pytestmark = pytest.mark.slow


def test_the_charts_show_the_floor_and_times_in_the_viewer_s_zone(
    page: Page, dashboard: Dashboard
) -> None:
    page.goto(dashboard.at("/machines/render-03"))
    chart = page.locator("figure[data-gpu='0']")
    expect(
        chart.locator(".annotation-text", has_text="mass, 16 GB class: 14.0 GiB")
    ).to_be_visible()
    expect(chart.locator(".xtick", has_text="06:10")).to_be_visible()
    expect(chart.locator(".scatterlayer .trace")).not_to_have_count(0)


HOUR = 3_600_000
"""Milliseconds."""
DRAWN = "all => all.length && all.every(plot => plot._fullLayout && plot.data.length)"


def shown(page: Page) -> list[tuple[float, float]]:
    """The span of every chart, in milliseconds."""
    return page.locator(".plot").evaluate_all(
        "all => all.map(plot => plot._fullLayout.xaxis.range.map(Date.parse))"
    )


def wait_for_span(page: Page, test: str) -> None:
    """Waits until every chart's span, in milliseconds, is what a JavaScript condition says."""
    page.wait_for_function(
        "() => [...document.querySelectorAll('.plot')].every(plot => {"
        " if (!plot._fullLayout) return false;"
        " const [from, to] = plot._fullLayout.xaxis.range.map(Date.parse);"
        f" const span = to - from; return {test} }})"
    )


@pytest.fixture
def charts(page: Page, dashboard: Dashboard) -> Locator:
    """The charts of one machine, drawn."""
    page.clock.install(time=dashboard.studio.now.at)
    page.goto(dashboard.at("/machines/render-05"))
    page.wait_for_function(f"() => ({DRAWN})([...document.querySelectorAll('.plot')])")
    return page.locator("#charts")


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    """One whose machines have two GPUs, jobs and states."""
    past = Past(
        spans=(job(-2000, "oom"), job(-900, "success")),
        changes=(change(-4000, "ok"), change(-1000, "below")),
    )
    dashboard = Dashboard(Studio(history=History(gpus=("0", "1")), past=past))
    yield dashboard
    dashboard.stop()


def job(end: float, outcome: Outcome) -> JobSpan:
    return JobSpan(outcome=outcome, start=NOW + end - 60, end=NOW + end, duration_seconds=60)


def change(at: float, state: State) -> StateChange:
    return StateChange(machine="render-05", at=NOW + at, state=state, headline=f"It is {state}")


def look_again(page: Page) -> None:
    """As whoever comes back to the page's tab, which asks at once."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def drag(page: Page, first: float, last: float) -> None:
    """Zooms from one share of the last chart's width to another."""
    pane = page.locator("figure[data-gpu='1'] .nsewdrag[data-subplot='xy']")
    pane.scroll_into_view_if_needed()
    box = pane.bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + first * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + last * box["width"], middle, steps=5)
    page.mouse.up()


def test_zooming_one_chart_zooms_them_all_and_asks_for_finer_figures(
    page: Page, dashboard: Dashboard, charts: Locator
) -> None:
    with page.expect_response(lambda answer: "from=" in answer.url) as asked:
        drag(page, 0.25, 0.5)
    wait_for_span(page, "Math.abs(span - 9e5) < 3e4")
    assert len(set(map(tuple, shown(page)))) == 1
    found = asked.value.json()
    assert found["range"] is None
    assert found["end_at"] - found["start_at"] == pytest.approx(900, abs=30)
    expect(page.locator(".shown")).to_have_text(re.compile(r"^25 Nov, 05:3\d–05:[45]\d$"))
    expect(page.locator(".ranges [aria-current]")).to_have_count(0)

    page.goto(page.url)
    wait_for_span(page, "Math.abs(span - 9e5) < 3e4")

    page.locator("figure[data-gpu='0'] .nsewdrag[data-subplot='xy']").dblclick()
    wait_for_span(page, f"span === {HOUR}")
    expect(page).to_have_url(dashboard.at("/machines/render-05?range=1h"))


def test_the_keyboard_alone_moves_and_zooms(
    page: Page, dashboard: Dashboard, charts: Locator
) -> None:
    charts.focus()
    expect(charts).to_have_accessible_description(re.compile("← and → move, . and − zoom, 0 goes"))
    ((start, end), *_) = shown(page)
    page.keyboard.press("+")
    wait_for_span(page, f"span === {HOUR / 2}")
    page.keyboard.press("ArrowLeft")
    wait_for_span(page, f"span === {HOUR / 2} && to < {end - HOUR / 4}")
    page.keyboard.press("-")
    wait_for_span(page, f"span === {HOUR} && from < {start}")
    expect(charts).to_be_focused()
    page.keyboard.press("Home")
    wait_for_span(page, f"span === {HOUR}")
    expect(page).to_have_url(dashboard.at("/machines/render-05?range=1h"))


def test_the_buttons_do_the_same(page: Page, dashboard: Dashboard, charts: Locator) -> None:
    def press(name: str) -> None:
        page.get_by_role("button", name=name, exact=True).click()

    press("closer")
    wait_for_span(page, f"span === {HOUR / 2}")
    press("wider")
    wait_for_span(page, f"span === {HOUR}")
    ((_, end), *_) = shown(page)
    press("earlier")
    wait_for_span(page, f"to === {end - HOUR / 4}")
    press("later")
    wait_for_span(page, f"to === {end}")
    press("now")
    expect(page.get_by_role("link", name="1 h", exact=True)).to_have_attribute(
        "aria-current", "true"
    )


def test_a_live_span_follows_the_clock_and_a_fixed_one_stays(
    page: Page, dashboard: Dashboard, charts: Locator
) -> None:
    ((_, end), *_) = shown(page)
    dashboard.studio.now.at += 60
    look_again(page)
    wait_for_span(page, f"to >= {end + 60_000}")

    over = f"from={NOW - 7200:.0f}&to={NOW - 3600:.0f}"
    page.goto(dashboard.at(f"/machines/render-05?{over}"))
    wait_for_span(page, f"to === {(NOW - 3600) * 1000}")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with page.expect_response(lambda answer: "/now?" in answer.url):
        look_again(page)
    assert not [url for url in asked if "/charts?" in url]


def test_a_chart_that_has_nothing_new_is_not_drawn_again(
    page: Page, dashboard: Dashboard, charts: Locator
) -> None:
    page.evaluate(
        "() => { window.drawn = 0; const react = Plotly.react;"
        " Plotly.react = (...all) => { window.drawn++; return react(...all) } }"
    )
    with page.expect_response(lambda answer: "/charts?" in answer.url) as answer:
        look_again(page)
    assert answer.value.status == 304
    assert page.evaluate("window.drawn") == 0


def test_what_a_chart_shows_is_said_and_stands_in_a_table(page: Page, charts: Locator) -> None:
    gpu = charts.locator("figure[data-gpu='1']")
    expect(gpu.locator(".account")).to_contain_text("GPU 1: 9.6 GiB available at the lowest")
    expect(charts.locator("#happened .account")).to_have_text("1 job done, 1 out of memory.")
    gpu.get_by_text("The same in figures").click()
    rows = gpu.get_by_role("table").get_by_role("row")
    expect(rows).to_have_count(13)
    expect(rows.nth(1)).to_contain_text("GiB")


def test_a_span_that_cannot_be_is_said_on_the_page(page: Page, dashboard: Dashboard) -> None:
    page.goto(dashboard.at("/machines/render-05?from=9&to=1"))
    expect(page.get_by_role("alert").first).to_contain_text("to must be at least 60 s after from")
    expect(page.locator(".ranges [aria-current]")).to_have_text("1 h")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_charts_fit_their_page(
    page: Page, charts: Locator, scheme: Literal["light", "dark"], width: int
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    expect(charts.locator(".legend i.swatch").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for plot in page.locator(".plot").all():
        box = plot.bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def test_another_range_is_shown_without_a_reload(page: Page, dashboard: Dashboard) -> None:
    page.goto(dashboard.at("/machines/render-03"))
    page.evaluate("window.kept = true")
    link = page.get_by_role("link", name="24 h", exact=True)
    link.focus()
    with page.expect_response(lambda answer: "range=24h" in answer.url):
        page.keyboard.press("Enter")

    expect(link).to_have_attribute("aria-current", "true")
    expect(page).to_have_url(dashboard.at("/machines/render-03?range=24h"))
    assert page.evaluate("window.kept") is True
