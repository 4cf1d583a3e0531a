"""A big fleet out of VictoriaMetrics: what a round and each page cost, and how often it is asked.

    python -m tests.bench.prometheus_fleet [--machines 10000] [--every 15]

A real engine is fed what real agents would be scraped for, each machine anew every so often; a real
dashboard reads its fleet there. Some machines have a past of 24 h at 15 s. Times are measured from
outside while fleet and rounds go on, from the request to the last byte of the answer; a page's is
that of all that a browser asks for with it, one after another. Questions are counted by the engine.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import aiohttp
import psutil
from playwright.sync_api import sync_playwright
from prometheus_client.parser import text_string_to_metric_families

from tests.bench.big_fleet.browser import asked_for
from tests.bench.big_fleet.machines import TIERS, name, said, tags
from tests.bench.big_fleet.viewers import one_after_another
from tests.end_to_end.browser import launch
from tests.end_to_end.metric_engines import MetricEngine, PastSample, VictoriaMetrics
from tests.end_to_end.running_dashboard import RunningDashboard, wait_until
from tierwatch_agent.exposition import render

KINDS = 200
"""Machines that say something of their own; the others say the same under another name."""
VARIANTS = 3
"""What a machine says by turns, so that no two in a row find the same figures."""
OPENED = 12
"""Machines whose page is opened."""
PAST_SECONDS, PAST_EVERY = 86_400, 15
WARM_ROUNDS = 3
VIEWS = 40
PAUSE_SECONDS = 0.5
_MOMENT = 1_700_000_000.0
"""Stands for the moment in what is made beforehand."""


class Feed:
    """Gives the engine every machine anew each ``every`` seconds, as scrapes would."""

    def __init__(self, engine: MetricEngine, machines: int, every: float) -> None:
        self._engine, self._machines, self._every = engine, machines, every
        self._documents = [
            [render(said(kind, _MOMENT + 37.0 * turn)) for turn in range(VARIANTS)]
            for kind in range(min(KINDS, machines))
        ]
        self.series = sum(
            _at(self._documents[number % len(self._documents)][0]).count(b"\n") + 1
            for number in range(machines)
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._feed()), daemon=True)
        self.late_seconds = 0.0
        """The longest that one turn took beyond its time."""

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    async def _feed(self) -> None:
        connector = aiohttp.TCPConnector(limit=8)
        async with aiohttp.ClientSession(connector=connector) as session:
            turn = 0
            while not self._ended.is_set():
                began = time.monotonic()
                await asyncio.gather(*(self._lane(session, lane, turn, began) for lane in range(8)))
                turn += 1
                left = began + self._every - time.monotonic()
                self.late_seconds = max(self.late_seconds, -left)
                await asyncio.sleep(max(0.0, left))

    async def _lane(
        self, session: aiohttp.ClientSession, lane: int, turn: int, began: float
    ) -> None:
        for number in range(lane, self._machines, 8):
            if self._ended.is_set():
                return
            # Spread over the turn, as scrapes are.
            wait = began + self._every * number / self._machines - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            kind, variant = number % len(self._documents), (turn + number) % VARIANTS
            document = self._documents[kind][variant]
            moment = f"tierwatch_snapshot_timestamp_seconds {time.time():.3f}\n".encode()
            url = f"{self._engine.url}/api/v1/import/prometheus?extra_label=machine={name(number)}"
            async with session.post(url, data=_at(document) + moment) as answer:
                answer.raise_for_status()


def _at(document: bytes) -> bytes:
    """A scrape without its moment and its own name, which the target's label takes the place of."""
    lines = document.splitlines(keepends=True)
    return b"".join(
        line.replace(b'machine="render', b'exported_machine="render')
        for line in lines
        if not line.startswith((b"#", b"tierwatch_snapshot_timestamp_seconds"))
    )


