"""The fleet in a real browser: what changes by itself, and what stays where it was."""

from __future__ import annotations

import msgspec
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.dashboard.studio import at, many, turned_bad, view, worst_first
from tests.end_to_end.served_studio import Dashboard

pytestmark = pytest.mark.slow

ONE_LINE = 32
"""Pixels; two lines of the pages' text are higher."""


def test_numbers_and_states_do_not_wrap(page: Page, dashboard: Dashboard) -> None:
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 4000})
        page.goto(dashboard.at("/"))
        for selector in (".num", ".machine .state", ".tier dd", ".figures b"):
            heights = page.locator(selector).evaluate_all(
                "all => all.map(e => { const words = document.createRange();"
                " words.selectNodeContents(e);"
                " return words.getBoundingClientRect().height })"
            )
            assert max(heights) < ONE_LINE, (width, selector, heights)


def test_a_change_appears_by_itself_and_nothing_else_moves(
    page: Page, dashboard: Dashboard
) -> None:
    page.set_viewport_size({"width": 1280, "height": 400})
    page.goto(dashboard.at("/"))
    page.evaluate(
        "() => { window.changed = new Set();"
        " new MutationObserver(all => all.forEach(m => { const row = (m.target.closest"
        " ? m.target : m.target.parentElement)?.closest('.machine');"
        " if (row) window.changed.add(row.id) }))"
        ".observe(document.getElementById('machines'),"
        " {subtree: true, childList: true, characterData: true, attributes: true}) }"
    )
    link = page.get_by_role("link", name="strix-halo-01")
    link.focus()
    page.evaluate("window.scrollTo(0, 500)")
    known = dashboard.known("render-01")
    assert known.snapshot
    card = msgspec.structs.replace(known.snapshot.gpus[0], temperature_celsius=83.0)
    snapshot = msgspec.structs.replace(known.snapshot, gpus=(card,))
    dashboard.studio.fleet.change(msgspec.structs.replace(known, snapshot=snapshot))

    expect(page.locator("#m-render-01")).to_contain_text("83 °C")

    assert page.evaluate("window.scrollY") == 500
    expect(link).to_be_focused()
    assert page.evaluate("[...window.changed]") == ["m-render-01"]


def test_a_machine_that_turns_bad_rises_and_keeps_the_focus(
    page: Page, dashboard: Dashboard
) -> None:
    page.goto(dashboard.at("/"))
    link = page.get_by_role("link", name="strix-halo-01")
    link.focus()

    dashboard.studio.fleet.change(turned_bad(dashboard.known("strix-halo-01")))

    expect(page.locator("#machines > li").nth(4)).to_have_id("m-strix-halo-01")
    expect(page.locator("#m-strix-halo-01")).to_contain_text("a game holds 9.0 GiB")
    expect(page.locator("h1")).to_contain_text("6 of 11 machines serve their tier")
    expect(link).to_be_focused()
    shown = page.locator("#machines > li").evaluate_all("all => all.map(e => e.id)")
    assert shown == [f"m-{v.machine.id}" for v in dashboard.studio.fleet.views()]


def test_machines_come_and_go_without_a_reload(page: Page, dashboard: Dashboard) -> None:
    page.goto(dashboard.at("/"))
    page.evaluate("window.kept = true")
    rest = [v for v in dashboard.studio.fleet.views() if v.machine.id != "render-03"]
    new = view(at("aaa-new", "draft"), "ok", "Serves draft", can="draft")

    dashboard.studio.fleet.set(worst_first([*rest, new]))

    expect(page.locator("#m-aaa-new")).to_be_visible()
    expect(page.locator("#m-render-03")).to_have_count(0)
    shown = page.locator("#machines > li").evaluate_all("all => all.map(e => e.id)")
    assert shown == [f"m-{v.machine.id}" for v in dashboard.studio.fleet.views()]
    assert page.evaluate("window.kept") is True


def test_a_bad_edit_of_the_inventory_appears_and_goes(page: Page, dashboard: Dashboard) -> None:
    page.goto(dashboard.at("/"))
    dashboard.studio.inventory_file.error = "tierwatch.toml: machines[1].tier: no tier “mas”"
    expect(page.get_by_role("alert")).to_contain_text("no tier “mas”")

    dashboard.studio.inventory_file.error = None
    expect(page.get_by_role("alert")).to_have_count(0)


def shown(page: Page) -> list[str]:
    """The machines that the page lists, in order."""
    ids = page.locator("#machines > .machine").evaluate_all("all => all.map(e => e.id)")
    return [id_.removeprefix("m-") for id_ in ids]


def test_cards_or_table_is_chosen_by_keyboard_and_holds_from_the_first_paint_on(
    page: Page, dashboard: Dashboard
) -> None:
    page.add_init_script(
        "new MutationObserver((_, observer) => { if (!document.body) return;"
        " window.first = document.documentElement.dataset.layout; observer.disconnect() })"
        ".observe(document, {subtree: true, childList: true})"
    )
    page.goto(dashboard.at("/"))
    assert page.evaluate("window.first") == "cards"
    table = page.get_by_role("button", name="Table")
    table.focus()
    page.keyboard.press("Enter")
    expect(table).to_have_attribute("aria-pressed", "true")
    row = page.locator("#m-render-03")
    box = row.bounding_box()
    assert box
    assert box["height"] < 2 * ONE_LINE
    assert box["width"] > 1000

    page.goto(dashboard.at("/"))

    assert page.evaluate("window.first") == "table"
    expect(page.get_by_role("button", name="Table")).to_have_attribute("aria-pressed", "true")


