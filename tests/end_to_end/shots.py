"""Screenshots of the demo's pages for README: ``make shots``."""

from __future__ import annotations

import signal
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.end_to_end.browser import launch
from tests.end_to_end.test_demo import Demo
from tests.processes import eventually

PICTURES = Path(__file__).parent.parent.parent / "docs"
PAGES = (("fleet", "/", 1000), ("machine", "/machines/render-07?range=15min", 1420))
"""Name, address, height in pixels."""
STORY_SECONDS = 130
"""Until the games have begun and a machine has died, so that there is something to see."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        demo = Demo(Path(folder))
        try:
            eventually(demo.verdicts, bool, "the demo's first answer")
            time.sleep(STORY_SECONDS)
            with sync_playwright() as playwright:
                browser = launch(playwright)
                page = browser.new_page(color_scheme="light")
                for name, path, height in PAGES:
                    page.set_viewport_size({"width": 1280, "height": height})
                    page.goto(f"http://{demo.address}{path}")
                    page.wait_for_timeout(2000)
                    page.screenshot(path=PICTURES / f"{name}.png")
                browser.close()
        finally:
            demo.process.send_signal(signal.SIGINT)
            demo.process.wait(timeout=30)


if __name__ == "__main__":
    main()
