"""The pages of alerts in a real browser: by keyboard, in both themes, wide and narrow, and live."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from werkzeug.serving import make_server

from tests.dashboard.doubles import Alerts, Studio
from tests.dashboard.firing import at_risk, below, down, hold, stalled
from tests.dashboard.studio import NOW
from tests.end_to_end.browser import PATIENCE
from tierwatch_dashboard.alerts.matchers import parse
from tierwatch_dashboard.alerts.store import AlertStore
from tierwatch_dashboard.app import create_app
from tierwatch_dashboard.database import open_database

pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AlertStore]:
    engine = open_database(f"sqlite:///{(tmp_path / 'tierwatch.db').as_posix()}")
    yield AlertStore(engine, lambda: NOW)
    engine.dispose()


@pytest.fixture
def address(store: AlertStore) -> Iterator[str]:
    """Where the dashboard is; four alerts fire, one is about to, one is silenced."""
    alerts = (
        below(),
        down(),
        stalled(),
        at_risk(),
        below("render-05", state="pending", fired_at=None),
        below("demo-02"),
    )
    hold(store, *alerts)
    store.add_silence(
        parse('machine="demo-02"'),
        starts_at=NOW - 9,
        ends_at=NOW + 3600,
        created_by="Ren",
        comment="drivers are being changed",
    )
    store.add_window("render-06", starts_at=NOW - 9, ends_at=NOW + 6000, weekly=True)
    app = create_app(Studio(alerts=Alerts(store)).services())
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def opened(browser: Browser, errors: list[str], *, script: bool = True) -> Page:
    context = browser.new_context(
        timezone_id="Asia/Tokyo", locale="en-GB", java_script_enabled=script
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page.on("console", lambda told: errors.append(told.text) if told.type != "log" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return page


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A page that fails the test on any error that the browser reports; ends before the server."""
    errors: list[str] = []
    page = opened(browser, errors)
    page.clock.set_fixed_time(NOW)
    yield page
    page.context.close()
    assert [error for error in errors if "responded with a status of 400" not in error] == []


def test_the_count_follows_on_every_page_and_in_its_title(
    page: Page, address: str, store: AlertStore
) -> None:
    for path, title in [
        ("/", "Fleet · Tierwatch"),
        ("/machines/render-03", "render-03 · Tierwatch"),
        ("/alerts/silences", "Silences · Tierwatch"),
    ]:
        hold(store, down(), below())
        page.goto(address + path)
        expect(page).to_have_title(f"(2) {title}")
        page.evaluate("window.kept = true")

        hold(store, down(), below(), stalled())
        expect(page).to_have_title(f"(3) {title}")
        expect(page.locator("#badge")).to_have_text("3")

        hold(store)
        expect(page).to_have_title(title)
        expect(page.locator("#badge")).to_be_hidden()
        assert page.evaluate("window.kept") is True


def test_what_is_being_written_stays_while_the_page_changes(
    page: Page, address: str, store: AlertStore
) -> None:
    page.goto(f"{address}/alerts")
    row = page.locator(f"#a-{below().fingerprint}")
    row.get_by_text("Acknowledge").click()
    note = row.get_by_label("Note")
    note.fill("ending the ga")

    worse = below(summary="render-03 cannot serve mass: 6.1 GiB are missing", recurrences=1)
    hold(store, worse, stalled())

    expect(row).to_contain_text("6.1 GiB are missing")
    expect(page.locator(f"#a-{down().fingerprint}")).to_have_count(0)
    expect(note).to_be_focused()
    expect(note).to_have_value("ending the ga")
    note.press("Enter")
    expect(row).to_contain_text("“ending the ga”")


def test_nothing_moves_while_nothing_changes(page: Page, address: str) -> None:
    page.goto(f"{address}/alerts")
    page.evaluate(
        "() => { window.changes = []; new MutationObserver(all => window.changes.push("
        "...all.map(m => `${m.type} ${m.attributeName} ${m.target.id} ${m.target.nodeName}`)))"
        ".observe(document.getElementById('now'),"
        " {subtree: true, childList: true, attributes: true, characterData: true}) }"
    )
    for _ in range(2):
        with page.expect_response(re.compile("/alerts/now")) as answer:
            pass
        assert answer.value.status == 204
    assert page.evaluate("window.changes") == []


def test_an_end_is_meant_in_the_viewer_s_zone(page: Page, address: str, store: AlertStore) -> None:
    page.goto(f"{address}/alerts")
    row = page.locator(f"#a-{stalled().fingerprint}")
    row.get_by_text("Silence: GenerationJobStalledOnVram").click()
    row.get_by_label("until tomorrow, 08:00").check()
    row.get_by_role("button", name="Silence this alert").click()
    expect(row).to_contain_text("Silenced until 26 Nov, 08:00")

    row = page.locator(f"#a-{at_risk().fingerprint}")
    row.get_by_text("Silence: MachineAtRisk").click()
    row.get_by_label("until a time of your choice").check()
    row.get_by_label("Ends").fill("2026-11-25T12:30")
    row.get_by_role("button", name="Silence this alert").click()
    expect(row).to_contain_text("Silenced until 12:30")
    ends = sorted(silence.ends_at for silence in store.silences())
    assert ends[1:] == [1_795_577_400.0, 1_795_647_600.0]


def test_without_a_script_an_alert_is_silenced_in_utc(
    browser: Browser, address: str, store: AlertStore
) -> None:
    page = opened(browser, [], script=False)
    page.goto(f"{address}/alerts")
    row = page.locator(f"#a-{at_risk().fingerprint}")
    row.get_by_text("Silence: MachineAtRisk").click()
    row.get_by_label("until tomorrow, 08:00 UTC").check()
    row.get_by_role("button", name="Silence this alert").click()
    expect(row).to_contain_text("Silenced until 2026-11-25 08:00 UTC")
    page.context.close()


def test_a_silence_is_made_and_ended_by_matchers(page: Page, address: str) -> None:
    page.goto(f"{address}/alerts/silences")
    page.get_by_text("Silence by labels").click()
    form = page.locator("details[open]")
    form.get_by_label("What, by its labels").fill('machin="render-03"')
    form.get_by_label("Ends").fill("2026-11-26T12:30")
    form.get_by_role("button", name="Silence").click()
    expect(page.get_by_role("alert")).to_contain_text("Did you mean machine?")

    form.get_by_label("What, by its labels").fill('machine="render-03"')
    form.get_by_role("button", name="Silence").click()
    expect(page.locator("h1")).to_have_text("2 silences hold.")
    expect(page).to_have_title("(3) Silences · Tierwatch")
    page.get_by_role("button", name=re.compile("End it.*render-03")).click()
    expect(page.locator("h1")).to_have_text("1 silence holds.")