def test_a_view_is_found_by_keyboard_alone_and_its_address_can_be_shared(
    page: Page, dashboard: Dashboard
) -> None:
    page.goto(dashboard.at("/"))
    page.evaluate("window.kept = true")
    page.keyboard.press("/")
    page.keyboard.type("render")
    expect(page.locator(".count-of")).to_contain_text("6 of 13 machines")
    expect(page).to_have_url(dashboard.at("/?q=render"))
    expect(page.get_by_role("searchbox")).to_be_focused()

    below = page.get_by_role("link", name="below 3")
    below.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".count-of")).to_contain_text("3 of 13 machines")
    expect(page).to_have_url(dashboard.at("/?q=render&state=below"))
    expect(below).to_be_focused()
    order = page.get_by_label("Order")
    order.focus()
    page.keyboard.type("by name")
    page.keyboard.press("Enter")
    expect(page).to_have_url(dashboard.at("/?q=render&state=below&sort=name"))
    assert page.evaluate("window.kept") is True
    found = shown(page)
    assert found == ["render-03", "render-04", "render-05"]

    page.goto(page.url)
    assert shown(page) == found
    page.get_by_role("link", name="Clear").press("Enter")
    expect(page).to_have_url(dashboard.at("/?sort=name"))
    assert len(shown(page)) == 13


def test_a_view_stays_live(page: Page, dashboard: Dashboard) -> None:
    page.goto(dashboard.at("/?state=below"))
    dashboard.studio.fleet.change(turned_bad(dashboard.known("strix-halo-01")))
    expect(page.locator("#m-strix-halo-01")).to_be_visible()
    expect(page.locator(".count-of")).to_contain_text("4 of 13 machines")


def test_an_answer_to_an_earlier_view_does_not_disturb_the_next(
    page: Page, dashboard: Dashboard
) -> None:
    page.goto(dashboard.at("/"))
    late: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if late:
            route.continue_()
        else:
            late.append(route)

    page.route("**/fleet/changes?*", hold_the_first)
    dashboard.studio.fleet.change(turned_bad(dashboard.known("strix-halo-01")))
    page.wait_for_event("request", lambda request: "/fleet/changes" in request.url)
    page.keyboard.press("/")
    page.keyboard.type("demo")
    expect(page.locator("#machines > .machine")).to_have_count(1)

    with page.expect_response("**/fleet/changes?since=*&shown=60"):
        late[0].continue_()
    with page.expect_response("**/fleet/changes?*q=demo"):
        assert shown(page) == ["demo-02"]
    assert shown(page) == ["demo-02"]


def test_more_machines_come_as_one_scrolls_and_the_place_stays(
    page: Page, dashboard: Dashboard
) -> None:
    page.add_init_script("localStorage.setItem('layout', 'table')")
    dashboard.studio.fleet.set(many(150))
    page.set_viewport_size({"width": 1280, "height": 700})
    page.goto(dashboard.at("/"))
    expect(page.locator("#machines > .machine")).to_have_count(60)
    page.locator("#m-render-0059").scroll_into_view_if_needed()
    expect(page.locator("#machines > .machine")).to_have_count(120)
    assert shown(page) == [f"render-{number:04d}" for number in range(120)]
    expect(page.locator("#m-render-0059")).to_be_in_viewport()
    dashboard.studio.fleet.change(turned_bad(dashboard.known("render-0149")))
    expect(page.locator("#machines > li").first).to_have_id("m-render-0149")
    expect(page.locator("#m-render-0059")).to_be_in_viewport()


def test_what_is_open_stays_open(page: Page, dashboard: Dashboard) -> None:
    page.goto(dashboard.at("/"))
    row = page.locator("#m-render-03")
    row.get_by_text("Why, and what to do").press("Enter")
    reason = row.get_by_text("Ending EldenRing.exe (pid 4711) would let it serve mass.")
    expect(reason).to_be_visible()
    known = dashboard.known("render-03")
    assert known.snapshot
    card = msgspec.structs.replace(known.snapshot.gpus[0], temperature_celsius=83.0)
    snapshot = msgspec.structs.replace(known.snapshot, gpus=(card,))
    dashboard.studio.fleet.change(msgspec.structs.replace(known, snapshot=snapshot))
    expect(row).to_contain_text("83 °C")
    expect(reason).to_be_visible()


def test_the_filter_works_without_script(browser: Browser, dashboard: Dashboard) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(dashboard.at("/?state=below"))
    page.get_by_role("searchbox").fill("render")
    page.locator("select[name=tier]").select_option("mass")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".count-of")).to_contain_text("2 of 13 machines")
    expect(page.locator("#machines > .machine")).to_have_count(2)
    expect(page.get_by_role("button", name="Table")).to_be_hidden()
    context.close()
