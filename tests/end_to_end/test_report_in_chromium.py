"""The weekly report and the jobs' filter in a real browser: seen by axe-core, printed, by keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.dashboard.doubles import Studio
from tests.dashboard.kept_week import Past, week_47
from tests.dashboard.making import kept
from tests.end_to_end.served_studio import Dashboard
from tierwatch_dashboard.app import Services
from tierwatch_dashboard.database import open_database
from tierwatch_dashboard.history.jobs import FinishedJob, JobStore

pytestmark = pytest.mark.slow

WEEK = "/report?week=2026-W47"


class Reporting(Studio):
    """A studio with a week behind it."""

    kept: Past

    def services(self) -> Services:
        return replace(super().services(), reports=self.kept.reports)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    file: Path = tmp_path_factory.mktemp("week") / "tierwatch.db"
    engine = open_database(f"sqlite:///{file.as_posix()}")
    store = JobStore(engine)
    models = ("sdxl_base", "flux1-dev", "sdxl_refiner")
    jobs = [kept(number, model=model).job for number, model in enumerate(models)]
    store.append([FinishedJob(machine="render-01", job=job) for job in jobs])
    studio = Reporting(jobs=store)
    studio.kept = Past(engine)
    week_47(studio.kept)
    dashboard = Dashboard(studio)
    yield dashboard
    dashboard.stop()
    engine.dispose()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_filled_report_is_sound_for_everyone(
    browser: Browser, served: Dashboard, width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(served.at(WEEK))
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.close()


def test_on_paper_it_is_the_report_alone_with_patterns_and_no_tier_torn(
    page: Page, served: Dashboard
) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(served.at(WEEK))
    page.emulate_media(media="print", color_scheme="dark")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("navigation")).to_have_count(0)
    expect(page.locator("header.top")).to_be_hidden()
    tier = page.locator(".tier-report").first
    assert tier.evaluate("element => getComputedStyle(element).breakInside") == "avoid"
    fills = (
        page.locator(".hours")
        .first.locator("rect")
        .evaluate_all("all => all.map(one => getComputedStyle(one).fill)")
    )
    assert len(set(fills)) == len(fills) == 4
    assert sum("url(" in fill for fill in fills) == 1
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    pages = page.pdf(format="A4", prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", pages)) in (1, 2)


def test_jobs_are_filtered_with_keys_alone(page: Page, served: Dashboard) -> None:
    page.goto(served.at("/jobs"))
    expect(page.locator("tr[id^=j]")).to_have_count(6)
    model = page.get_by_label("Model")
    while not model.evaluate("element => element === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.type("SDXL")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"model=SDXL"))
    expect(page.locator("tr[id^=j]")).to_have_count(2)
    summary = page.locator("summary", has_text="More filters")
    while not summary.evaluate("element => element === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Words of the error")).to_be_visible()
