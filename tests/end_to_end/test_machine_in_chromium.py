"""One machine's page in a real browser: it follows its machine."""

from __future__ import annotations

import msgspec
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
    expect(page.locator("#lost")).to_contain_text("The inventory no longer has this machine.")


def test_what_was_opened_stays_open_while_its_figures_change(
    page: Page, dashboard: Dashboard
) -> None:
    page.goto(dashboard.at("/machines/render-01"))
    more = page.get_by_text("More of this GPU")
    more.click()
    known = dashboard.known("render-01")
    assert known.snapshot
    card = msgspec.structs.replace(known.snapshot.gpus[0], fan_ratio=0.77)
    snapshot = msgspec.structs.replace(known.snapshot, gpus=(card,))
    dashboard.studio.fleet.change(msgspec.structs.replace(known, snapshot=snapshot))

    expect(page.get_by_text("77 %")).to_be_visible()


def test_eight_gpus_stand_beside_each_other(page: Page, dashboard: Dashboard) -> None:
    known = dashboard.known("render-01")
    assert known.snapshot
    card = known.snapshot.gpus[0]
    cards = [msgspec.structs.replace(card, index=str(n), uuid=f"GPU-{n}") for n in range(8)]
    snapshot = msgspec.structs.replace(known.snapshot, gpus=tuple(cards))
    dashboard.studio.fleet.change(msgspec.structs.replace(known, snapshot=snapshot))
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(dashboard.at("/machines/render-01"))

    first, second = (page.locator("section.card").nth(n).bounding_box() for n in (0, 1))
    assert first
    assert second
    assert first["y"] == second["y"]
    assert second["x"] > first["x"] + first["width"]
