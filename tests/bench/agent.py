"""The agent beside nvitop-exporter on the same fake driver, in one run: scrapes, CPU, memory.

    python -m tests.bench.agent [--seconds 120]

Both run at once, sample each second, and are scraped as Prometheus does (gzip, the connection kept
where the server allows). First every 5 s, for CPU time and memory; then slowly enough that each
scrape meets a new sample, for latency. The fake driver has no latency of its own, so this is the
exporters' own code. Take ratios, not times.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.compiled import BUILD
from tests.fakes.nvml import Card, Driver, FakeNvml, Proc
from tests.processes import eventually, free_port

PEER = "nvitop-exporter==1.7.2"
SCRAPE_SECONDS = 5.0
LATENCY_SCRAPES = 100
LATENCY_GAP_SECONDS = 1.07
ACCEPT = {
    "Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "Accept-Encoding": "gzip",
}


class Exporter:
    """A running exporter and what its scrapes took."""

    def __init__(
        self, name: str, command: list[str], port: int, environment: dict[str, str]
    ) -> None:
        self.name = name
        self._port = port
        self._process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._connection: http.client.HTTPConnection | None = None
        self.latencies: list[float] = []
        self.size = 0

    def scrape(self) -> bytes:
        """One scrape; its time is kept."""
        started = time.perf_counter()
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        self._connection.request("GET", "/metrics", headers=ACCEPT)
        answer = self._connection.getresponse()
        body = answer.read()
        self.latencies.append(time.perf_counter() - started)
        if answer.will_close:
            self._connection.close()
            self._connection = None
        self.size = len(body)
        return body

    def wait(self) -> None:
        """Waits for its first answer."""

        def answers() -> bool:
            try:
                return len(self.scrape()) > 0
            except OSError:
                self._connection = None
                return False

        eventually(answers, bool, f"an answer of {self.name}")

    def cpu_seconds(self) -> float:
        """CPU time of its processes so far."""
        return sum(sum(p.cpu_times()[:2]) for p in self._tree())

    def memory_mib(self) -> tuple[float, float]:
        """RSS summed over its processes, and PSS, which counts what they share once."""
        figures = [p.memory_full_info() for p in self._tree()]
        return sum(f.rss for f in figures) / 2**20, sum(f.pss for f in figures) / 2**20

    def processes(self) -> int:
        """How many it runs."""
        return len(self._tree())

    def end(self) -> None:
        """Ends it."""
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _tree(self) -> list[psutil.Process]:
        root = psutil.Process(self._process.pid)
        return [root, *root.children(recursive=True)]


def peer_python() -> Path:
    """A virtual environment with the peer in it, made once."""
    folder = BUILD / PEER
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"Installing {PEER} …", flush=True)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PEER], check=True)
    return python


@contextlib.contextmanager
def driver(folder: Path, gpus: int) -> Iterator[dict[str, str]]:
    """A fake driver with so many cards, and two living processes on each."""
    sleepers = [subprocess.Popen(["sleep", "3600"]) for _ in range(2 * gpus)]
    cards = tuple(
        Card(
            name="NVIDIA GeForce RTX 4090",
            total_mib=24564,
            reserved_mib=420,
            procs=(Proc(sleepers[2 * i].pid, 9000), Proc(sleepers[2 * i + 1].pid, 1200)),
        )
        for i in range(gpus)
    )
    fake = FakeNvml(folder)
    fake.write(Driver(cards=cards))
    try:
        yield fake.env
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()


def measure(gpus: int, seconds: float) -> None:
    """Runs both at so many GPUs and prints a table."""
    with tempfile.TemporaryDirectory() as folder, driver(Path(folder), gpus) as environment:
        ours_port, peer_port = free_port(), free_port()
        listen = ["run", "--listen", f"127.0.0.1:{ours_port}"]
        ours = Exporter(
            "tierwatch",
            [sys.executable, "-m", "tierwatch_agent.cli", *listen],
            ours_port,
            environment,
        )
        peer = Exporter(
            "nvitop-exporter",
            [str(peer_python()), "-m", "nvitop_exporter", "--port", str(peer_port)],
            peer_port,
            environment,
        )
        both = (ours, peer)
        try:
            for exporter in both:
                exporter.wait()
            time.sleep(5)
            before = [exporter.cpu_seconds() for exporter in both]
            began = time.monotonic()
            while time.monotonic() - began < seconds:
                for exporter in both:
                    exporter.scrape()
                    time.sleep(SCRAPE_SECONDS / 2)
            spent = time.monotonic() - began
            cpu = [
                (exporter.cpu_seconds() - start) * 3600 / spent
                for exporter, start in zip(both, before, strict=True)
            ]
            memory = [exporter.memory_mib() for exporter in both]
            for exporter in both:
                exporter.latencies.clear()
            for _ in range(LATENCY_SCRAPES):
                for exporter in both:
                    exporter.scrape()
                time.sleep(LATENCY_GAP_SECONDS)
            report(gpus, both, cpu, memory)
        finally:
            for exporter in both:
                exporter.end()


def report(
    gpus: int,
    both: tuple[Exporter, Exporter],
    cpu: list[float],
    memory: list[tuple[float, float]],
) -> None:
    """The table of one run."""
    quantiles = [
        statistics.quantiles([1000 * x for x in e.latencies], n=100, method="inclusive")
        for e in both
    ]
    rows = [
        ("scrape p50 ms", *(q[49] for q in quantiles)),
        ("scrape p99 ms", *(q[98] for q in quantiles)),
        ("CPU s an hour", *cpu),
        ("RSS MiB, summed", *(rss for rss, _ in memory)),
        ("PSS MiB", *(pss for _, pss in memory)),
        ("bytes a scrape (gzip)", *(e.size for e in both)),
        ("processes", *(e.processes() for e in both)),
    ]
    print(
        f"\n{gpus} GPU{'s' * (gpus > 1)}{'':20} {both[0].name:>12} {both[1].name:>16} {'ratio':>8}"
    )
    for name, ours, peer in rows:
        print(f"{name:25} {ours:12.2f} {peer:16.2f} {ours / peer:8.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--seconds", type=float, default=120, help="of scraping every 5 s")
    seconds = parser.parse_args().seconds
    for gpus in (1, 8):
        measure(gpus, seconds)


if __name__ == "__main__":
    main()
