"""The pages in a real browser, over a real socket: what a viewer sees, keeps and is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import msgspec
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright
from werkzeug.serving import BaseWSGIServer, make_server

from tests.dashboard.doubles import Studio
from tests.dashboard.studio import NOW, at, view, worst_first
from tests.end_to_end.browser import launch
from tierwatch_dashboard.app import create_app
from tierwatch_dashboard.fleet.state import MachineView

pytestmark = pytest.mark.slow

ONE_LINE = 32
"""Pixels; two lines of the pages' text are higher."""
PATIENCE = 15_000
"""Milliseconds that a change may take to be seen on a busy machine."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


class Dashboard:
    """A dashboard on a socket, with a studio in the test's hands."""

    def __init__(self) -> None:
        self.studio = Studio()
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None
        self._port = 0
        self.start()

    def start(self) -> None:
        server = make_server(
            "127.0.0.1", self._port, create_app(self.studio.services()), threaded=True
        )
        self._port = server.server_port
        self._thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        self._thread.start()
        self._server = server

    def stop(self) -> None:
        if self._server and self._thread:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    def at(self, path: str) -> str:
        return f"http://127.0.0.1:{self._port}{path}"

    def known(self, machine: str) -> MachineView:
        found = self.studio.fleet.view(machine)
        assert found
        return found


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    dashboard = Dashboard()
    yield dashboard
    dashboard.stop()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails the test on any error that the browser reports."""
    context = browser.new_context(timezone_id="Asia/Tokyo", locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    errors: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "trace"):
            errors.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    # Its server is stopped under it by a test, in the middle of an answer too.
    lost = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE")
    expected = (*lost, "Failed to fetch", "responded with a status of 404")
    assert [error for error in errors if not any(word in error for word in expected)] == []


def below(known: MachineView) -> MachineView:
    verdict = msgspec.structs.replace(
        known.verdict, state="below", headline="Cannot serve mass now: a game holds 9.0 GiB"
    )
    return msgspec.structs.replace(known, verdict=verdict)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/jobs", "/machines/render-03", "/machines/server-a100"])
def test_a_page_fits_its_window_in_either_theme(
    page: Page, dashboard: Dashboard, path: str, scheme: str, width: int
) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(dashboard.at(path))
    expect(page.locator("h1")).to_be_visible()

    assert page.evaluate("document.documentElement.scrollWidth") == width
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(20, 23, 26)" if scheme == "dark" else "rgb(252, 252, 251)")
    ids: list[str] = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


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

    dashboard.studio.fleet.change(below(dashboard.known("strix-halo-01")))

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


def test_a_page_that_lost_its_connection_says_so_and_recovers(
    page: Page, dashboard: Dashboard
) -> None:
    page.goto(dashboard.at("/"))
    notice = page.get_by_role("status")
    expect(notice).to_be_hidden()

    dashboard.stop()
    expect(notice).to_be_visible()
    expect(notice).to_contain_text("The connection to the dashboard is lost.")

    dashboard.studio.fleet.change(below(dashboard.known("render-01")))
    dashboard.start()
    expect(notice).to_be_hidden()
    expect(page.locator("#m-render-01")).to_contain_text("a game holds 9.0 GiB")


def test_a_bad_edit_of_the_inventory_appears_and_goes(page: Page, dashboard: Dashboard) -> None:
    page.goto(dashboard.at("/"))
    dashboard.studio.inventory_file.error = "tierwatch.toml: machines[1].tier: no tier “mas”"
    expect(page.get_by_role("alert")).to_contain_text("no tier “mas”")

    dashboard.studio.inventory_file.error = None
    expect(page.get_by_role("alert")).to_have_count(0)


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


def test_the_machine_page_follows_its_machine(page: Page, dashboard: Dashboard) -> None:
    page.goto(dashboard.at("/machines/render-01"))
    dashboard.studio.fleet.change(below(dashboard.known("render-01")))
    expect(page.locator(".verdict")).to_contain_text("a game holds 9.0 GiB")

    dashboard.studio.fleet.set([dashboard.known("render-03")])
    expect(page.get_by_role("status")).to_contain_text("The inventory no longer has this machine.")
