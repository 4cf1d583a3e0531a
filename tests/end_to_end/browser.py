"""The browser of the tests: the system's Chromium, with nothing of its own to do."""

from __future__ import annotations

from playwright.sync_api import Browser, Playwright

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 15_000
"""Milliseconds that a change may take to be seen on a busy machine."""


def launch(playwright: Playwright) -> Browser:
    """Starts it."""
    return playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
