"""A real Prometheus with a real Alertmanager, configured as ``deploy/prometheus`` has it.

What differs for a test: addresses, and how often they scrape, evaluate and send.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.processes import PATIENCE_SECONDS, free_port

DEPLOY = Path(__file__).parents[2] / "deploy" / "prometheus"
RULES = "tierwatch.rules.yml"


def rules_of(config: Path) -> str:
    """What ``tierwatch rules`` prints."""
    command = [sys.executable, "-m", "tierwatch_dashboard.cli", "rules", "--config", str(config)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def checked(rules: Path) -> str:
    """What promtool says of a rules file; CalledProcessError where it does not like it."""
    command = ["promtool", "check", "rules", "--lint-fatal", str(rules)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class PrometheusStack:
    """Both, in a folder of their own; ``with PrometheusStack(...) as stack``.

    Args:
        folder: Where all of it goes.
        config: The dashboard's ``tierwatch.toml``, whose rules are evaluated.
        dashboard: The dashboard's ``HOST:PORT``, which tells who is to be scraped.
        webhooks: The receivers of Alertmanager's configuration to where they are told.
    """

    def __init__(
        self,
        folder: Path,
        config: Path,
        dashboard: str,
        webhooks: Mapping[str, str],
    ) -> None:
        folder.mkdir()
        self._folder = folder
        self._url = f"http://127.0.0.1:{free_port()}"
        alertmanager = f"127.0.0.1:{free_port()}"
        self.rules = folder / RULES
        self.rules.write_text(rules_of(config).replace("interval: 5s", "interval: 1s"))
        self._write("prometheus.yml", _prometheus(dashboard, alertmanager))
        self._write("alertmanager.yml", _alertmanager(webhooks))
        self._commands = (
            [
                "prometheus-alertmanager",
                f"--config.file={folder / 'alertmanager.yml'}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address={alertmanager}",
                "--cluster.listen-address=",
            ],
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address={self._url.removeprefix('http://')}",
                "--rules.alert.resend-delay=10s",
            ],
        )
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> PrometheusStack:
        for command in self._commands:
            with (self._folder / f"{command[0]}.log").open("wb") as log:
                self._processes.append(subprocess.Popen(command, stdout=log, stderr=log))
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.terminate()
            process.wait(PATIENCE_SECONDS)

    def values(self, query: str) -> list[float]:
        """The values of a query; none before Prometheus answers."""
        url = f"{self._url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return [float(found["value"][1]) for found in json.load(answer)["data"]["result"]]
        except OSError:
            return []

    def _write(self, name: str, document: Any) -> None:
        (self._folder / name).write_text(yaml.safe_dump(document))


def _prometheus(dashboard: str, alertmanager: str) -> Any:
    document = _deployed("prometheus.yml")
    document["global"] = {
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "evaluation_interval": "1s",
    }
    document["alerting"]["alertmanagers"] = [_static([alertmanager])]
    jobs = {job["job_name"]: job for job in document["scrape_configs"]}
    for discovery in jobs["tierwatch-agents"]["http_sd_configs"]:
        discovery |= {"url": f"http://{dashboard}/sd/prometheus", "refresh_interval": "1s"}
    jobs["tierwatch-dashboard"]["static_configs"] = [{"targets": [dashboard]}]
    return document


def _static(targets: Sequence[str]) -> Any:
    return {"static_configs": [{"targets": [*targets]}]}


def _alertmanager(webhooks: Mapping[str, str]) -> Any:
    document = _deployed("alertmanager.yml")
    document["route"] |= {"group_wait": "1s", "group_interval": "1s"}
    for receiver in document["receivers"]:
        receiver["webhook_configs"] = [{"url": webhooks[receiver["name"]]}]
    return document


def _deployed(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))
