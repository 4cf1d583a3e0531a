"""What people do with the pages, by keys alone, and with the focus in sight all along."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.end_to_end.browser import PATIENCE
from tests.end_to_end.whole_studio import WholeStudio

pytestmark = pytest.mark.slow

MOST_TABS = 120
IN_SIGHT = """e => {
  const { outlineStyle, outlineWidth } = getComputedStyle(e);
  const box = e.getBoundingClientRect();
  return outlineStyle !== "none" && parseFloat(outlineWidth) > 0 && box.width * box.height > 0
    && box.bottom > 0 && box.top < innerHeight;
}"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeStudio]:
    with WholeStudio(tmp_path_factory.mktemp("studio")) as studio:
        yield studio


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield page
    context.close()


def walk_to(page: Page, wanted: Locator) -> None:
    """Presses Tab until it has the focus; each place on the way must be seen to have it."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        here = page.locator(":focus")
        assert here.count() == 1, "the focus is nowhere"
        place = here.evaluate("e => e.outerHTML.slice(0, 120)")
        assert here.evaluate(IN_SIGHT), f"the focus is not seen: {place}"
        if wanted.evaluate("e => e === document.activeElement"):
            return
    raise AssertionError(f"{wanted} is not reached")


def test_the_fleet_is_searched_and_filtered(page: Page, studio: WholeStudio) -> None:
    page.goto(studio.url)
    page.keyboard.press("/")
    page.keyboard.type("render-0")
    expect(page.locator("#m-spare-01")).to_have_count(0)
    expect(page.locator("#m-render-03")).to_be_visible()

    walk_to(page, page.locator("#filter select[name=tier]"))
    page.keyboard.type("production")

    expect(page.locator("#m-render-03")).to_have_count(0)
    expect(page.locator("#m-render-05")).to_be_visible()
    expect(page).to_have_url(re.compile(r"q=render-0.*tier=production"))


def test_a_machine_is_reassigned(page: Page, studio: WholeStudio) -> None:
    page.goto(f"{studio.url}/machines/laptop-ren")
    walk_to(page, page.get_by_text("Assign to another tier"))
    page.keyboard.press("Enter")
    walk_to(page, page.get_by_role("radio", checked=True))
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name=re.compile("draft"))).to_be_checked()
    walk_to(page, page.get_by_role("button", name="Assign", exact=True))
    page.keyboard.press("Enter")

    expect(page.locator("#assignment")).to_contain_text("Assigned to draft")


def test_an_alert_is_acknowledged(page: Page, studio: WholeStudio) -> None:
    page.goto(f"{studio.url}/alerts")
    deed = page.locator("summary", has_text="Acknowledge").first
    row = deed.locator("xpath=ancestor::li").get_attribute("id")
    walk_to(page, deed)
    page.keyboard.press("Enter")
    walk_to(page, page.locator("details[open]").get_by_label("Note"))
    page.keyboard.type("on my way")
    page.keyboard.press("Enter")

    expect(page.locator(f"#{row}")).to_contain_text("“on my way”")


def test_the_charts_are_zoomed_and_zoomed_out_again(page: Page, studio: WholeStudio) -> None:
    page.goto(f"{studio.url}/machines/render-03")
    expect(page.locator("figure[data-gpu='0'] .plot > *").first).to_be_attached()
    walk_to(page, page.locator("#charts"))
    page.keyboard.press("+")
    expect(page).to_have_url(re.compile("from="))
    page.keyboard.press("0")
    expect(page).not_to_have_url(re.compile("from="))


def test_language_and_theme_are_switched_where_one_is(page: Page, studio: WholeStudio) -> None:
    page.emulate_media(color_scheme="light")
    place = f"{studio.url}/alerts/history?machine=render-03"
    page.goto(place)
    walk_to(page, page.get_by_role("button", name="日本語"))
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    expect(page).to_have_url(place)

    walk_to(page, page.locator("#theme"))
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(20, 23, 26)"
