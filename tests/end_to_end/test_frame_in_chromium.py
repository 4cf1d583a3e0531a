"""What every page shares, in a real browser: theme, keyboard, times, a lost connection."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.studio import NOW, turned_bad
from tests.end_to_end.served_studio import Dashboard

pytestmark = pytest.mark.slow


def test_a_page_that_lost_its_connection_says_so_and_recovers(
    page: Page, dashboard: Dashboard
) -> None:
    page.goto(dashboard.at("/"))
    notice = page.get_by_role("status")
    expect(notice).to_be_hidden()

    dashboard.stop()
    expect(notice).to_be_visible()
    expect(notice).to_contain_text("The connection to the dashboard is lost.")

    dashboard.studio.fleet.change(turned_bad(dashboard.known("render-01")))
    dashboard.start()
    expect(notice).to_be_hidden()
    expect(page.locator("#m-render-01")).to_contain_text("a game holds 9.0 GiB")


def test_the_theme_is_chosen_by_keyboard_and_remembered(page: Page, dashboard: Dashboard) -> None:
    page.emulate_media(color_scheme="light")
    page.goto(dashboard.at("/"))
    button = page.get_by_role("button", name="Theme: system")
    button.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Theme: dark")).to_be_focused()

    page.goto(dashboard.at("/machines/render-03"))

    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"


def test_the_first_tab_leads_past_the_header(page: Page, dashboard: Dashboard) -> None:
    page.goto(dashboard.at("/"))
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_times_are_said_in_the_viewer_s_zone(page: Page, dashboard: Dashboard) -> None:
    page.clock.set_fixed_time(NOW)
    page.goto(dashboard.at("/machines/render-07"))
    expect(page.locator(".stale")).to_contain_text("06:00")
    expect(page.locator(".facts").first).to_contain_text("19 min ago")
