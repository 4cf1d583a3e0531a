"""Screenshots of the demo's pages: ``make shots``. README shows two; all are to be looked at."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from playwright.sync_api import Page, sync_playwright

from tests.end_to_end.browser import launch
from tests.end_to_end.test_demo import Demo
from tests.processes import eventually

ROOT = Path(__file__).parent.parent.parent
SHOWN = ROOT / "docs"
LOOKED_AT = ROOT / ".build" / "shots"
STORY_SECONDS = 100
"""Until a game has begun, a job stands still and a machine has died: there is something to see."""


class Shot(msgspec.Struct, frozen=True, kw_only=True):
    """One picture: what of, how wide, and where it is kept."""

    name: str
    path: str
    width: int = 1280
    height: int = 1000
    dark: bool = False
    language: str = "en-GB"
    folder: Path = LOOKED_AT


def shots() -> Iterator[Shot]:
    """All that are taken."""
    machine = "/machines/render-02"
    yield Shot(name="fleet", path="/", folder=SHOWN)
    yield Shot(name="machine", path=machine, height=1700, folder=SHOWN)
    yield Shot(name="fleet-390-dark", path="/", width=390, dark=True)
    yield Shot(name="machine-390-dark", path=machine, width=390, dark=True)
    yield Shot(name="fleet-ja", path="/", language="ja-JP")
    yield Shot(name="machine-ja", path=machine, language="ja-JP")
    for name in ("jobs", "alerts", "tiers", "report"):
        yield Shot(name=f"{name}", path=f"/{name}")


def take(page: Page, address: str, shot: Shot) -> None:
    """Takes one."""
    page.set_viewport_size({"width": shot.width, "height": shot.height})
    page.goto(f"http://{address}{shot.path}")
    page.wait_for_timeout(2000)
    shot.folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=shot.folder / f"{shot.name}.png")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        demo = Demo(Path(folder))
        try:
            eventually(demo.verdicts, bool, "the demo's first answer")
            time.sleep(STORY_SECONDS)
            with sync_playwright() as playwright:
                browser = launch(playwright)
                for shot in shots():
                    theme = "dark" if shot.dark else "light"
                    page = browser.new_page(color_scheme=theme, locale=shot.language)
                    take(page, demo.address, shot)
                    page.close()
                browser.close()
        finally:
            demo.process.send_signal(signal.SIGINT)
            demo.process.wait(timeout=30)


if __name__ == "__main__":
    main()
