"""Every page that there is, in a browser: wide and narrow, light and dark, in each language."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request

from tests.dashboard.doubles import Fleet, Studio
from tests.dashboard.making import last_jobs, stalled_machine
from tests.dashboard.studio import machines
from tests.dashboard.test_language import Wrapped
from tests.end_to_end.browser import PATIENCE
from tests.end_to_end.served_studio import Dashboard
from tests.end_to_end.whole_studio import WholeStudio
from tierwatch_agent.tiers import DEFAULT_TIERS
from tierwatch_dashboard.alerts.rules import RULES
from tierwatch_dashboard.servers import TITLES
from tierwatch_dashboard.web.language import speak_from

pytestmark = pytest.mark.slow

VIEWS = (
    "/?tier=mass&state=below",
    "/?q=nothing+that+there+is",
    "/?group=room",
    "/jobs?outcome=oom",
    "/machines/render-01?range=24h",
    "/alerts/history?machine=nobody",
    "/alerts/history?severity=bad",
    "/envelope?model=sdxl_base&size=1024x1024",
    "/envelope?model=sdxl_base&size=1216x832&batch=4",
    "/envelope?model=sdxl_base&size=big",
    "/nowhere",
)
"""Addresses beside those that the application names: filtered, empty, and wrong ones."""

WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
AXE = Axe().axe_script
AUDITED = {"en": ((1280, "light"), (390, "dark")), "ja": ((390, "light"),)}
"""The looks in which axe-core sees a page, by language: each width, and each theme's colours."""

SAID_IN = ("aria-label", "placeholder", "title", "alt", "data-said")
"""Attributes whose words a person sees or hears."""
ENGLISH = re.compile("[A-Za-z]{2,} [a-z]{2,}")
TYPED = ("code", "pre", "kbd")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeStudio]:
    with WholeStudio(tmp_path_factory.mktemp("studio")) as studio:
        yield studio


@pytest.mark.parametrize(("language", "locale"), [("en", "en-GB"), ("ja", "ja-JP")])
def test_every_page_is_sound_in_every_look(
    browser: Browser, studio: WholeStudio, language: str, locale: str
) -> None:
    context = browser.new_context(locale=locale, timezone_id="Asia/Tokyo")
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    faults: list[str] = []
    troubles: list[str] = []
    page.on("console", lambda told: troubles.append(told.text) if told.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("requestfailed", lambda request: troubles.extend(broken(request)))

    for path in (*studio.addresses(), *VIEWS):
        answer = page.goto(studio.url + path)
        assert answer
        if answer.status >= (400 if path not in VIEWS else 500):
            faults.append(f"{path}: {answer.status}")
        wait_until_drawn(page)
        expected = "Failed to load resource" if answer.status >= 400 else "\n"
        faults += [f"{path}: {told}" for told in troubles if not told.startswith(expected)]
        troubles.clear()
        if page.evaluate("document.documentElement.lang") != language:
            faults.append(f"{path}: it does not say its language")
        faults += [f"{path}: {fault}" for fault in looked_at(page, AUDITED[language])]
        if language == "ja":
            faults += [f"{path}: English is left: {said}" for said in english_in(page)]
    page.evaluate("localStorage.setItem('layout', 'table')")
    page.goto(studio.url)
    faults += [f"/ as a table: {fault}" for fault in looked_at(page, AUDITED[language])]
    context.close()

    assert not faults, "\n".join(faults)


def test_a_fleet_without_machines_is_sound_too(browser: Browser) -> None:
    dashboard = Dashboard(Studio(fleet=Fleet(())))
    page = browser.new_page()
    page.goto(dashboard.at("/"))
    faults = list(looked_at(page, AUDITED["en"]))
    page.close()
    dashboard.stop()

    assert not faults, "\n".join(faults)


def test_no_word_goes_past_the_catalogue(tmp_path: Path) -> None:
    with WholeStudio(tmp_path) as studio:
        speak_from(studio.app, lambda code: Wrapped())
        client = studio.app.test_client()
        left = [
            f"{path}: {said}"
            for path in (*studio.addresses(), *VIEWS)
            for said in unwrapped(client.get(path, headers={"Accept-Language": "ja"}).text)
        ]

    assert not left, "\n".join(left)


def wait_until_drawn(page: Page) -> None:
    """Until each chart that has something to show shows it."""
    page.wait_for_function(
        "() => [...document.querySelectorAll('.plot')].every(e => e.hidden || e.firstElementChild)"
    )


def broken(request: Request) -> Iterator[str]:
    """A request that failed; one that the next page cut short did not."""
    if request.failure != "net::ERR_ABORTED":
        yield f"{request.url}: {request.failure}"


def looked_at(page: Page, audited: Container[tuple[int, str]]) -> Iterator[str]:
    """What is wrong with a page in each look, with everything on it that can be open."""
    page.evaluate(AXE)
    page.evaluate("document.querySelectorAll('main details').forEach(each => each.open = true)")
    ids: list[str] = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    yield from (f"two have the id {each}" for each in set(ids) if ids.count(each) > 1)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            look = f"{width} px, {scheme}"
            found = page.evaluate("document.documentElement.scrollWidth")
            if found > width:
                yield f"{look}: it is {found} px wide"
            if (width, scheme) in audited:
                yield from (f"{look}: {fault}" for fault in inaccessible(page))


def inaccessible(page: Page) -> Iterator[str]:
    """What axe-core finds."""
    for violation in page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]:
        nodes = [node["html"][:160] for node in violation["nodes"]]
        yield f"{violation['id']}: {violation['help']}: {nodes[:3]}"


