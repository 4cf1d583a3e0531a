"""The fleet in a real browser: what changes by itself, and what stays where it was."""

from __future__ import annotations

import msgspec
import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.studio import at, turned_bad, view, worst_first
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
