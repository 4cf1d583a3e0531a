"""A real browser before a dashboard: what it asks for, and when a page takes its first key."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from playwright.sync_api import Browser, Request

LONGEST_SECONDS = 30.0

_WATCH_KEYS = """
addEventListener("keydown", () => {
  if (window.htmx && document.readyState !== "loading") window.firstKey ??= performance.now();
}, { capture: true });
"""


@dataclass
class Asked:
    """What a browser asked for while it had a page open; addresses without the host."""

    page: str
    first: list[str] = field(default_factory=list[str])
    """Each answer that it needed to show the page, scripts and styles aside."""
    live: str | None = None
    """The address of its live update; None: it asked for none."""


def asked_for(browser: Browser, url: str, page: str) -> Asked:
    """Opens a page and looks on until it asked for its second live update."""
    found = Asked(page)
    lives: list[str] = []

    def note(request: Request) -> None:
        address = request.url.removeprefix(url)
        if address.startswith("static/"):
            return
        if request.headers.get("hx-request"):
            lives.append(address)
        elif address not in found.first:
            found.first.append(address)

    opened = browser.new_page()
    opened.on("request", note)
    opened.goto(url + page)
    until = time.monotonic() + LONGEST_SECONDS
    while len(lives) < 2 and time.monotonic() < until:
        opened.wait_for_timeout(100)
    opened.close()
    found.live = lives[-1] if lives else None
    return found


def seconds_to_interactive(browser: Browser, address: str) -> float:
    """From the start of navigation until a key is handled while htmx is live; an empty cache."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    try:
        page = context.new_page()
        page.add_init_script(_WATCH_KEYS)
        page.goto(address, wait_until="commit")
        until = time.monotonic() + LONGEST_SECONDS
        while time.monotonic() < until:
            page.keyboard.press("Shift")
            first = page.evaluate("window.firstKey ?? null")
            if first is not None:
                return float(first) / 1000
        raise AssertionError(f"{address} takes no key")
    finally:
        context.close()