def english_in(page: Page) -> list[str]:
    """What on a page is said in English, by two words of it in a row."""
    said: list[str] = page.evaluate(
        "([attributes, typed]) => { const all = [];"
        " const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);"
        " while (walk.nextNode())"
        "  if (!walk.currentNode.parentElement.closest(typed)) all.push(walk.currentNode.data);"
        " for (const name of attributes) for (const e of document.querySelectorAll(`[${name}]`))"
        "  all.push(e.getAttribute(name));"
        " return all.map(each => each.trim()).filter(Boolean) }",
        [list(SAID_IN), ",".join(TYPED)],
    )
    return [text for text in said if ENGLISH.search(NAMES.sub("", text))]


class _Words(HTMLParser):
    """Everything that a document says to people, but what stands there to be typed."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self._typed = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._typed += tag in TYPED
        if tag != "time":
            self.said += [value for name, value in attrs if value and name in SAID_IN]

    def handle_endtag(self, tag: str) -> None:
        self._typed -= tag in TYPED

    def handle_data(self, data: str) -> None:
        if not self._typed:
            self.said.append(data)


def unwrapped(text: str) -> Iterator[str]:
    """What of a page no catalogue was asked for, without the names of this studio."""
    words = _Words()
    words.feed(text)
    # A sentence may go on over an element's end.
    said = "\n".join(words.said)
    while (shorter := re.sub("⟦[^⟦⟧]*⟧", "", said)) != said:
        said = shorter
    for line in said.splitlines():
        if re.search("[A-Za-z]{2}", NAMES.sub("", line)):
            yield " ".join(line.split())


def _names() -> Iterator[str]:
    """What is called the same in every language."""
    yield from ("Tierwatch", "English", "GiB", "MHz", "UTC", "MIG 3g.20gb", "pid", "linux", "Ren")
    yield from ("alertname", "machine", "gpu", "server", "tier", "nobody", "/api/v1")
    yield from RULES
    yield from TITLES.values()
    yield from (tier.name for tier in DEFAULT_TIERS)
    for view in (*machines(), stalled_machine()):
        yield from (view.machine.id, *view.machine.tags)
        if view.snapshot is None:
            continue
        yield from (source.name for source in view.snapshot.sources)
        yield from (source.reason or "" for source in view.snapshot.sources)
        for gpu in view.snapshot.gpus:
            yield from (gpu.name, gpu.detail or "", (gpu.attribution and gpu.attribution.why) or "")
            yield from (process.name for process in gpu.processes or ())
    yield from (job.job.model for job in last_jobs() if job.job.model)
    yield from ("comfyui-8188", "a1111-7860", "127.0.0.1", "its process has ended")


NAMES = re.compile(
    "|".join(map(re.escape, sorted(set(_names()) - {""}, key=len, reverse=True))), re.IGNORECASE
)
