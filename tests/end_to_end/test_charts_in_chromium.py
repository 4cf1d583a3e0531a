"""A machine's past in a real browser: its charts, their zoom and their range."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.end_to_end.served_studio import Dashboard

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


def test_new_figures_leave_the_zoom_alone(page: Page, dashboard: Dashboard) -> None:
    page.goto(dashboard.at("/machines/render-03"))
    plot = "document.querySelector('.plot')"
    page.wait_for_function(f"() => {plot}._fullLayout && {plot}.data.length")
    pane = page.locator(".nsewdrag[data-subplot='xy']")
    pane.scroll_into_view_if_needed()
    box = pane.bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 200, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 500, middle, steps=5)
    page.mouse.up()
    shown = f"{plot}._fullLayout.xaxis.range"
    page.wait_for_function(f"() => Date.parse({shown}[1]) - Date.parse({shown}[0]) < 3e6")
    zoomed = page.evaluate(shown)
    before = page.evaluate(f"{plot}.data.at(-1).x.at(-1)")

    dashboard.studio.now.at += 60

    page.wait_for_function(f"() => {plot}.data.at(-1).x.at(-1) > {before}")
    assert page.evaluate(shown) == zoomed

    page.mouse.dblclick(box["x"] + 300, middle)
    page.wait_for_function(f"() => Date.parse({shown}[1]) - Date.parse({shown}[0]) > 3.5e6")


def test_another_range_is_shown_without_a_reload(page: Page, dashboard: Dashboard) -> None:
    page.goto(dashboard.at("/machines/render-03"))
    page.evaluate("window.kept = true")
    link = page.get_by_role("link", name="24 h")
    link.focus()
    with page.expect_response(lambda answer: "range=24h" in answer.url):
        page.keyboard.press("Enter")

    expect(link).to_have_attribute("aria-current", "true")
    expect(page).to_have_url(dashboard.at("/machines/render-03?range=24h"))
    assert page.evaluate("window.kept") is True
