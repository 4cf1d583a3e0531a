"""Real PromQL engines that scrape: Debian's Prometheus and VictoriaMetrics."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.processes import PATIENCE_SECONDS, eventually, free_port

PastSample = tuple[str, float, float]
"""A series as it is written in a scrape, its value, and when in Unix seconds."""


class MetricEngine:
    """One engine in a folder and on a port of its own; ``with Prometheus(...) as engine``.

    Args:
        folder: Where its data goes; made here.
        scrape_configs: As Prometheus' configuration has them.
        interval: How often it scrapes.
    """

    name = ""

    def __init__(
        self, folder: Path, scrape_configs: Sequence[Mapping[str, Any]], interval: str = "1s"
    ) -> None:
        folder.mkdir()
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = folder / "scrape.yml"
        document = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval},
            "scrape_configs": [*scrape_configs],
        }
        # JSON is YAML, too.
        self.config.write_text(json.dumps(document), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """What starts it."""
        raise NotImplementedError

    def __enter__(self) -> MetricEngine:
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def begin(self) -> None:
        """Starts it, and waits until it answers."""
        with (self.folder / "engine.log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        eventually(lambda: self.values("vector(1)"), bool, f"an answer of {self.name}")

    @property
    def pid(self) -> int:
        """Of its process, once it has begun."""
        assert self._process is not None
        return self._process.pid

    def load(self, past: Iterable[PastSample]) -> None:
        """Gives it a past, as if it had scraped that."""
        raise NotImplementedError

    def end(self) -> None:
        """Ends it as a service manager does."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_SECONDS)
            self._process = None

    def values(self, query: str) -> list[float]:
        """The values of a query; none before it answers."""
        return [float(found["value"][1]) for found in self._found(query)]

    def labelled(self, query: str, label: str) -> set[str]:
        """What a label is in a query's series."""
        return {found["metric"][label] for found in self._found(query)}

    def _found(self, query: str) -> list[Any]:
        asked = urllib.parse.urlencode({"query": query, "nocache": "1"})
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/query?{asked}", timeout=5) as answer:
                return json.load(answer)["data"]["result"]
        except OSError:
            return []


class Prometheus(MetricEngine):
    """The classic."""

    name = "Prometheus"

    def command(self) -> list[str]:
        return [
            "prometheus",
            f"--config.file={self.config}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]

    def load(self, past: Iterable[PastSample]) -> None:
        """For one that has not begun; an interval's blocks are made at once."""
        document = self.folder / "past.om"
        with document.open("w", encoding="utf-8") as stream:
            family = ""
            for series, value, at in sorted(past, key=lambda each: (each[0], each[2])):
                name = series.partition("{")[0]
                if name != family:
                    stream.write(f"# TYPE {name} gauge\n")
                    family = name
                stream.write(f"{series} {value!r} {at:.3f}\n")
            stream.write("# EOF\n")
        command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(document)]
        subprocess.run([*command, str(self.folder / "data")], check=True, capture_output=True)


class VictoriaMetrics(MetricEngine):
    """The single-node one, which scrapes by itself."""

    name = "VictoriaMetrics"

    def command(self) -> list[str]:
        return [
            "victoria-metrics",
            f"-promscrape.config={self.config}",
            f"-storageDataPath={self.folder / 'data'}",
            f"-httpListenAddr=127.0.0.1:{self.port}",
            "-retentionPeriod=10y",
        ]

    def load(self, past: Iterable[PastSample]) -> None:
        """For one that has begun; what it takes in is found once it has flushed it."""
        lines = (f"{series} {value!r} {at * 1000:.0f}\n" for series, value, at in past)
        url = f"{self.url}/api/v1/import/prometheus"
        urllib.request.urlopen(url, "".join(lines).encode(), timeout=60).close()
        urllib.request.urlopen(f"{self.url}/internal/force_flush", timeout=60).close()


def agents_job(targets: Mapping[str, str]) -> dict[str, Any]:
    """A job that scrapes machines, by their id to their agent's ``HOST:PORT``."""
    return {
        "job_name": "tierwatch-agents",
        "static_configs": [
            {"targets": [address], "labels": {"machine": machine}}
            for machine, address in targets.items()
        ],
    }
