"""A real Prometheus scrapes a real agent and a real dashboard for a minute, and loses nothing."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import RunningAgent, eventually, free_port

SIMULATED = """\
sources = ["simulated"]
[source.simulated]
cards = [
    {name = "RTX 4090", vram_mib = 24564, holders = [{name = "game.exe", mib = 6144}]},
    {name = "RTX 5080", vram_mib = 16303, wddm = true, holders = [{name = "dwm.exe", mib = 700}]},
]
"""
SCRAPED_FOR_SECONDS = 60

pytestmark = pytest.mark.slow


class Prometheus:
    """A Prometheus of its own folder and port that scrapes the targets each second."""

    def __init__(self, folder: Path, targets: list[str]) -> None:
        self.port = free_port()
        job = {
            "job_name": "tierwatch",
            "scrape_interval": "1s",
            "scrape_timeout": "1s",
            "static_configs": [{"targets": targets}],
        }
        # JSON is YAML, too.
        (folder / "prometheus.yml").write_text(json.dumps({"scrape_configs": [job]}))
        self._log = (folder / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def value(self, query: str) -> float | None:
        """The one value of a query; None where it has none."""
        answer = self.api("query", query=query)["result"]
        return float(answer[0]["value"][1]) if answer else None

    def api(self, path: str, **parameters: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)["data"]
        except OSError:
            return {"result": []}

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)
        self._log.close()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[RunningAgent]:
    with RunningAgent(tmp_path, config=SIMULATED) as running:
        running.until(lambda snapshot: len(snapshot.gpus) == 2, "both GPUs")
        yield running


@pytest.fixture
def prometheus(tmp_path: Path, agent: RunningAgent) -> Iterator[Prometheus]:
    prometheus = Prometheus(tmp_path, [f"127.0.0.1:{agent.port}"])
    yield prometheus
    prometheus.close()


def test_every_scrape_of_a_minute_succeeds_and_every_sample_is_ingested(
    agent: RunningAgent, prometheus: Prometheus
) -> None:
    eventually(lambda: prometheus.value("up"), lambda up: up == 1, "the first scrape")
    time.sleep(SCRAPED_FOR_SECONDS)
    minute = f"[{SCRAPED_FOR_SECONDS}s]"
    assert prometheus.value(f"min_over_time(up{minute})") == 1
    scrapes = prometheus.value(f"count_over_time(up{minute})")
    assert scrapes is not None
    assert scrapes >= SCRAPED_FOR_SECONDS - 5
    exposed = sum(1 for line in agent.get("/metrics")[1].splitlines() if line[0] != "#")
    assert prometheus.value("scrape_samples_scraped") == exposed
    assert prometheus.value("scrape_samples_post_metric_relabeling") == exposed
    stored = prometheus.value('count({job="tierwatch", __name__=~"tierwatch_.+"})')
    assert stored == exposed
    total = prometheus.value('tierwatch_gpu_memory_total_bytes{gpu="0"}')
    assert total == 24564 * 2**20
    target = prometheus.api("targets")["activeTargets"][0]
    assert target["lastError"] == ""
    known = prometheus.api("targets/metadata", metric="tierwatch_gpu_memory_available_bytes")
    assert known[0]["type"] == "gauge"
