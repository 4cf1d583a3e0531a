"""What it costs to collect: the dashboard and a real Prometheus ask the same agents, in one run.

    python -m tests.bench.collect [--machines 50 200 1000 2000] [--seconds 60]

One process plays the agents of eight GPUs each on real sockets; each asker has them for itself for
a while, every 5 s, after it has warmed up. The dashboard judges, keeps history and evaluates its
alerts meanwhile; Prometheus stores what it scrapes, without a rule. CPU is that of the asking
process alone. Late: how much later than its interval a machine was asked, at the worst, as the
agents saw it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.bench.big_fleet.machines import TIERS, name, tags
from tests.bench.big_fleet.scraped import GPUS_EACH, ScrapedFleet
from tests.end_to_end.running_dashboard import RunningDashboard, wait_until
from tests.processes import free_port

INTERVAL_SECONDS = 5.0
WARM_UP_SECONDS = 20.0
MIB = 2**20
CPU_GOAL, CPU_GOAL_AT = 0.5, 200
"""Of Prometheus' CPU for each machine, with so many of them."""
CORE_GOAL_AT = 2000
"""So many machines on one core, none of them asked later than its interval."""


@dataclass(frozen=True)
class Cost:
    """What one asker cost with so many machines."""

    cpu_seconds: float
    """In a minute."""
    rss_bytes: int
    answers: float
    """In a minute."""
    late_seconds: float
    """How much later than its interval a machine was asked at the worst."""

    @property
    def milliseconds(self) -> float:
        """CPU for one answer."""
        return 1000 * self.cpu_seconds / self.answers


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, nargs="+", default=[50, 200, 1000, 2000])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each is measured")
    asked = parser.parse_args()
    print(f"{GPUS_EACH} GPUs a machine, every {INTERVAL_SECONDS:g} s, {asked.seconds:g} s each\n")
    print(
        f"{'machines':>8}  {'asker':12}{'CPU s/min':>10}{'ms/answer':>10}{'RSS MiB':>9}"
        f"{'answers/min':>12}{'late s':>8}"
    )
    for count in asked.machines:
        with ScrapedFleet(count) as fleet, tempfile.TemporaryDirectory() as folder:
            with _running_prometheus(Path(folder), fleet.addresses) as process:
                theirs = _measured(process, fleet, asked.seconds)
            with _running_dashboard(Path(folder), fleet.addresses) as process:
                ours = _measured(process, fleet, asked.seconds)
        _print(count, "prometheus", theirs)
        _print(count, "tierwatch", ours)
        ratio = ours.milliseconds / theirs.milliseconds
        held = f", to reach {CPU_GOAL}" if count == CPU_GOAL_AT else ""
        print(f"{'':10}CPU for an answer: {ratio:.2f} of Prometheus'{held}", flush=True)
        if count == CORE_GOAL_AT:
            print(
                f"{'':10}to reach: 60 CPU s/min, late less than {INTERVAL_SECONDS:g} s", flush=True
            )


def _measured(process: psutil.Process, fleet: ScrapedFleet, seconds: float) -> Cost:
    """What a process costs that asks a fleet, once it is warm."""
    time.sleep(WARM_UP_SECONDS)
    cpu, began = sum(process.cpu_times()[:2]), time.monotonic()
    fleet.begin()
    time.sleep(seconds)
    asked, took = fleet.end(), time.monotonic() - began
    return Cost(
        cpu_seconds=60 * (sum(process.cpu_times()[:2]) - cpu) / took,
        rss_bytes=process.memory_info().rss,
        answers=60 * asked.answers / took,
        late_seconds=max(0.0, asked.longest_seconds - INTERVAL_SECONDS),
    )


@contextmanager
def _running_prometheus(folder: Path, addresses: Sequence[str]) -> Iterator[psutil.Process]:
    jobs = [{"job_name": "agents", "static_configs": [{"targets": list(addresses)}]}]
    every = {"scrape_interval": f"{INTERVAL_SECONDS:g}s", "scrape_timeout": "4s"}
    # JSON is YAML, too.
    (folder / "prometheus.yml").write_text(json.dumps({"global": every, "scrape_configs": jobs}))
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{free_port()}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def _running_dashboard(folder: Path, addresses: Sequence[str]) -> Iterator[psutil.Process]:
    (folder / "tierwatch.toml").write_text(_settings(folder, addresses))
    with RunningDashboard(folder) as dashboard:
        wait_until(dashboard.is_ready)
        yield psutil.Process(dashboard.process.pid)
        dashboard.end()


def _settings(folder: Path, addresses: Sequence[str]) -> str:
    machines = (
        f'[[machine]]\nid = "{name(number)}"\nurl = "http://{address}"\n'
        f'tier = "{TIERS[number % len(TIERS)]}"\ntags = {list(tags(number))}\n'
        for number, address in enumerate(addresses)
    )
    return f"[dashboard]\ndatabase = '{folder / 'tierwatch.db'}'\n\n" + "\n".join(machines)


def _print(count: int, asker: str, cost: Cost) -> None:
    print(
        f"{count:8}  {asker:12}{cost.cpu_seconds:10.2f}{cost.milliseconds:10.2f}"
        f"{cost.rss_bytes / MIB:9.0f}{cost.answers:12.0f}{cost.late_seconds:8.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
