"""One machine's page in a real browser: it follows its machine."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.studio import turned_bad
from tests.end_to_end.served_studio import Dashboard

pytestmark = pytest.mark.slow


def test_the_machine_page_follows_its_machine(page: Page, dashboard: Dashboard) -> None:
    page.goto(dashboard.at("/machines/render-01"))
    dashboard.studio.fleet.change(turned_bad(dashboard.known("render-01")))
    expect(page.locator(".verdict")).to_contain_text("a game holds 9.0 GiB")

    dashboard.studio.fleet.set([dashboard.known("render-03")])
    expect(page.get_by_role("status")).to_contain_text("The inventory no longer has this machine.")