def past(now: float) -> Iterator[PastSample]:
    """A day of the opened machines' GPUs."""
    families = {
        "tierwatch_gpu_memory_total_bytes": 24.0,
        "tierwatch_gpu_memory_used_bytes": 9.0,
        "tierwatch_gpu_memory_free_bytes": 14.5,
        "tierwatch_gpu_memory_available_bytes": 22.0,
        "tierwatch_gpu_memory_used_by_others_bytes": 1.5,
        "tierwatch_gpu_utilization_ratio": 0.9,
        "tierwatch_gpu_temperature_celsius": 70.0,
        "tierwatch_gpu_power_watts": 300.0,
        "tierwatch_gpu_clock_hertz": 2.5,
    }
    own = {
        "tierwatch_gpu_temperature_celsius": ',sensor="core"',
        "tierwatch_gpu_clock_hertz": ',clock="graphics"',
    }
    for number in range(OPENED):
        for gpu in (0, 1):
            labels = f'machine="{name(number)}",gpu="{gpu}",uuid="GPU-{number:04}-{gpu}"'
            for family, figure in families.items():
                scale = 2**30 if family.endswith("_bytes") else 1
                series = f"{family}{{{labels}{own.get(family, '')}}}"
                for ago in range(PAST_SECONDS, 60, -PAST_EVERY):
                    yield series, scale * figure * (0.8 + 0.2 * (ago % 900 / 900)), now - ago


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=10_000)
    parser.add_argument("--every", type=float, default=15, help="seconds between scrapes, rounds")
    asked = parser.parse_args()
    print(f"{asked.machines} machines × 2 GPUs, each {asked.every:g} s", flush=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with VictoriaMetrics(folder / "engine", []) as engine:
            samples = list(past(time.time()))
            for first in range(0, len(samples), 200_000):
                engine.load(samples[first : first + 200_000])
            print(f"a past of {len(samples)} samples is in the engine", flush=True)
            with Feed(engine, asked.machines, asked.every) as feed:
                count = "count(tierwatch_snapshot_timestamp_seconds)"
                wait_until(lambda: engine.values(count) == [asked.machines])
                print(f"{feed.series} series", flush=True)
                (folder / "tierwatch.toml").write_text(
                    _settings(asked.machines, engine.url, asked.every)
                )
                with RunningDashboard(folder) as dashboard:
                    wait_until(dashboard.is_ready)
                    _measure(dashboard, engine, asked.every)
                    dashboard.end()
                print(f"the feed was late by {feed.late_seconds:.1f} s at most")


def _measure(dashboard: RunningDashboard, engine: MetricEngine, every: float) -> None:
    process = psutil.Process(dashboard.process.pid)
    questions = _questions(engine)
    before, began = sum(process.cpu_times()[:2]), time.monotonic()
    rounds: list[float] = []
    for _ in range(WARM_ROUNDS):
        time.sleep(every)
        took = dashboard.value("tierwatch_dashboard_poll_duration_seconds", machine=name(0))
        rounds.append(took or 0.0)
    lasted = time.monotonic() - began
    used = (sum(process.cpu_times()[:2]) - before) / lasted
    each = (_questions(engine) - questions) / (lasted / every)
    print(f"a round: {each:.1f} questions, asked and read in {statistics.median(rounds):.2f} s")
    print(f"nobody looks: CPU of the dashboard {100 * used:.0f} %, ", end="")
    print(f"memory {process.memory_info().rss / 2**20:.0f} MiB")
    print(f"\n{'':44}{'median':>10}{'p95':>10}{'goal':>10}")
    with sync_playwright() as playwright:
        browser = launch(playwright)
        fleet = asked_for(browser, dashboard.url, "").first
        machine = asked_for(browser, dashboard.url, f"machines/{name(0)}?range=24h").first
        browser.close()
    pages = [
        [address.replace(name(0), name(number)) for address in machine] for number in range(OPENED)
    ]
    _page("fleet page", dashboard.url, [fleet] * VIEWS, 1.0)
    questions = _ranges(engine)
    _page("machine page over 24 h", dashboard.url, [pages[n % OPENED] for n in range(VIEWS)], 0.5)
    print(f"a machine page: {(_ranges(engine) - questions) / VIEWS:.1f} questions of the past")


def _page(what: str, url: str, views: Sequence[list[str]], goal: float) -> None:
    sums: list[float] = []
    for addresses in views:
        seen = asyncio.run(one_after_another(url, addresses, 1, PAUSE_SECONDS))
        sums.append(sum(sum(each.seconds) for each in seen))
    p95 = statistics.quantiles(sums, n=20)[18]
    reached = "reached" if p95 <= goal else "not reached"
    print(
        f"{what:44}{statistics.median(sums):8.3f} s{p95:8.3f} s{goal:8g} s  {reached}", flush=True
    )


def _questions(engine: MetricEngine) -> float:
    return _requests(engine, "/api/v1/query")


def _ranges(engine: MetricEngine) -> float:
    return _requests(engine, "/api/v1/query_range")


def _requests(engine: MetricEngine, path: str) -> float:
    """How often the engine was asked so far, by its own count."""
    with urllib.request.urlopen(f"{engine.url}/metrics", timeout=60) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "vm_http_requests_total" and sample.labels.get("path") == path
    )


def _settings(machines: int, engine: str, every: float) -> str:
    fleet = f'{{ source = "prometheus", url = "{engine}", timeout = "{2 * every:g}s" }}'
    own = f'[dashboard]\npoll_interval = "{every:g}s"\nfleet = {fleet}\n'
    policy = f'[policy]\nstale_after = "{3 * every:g}s"\ndown_after = "{4 * every:g}s"\n'
    tables = (
        f'[[machine]]\nid = "{name(number)}"\nurl = "http://{name(number)}:9838"\n'
        f'tier = "{TIERS[number % len(TIERS)]}"\ntags = {list(tags(number))}\n'
        for number in range(machines)
    )
    return own + policy + "".join(tables)


if __name__ == "__main__":
    main()
