"""Whom Prometheus scrapes: it asks a real dashboard, alone or with another for the other half."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.end_to_end.metric_engines import Prometheus
from tests.end_to_end.prometheus_stack import DEPLOY
from tests.end_to_end.running_dashboard import RunningDashboard, machine_table
from tests.fakes.agents import Agents, says, snapshot
from tests.processes import eventually
from tierwatch_agent import exposition

pytestmark = pytest.mark.slow

PLAIN_TEXT = f"Content-Type: {exposition.TEXT_TYPE}\r\n"
MACHINES = 12


def test_what_is_deployed_is_sound(tmp_path: Path) -> None:
    targets = tmp_path / "targets.json"
    command = [sys.executable, "-m", "tierwatch_dashboard.cli", "targets", "--config"]
    told = subprocess.run([*command, DEPLOY.parent / "tierwatch.toml"], capture_output=True)
    targets.write_bytes(told.stdout)
    assert len(json.loads(told.stdout)) == 4
    subprocess.run(["promtool", "check", "config", DEPLOY / "prometheus.yml"], check=True)
    document = {
        "scrape_configs": [{"job_name": "agents", "file_sd_configs": [{"files": [str(targets)]}]}]
    }
    config = tmp_path / "prometheus.yml"
    config.write_text(yaml.safe_dump(document), encoding="utf-8")
    subprocess.run(["promtool", "check", "config", config], check=True)
    subprocess.run(["promtool", "check", "service-discovery", config, "agents"], check=True)


def test_two_servers_share_the_fleet_and_follow_the_inventory(tmp_path: Path) -> None:
    def played(machine: str) -> str:
        document = exposition.render(snapshot(machine))
        return agents.play(says(document, headers=PLAIN_TEXT))

    with Agents() as agents:
        urls = {f"render-{number:02}": played(f"render-{number:02}") for number in range(MACHINES)}
        inventory = tmp_path / "tierwatch.toml"
        inventory.write_text(
            "".join(machine_table(id_, url) for id_, url in urls.items()), encoding="utf-8"
        )
        with (
            RunningDashboard(tmp_path) as dashboard,
            Prometheus(tmp_path / "first", [shard(dashboard, 0)]) as first,
            Prometheus(tmp_path / "second", [shard(dashboard, 1)]) as second,
        ):

            def scraped() -> list[set[str]]:
                return [engine.labelled("up == 1", "machine") for engine in (first, second)]

            shares = eventually(
                scraped, lambda found: sum(map(len, found)) == MACHINES, "a scrape of each"
            )
            assert shares[0] | shares[1] == urls.keys()
            assert shares[0]
            assert shares[1]
            with inventory.open("a", encoding="utf-8") as stream:
                stream.write(machine_table("late", played("late")))
            eventually(
                scraped, lambda found: "late" in found[0] | found[1], "a scrape of the new one"
            )
            after = scraped()
            assert shares[0] <= after[0]
            assert shares[1] <= after[1]


def shard(dashboard: RunningDashboard, number: int) -> dict[str, Any]:
    """The deployed job, as a server scrapes its half by it."""
    document = yaml.safe_load((DEPLOY / "prometheus.yml").read_text(encoding="utf-8"))
    job = next(j for j in document["scrape_configs"] if j["job_name"] == "tierwatch-agents")
    address = urlsplit(dashboard.url).netloc
    job["http_sd_configs"] = [{"url": f"http://{address}/sd/prometheus", "refresh_interval": "1s"}]
    readme = (DEPLOY / "README.md").read_text(encoding="utf-8")
    written = readme.partition("    relabel_configs:\n")[2].partition("\n\n")[0]
    relabel = yaml.safe_load(f"relabel_configs:\n{written}")["relabel_configs"]
    relabel[1]["regex"] = str(number)
    return {**job, "relabel_configs": relabel}
