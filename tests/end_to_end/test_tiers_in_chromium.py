"""The tiers page and the form of assignment in a real browser: by keyboard alone, for everybody."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from werkzeug.serving import make_server

from tests.dashboard.editing import EditedStudio
from tierwatch_dashboard.inventory_change import Assign

pytestmark = pytest.mark.slow

HAS_FOCUS = "text => document.activeElement.textContent.trim().startsWith(text)"

OPEN_ALL = """() => document.querySelectorAll("main details").forEach((each) => {
  each.removeAttribute("name");
  each.open = true;
})"""


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[EditedStudio]:
    studio = EditedStudio(tmp_path)
    yield studio
    studio.close()


@pytest.fixture
def address(studio: EditedStudio) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, studio.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def _tab_to(page: Page, text: str) -> None:
    """Presses Tab until what has the focus begins with this text."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate(HAS_FOCUS, text):
            return
    raise AssertionError(f"Tab never comes to {text}")


def test_a_machine_is_reassigned_by_the_keyboard_alone(
    page: Page, studio: EditedStudio, address: str
) -> None:
    page.goto(f"{address}/machines/render-03")
    _tab_to(page, "Assign to another tier")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    # From mass by way of production.
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.type("Yuki")
    _tab_to(page, "Assign")
    page.keyboard.press("Enter")
    expect(page.locator("#assignment")).to_contain_text("Yuki: assigned to light; it was mass")
    assert studio.machine("render-03").tier == "light"


def test_a_tier_is_changed_by_the_keyboard_alone_after_it_showed_what_that_does(
    page: Page, studio: EditedStudio, address: str
) -> None:
    page.goto(f"{address}/tiers")
    _tab_to(page, "Change mass")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Change mass")).to_be_visible()
    page.get_by_label("Class of card, in GB").focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("24")
    page.keyboard.press("Enter")
    expect(page.locator(".effect")).to_contain_text("3 machines could never serve")
    assert studio.file.current.tiers[-1].vram_gb == 16
    _tab_to(page, "Save")
    page.keyboard.press("Enter")
    expect(page.locator("#head")).to_contain_text("A 24 GB card with 21.4 GiB available")
    assert studio.file.current.tiers[-1].vram_gb == 24


def test_the_tiers_page_follows_what_others_change(
    page: Page, studio: EditedStudio, address: str
) -> None:
    page.goto(f"{address}/tiers")
    row = page.get_by_role("row").filter(has_text="render-01")
    expect(row.locator(".box")).to_have_count(1)
    studio.file.change(Assign(machine="render-01", tier=None), "Ken")
    expect(row.locator(".box")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_and_use_it(
    page: Page, studio: EditedStudio, address: str, scheme: str
) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    studio.file.change(Assign(machine="render-03", tier="light"), "Yuki")
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        for path in ("/tiers", "/tiers?edit=mass", "/tiers/changes", "/machines/render-05"):
            page.goto(f"{address}{path}")
            page.evaluate(OPEN_ALL)
            found = Axe().run(page)
            assert found.violations_count == 0, found.generate_report()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
