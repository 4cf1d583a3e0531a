"""What the pages of a big fleet cost: the server's time, bytes on the wire, the browser's time.

    python -m tests.bench.pages [--machines 1000] [--hours 24] [--viewers 200]

A real dashboard asks agents that are played on real sockets; each figure changes at every poll. Its
database holds the past of the whole fleet. The server's time is measured from outside, from the
request to the last byte of the answer over the loopback, while it goes on asking and recording; and
beside it the processor time of the thread that answered, which says the same on a busy machine.
Bytes are as compressed as a browser asks for them. A page is interactive once it handles a key
while htmx is live, counted from the start of navigation with an empty cache.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from playwright.sync_api import sync_playwright

from tests.bench.big_fleet.browser import Asked, asked_for, seconds_to_interactive
from tests.bench.big_fleet.machines import TIERS, name, tags
from tests.bench.big_fleet.past import OPENED, bring_up_to_date
from tests.bench.big_fleet.played import PlayedFleet
from tests.bench.big_fleet.timed import PRELUDE
from tests.bench.big_fleet.viewers import Seen, many_viewers, one_after_another, one_viewer
from tests.end_to_end.browser import launch
from tests.end_to_end.running_dashboard import RunningDashboard, wait_until

FLEET, MACHINE = "", f"machines/{OPENED}"
ROUNDS = 20
PAUSE_SECONDS = 0.3
QUIET_SECONDS = 10.0
CALM_PERCENT = 35.0
LONGEST_START_SECONDS = 300.0


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=1000)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30, help="how long the viewers look on")
    asked = parser.parse_args()
    print(f"{asked.machines} machines × 2 GPUs, {asked.hours:g} h at 5 s; preparing the past …")
    database, words = bring_up_to_date(asked.machines, asked.hours)
    print(words, flush=True)
    with tempfile.TemporaryDirectory() as folder, PlayedFleet(asked.machines) as fleet:
        (Path(folder) / "tierwatch.toml").write_text(_settings(database, fleet.urls))
        with RunningDashboard(Path(folder), prelude=PRELUDE) as dashboard:
            wait_until(dashboard.is_ready)
            _settle(psutil.Process(dashboard.process.pid))
            _measure(dashboard, asked.viewers, asked.seconds)
            dashboard.end()


def _settle(process: psutil.Process) -> None:
    """Waits until a dashboard does nothing but its daily work: a start reads much of the past."""
    began = time.monotonic()
    calm = 0
    while calm < 2 and time.monotonic() - began < LONGEST_START_SECONDS:
        calm = calm + 1 if process.cpu_percent(5.0) < CALM_PERCENT else 0
    print(f"its start took it {time.monotonic() - began:.0f} s", flush=True)


def _measure(dashboard: RunningDashboard, viewers: int, seconds: float) -> None:
    url, process = dashboard.url, psutil.Process(dashboard.process.pid)
    print(
        f"{psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f}: take it on a calm machine"
    )
    print(f"\n{'':44}{'median':>10}{'p95':>10}{'goal':>10}")
    with sync_playwright() as playwright:
        browser = launch(playwright)
        asked = {
            "fleet": asked_for(browser, url, FLEET),
            "24 h": asked_for(browser, url, f"{MACHINE}?range=24h"),
            "90 days": asked_for(browser, url, f"{MACHINE}?range=90d"),
        }
        for what, page in (("fleet page", FLEET), ("machine page", MACHINE)):
            times = [seconds_to_interactive(browser, url + page) for _ in range(5)]
            _say(f"{what}: interactive in", times, 1.0, "s")
        browser.close()
    _page("fleet page", url, asked["fleet"], 0.060, 80)
    live = asked["fleet"].live
    if live is not None:
        update = asyncio.run(one_viewer(url, FLEET, live, ROUNDS))
        _say("one live update of the fleet: server time", update.seconds, 0.010, "s")
        _say("    of it processor time", update.cpu_seconds, 0.010, "s")
        _say("one live update of the fleet: bytes", _kilobytes(update), 10, "kB")
    for span in ("24 h", "90 days"):
        _page(f"machine page over {span}", url, asked[span], 0.080, None)
    before = sum(process.cpu_times()[:2])
    time.sleep(QUIET_SECONDS)
    idle = (sum(process.cpu_times()[:2]) - before) / QUIET_SECONDS
    print(f"{'nobody looks: CPU of the dashboard':44}{100 * idle:8.1f} %")
    if live is not None:
        before = sum(process.cpu_times()[:2])
        many = asyncio.run(many_viewers(url, FLEET, live, viewers, seconds))
        used = sum(process.cpu_times()[:2]) - before
        _say(f"{viewers} viewers: a live update, p50 and p95", many.seconds, 0.250, "s", of=1)
        print(
            f"{f'{viewers} viewers: p99':44}{statistics.quantiles(many.seconds, n=100)[98]:8.3f} s"
        )
        print(
            f"{f'{viewers} viewers, {seconds:g} s: CPU of the dashboard':44}{used:8.1f} s"
            f"   {len(many.seconds)} updates, {many.changed} of them with changes, "
            f"{many.failed} failed"
        )


def _page(what: str, url: str, asked: Asked, goal: float, goal_kb: float | None) -> None:
    """A page and all that a browser asks for with it: the sum of the server's times."""
    found = asyncio.run(one_after_another(url, asked.first, ROUNDS, PAUSE_SECONDS))
    sums = [sum(times) for times in zip(*(seen.seconds for seen in found), strict=True)]
    sizes = [sum(each) for each in zip(*(_kilobytes(seen) for seen in found), strict=True)]
    used = [sum(times) for times in zip(*(seen.cpu_seconds for seen in found), strict=True)]
    _say(f"{what}: server time", sums, goal, "s")
    _say("    of it processor time", used, goal, "s")
    if len(found) > 1:
        for address, seen in zip(asked.first, found, strict=True):
            short = address.partition("?")[0].rpartition("/")[2]
            _say(f"        {short}", seen.cpu_seconds, None, "s")
    _say(f"{what}: bytes", sizes, goal_kb, "kB")


def _say(what: str, figures: Sequence[float], goal: float | None, unit: str, of: int = 0) -> None:
    """A row; ``of`` 0: the median is held to the goal, 1: the p95."""
    p95 = statistics.quantiles(figures, n=20)[18] if len(figures) > 1 else figures[0]
    both = (statistics.median(figures), p95)
    places = 3 if unit == "s" else 1
    row = f"{what:44}" + "".join(f"{figure:8.{places}f} {unit}"[:11].rjust(10) for figure in both)
    if goal is not None:
        row += f"{goal:7g} {unit}  {'reached' if both[of] <= goal else 'not reached'}"
    print(row, flush=True)


def _kilobytes(seen: Seen) -> list[float]:
    return [size / 1000 for size in seen.sizes]


def _settings(database: Path, urls: list[str]) -> str:
    machines = (
        f'[[machine]]\nid = "{name(number)}"\nurl = "{url}"\n'
        f'tier = "{TIERS[number % len(TIERS)]}"\ntags = {list(tags(number))}\n'
        for number, url in enumerate(urls)
    )
    return f"[dashboard]\ndatabase = '{database}'\n\n" + "\n".join(machines)


if __name__ == "__main__":
    main()
