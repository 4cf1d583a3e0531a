"""One scene seen by the dashboard and by Prometheus: the same snapshots, both real expositions.

The dashboard's way is the fleet's state, the rules and the engine. Prometheus' is ``promtool test
rules`` over the samples that it would have scraped.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.dashboard.doubles import InventoryFile
from tierwatch_agent.exposition import render
from tierwatch_agent.snapshot import MachineSnapshot
from tierwatch_dashboard.alerts import Alert
from tierwatch_dashboard.alerts.alerting import AlertingHealth
from tierwatch_dashboard.alerts.engine import Around, step
from tierwatch_dashboard.alerts.prometheus import rules_file
from tierwatch_dashboard.alerts.rules import RULES, findings
from tierwatch_dashboard.fleet import Reading, SourceHealth
from tierwatch_dashboard.fleet.state import FleetState
from tierwatch_dashboard.inventory import Inventory
from tierwatch_dashboard.metrics import DashboardCollector, Observed
from tierwatch_dashboard.recording import RecorderHealth

START = 1_795_555_200.0
TICK_SECONDS = 5

Samples = dict[str, float]
"""Series to value, of one scrape."""
Seen = MachineSnapshot | None
Scene = Callable[[float], Seen]
"""What the machine's agent tells at a moment; None: it does not answer."""


class BothWays:
    """Plays a scene and keeps what each way saw of it, tick by tick."""

    def __init__(self, inventory: Inventory) -> None:
        self._file = InventoryFile(current=inventory)
        self._now = START - TICK_SECONDS
        self._state = FleetState(self._file, lambda: self._now)
        self._alerts: dict[str, Alert] = {}
        self._health = SourceHealth()
        self._read = families_in(rules_file(inventory))
        self.embedded: list[tuple[Alert, ...]] = []
        """The alerts that fire, by tick."""
        self.scrapes: list[Samples] = []

    @property
    def inventory(self) -> Inventory:
        return self._file.current

    def play(
        self, seconds: float, scene: Scene, *, polled: bool = True, dashboard: bool = True
    ) -> int:
        """Goes on for so long and gives the last tick's number.

        ``polled``: whether the dashboard asks; ``dashboard``: whether it can be scraped.
        """
        until = self._now + seconds
        while self._now < until:
            self._now += TICK_SECONDS
            self._tick(scene(self._now), polled=polled, dashboard=dashboard)
        return len(self.scrapes) - 1

    def _tick(self, seen: Seen, *, polled: bool, dashboard: bool) -> None:
        machine = self.inventory.machines[0].id
        if polled:
            error = None if seen else "connection refused"
            reading = Reading(machine=machine, at=self._now, snapshot=seen, error=error)
            self._state.receive(reading)
            self._health = SourceHealth(last={machine: reading})
        self._state.judge(self._now)
        found = findings(self._state.views(), self.inventory, self._now, self._health)
        around = Around()
        self._alerts = step(self._alerts, found, around, self.inventory.alerts, self._now).alerts
        self.embedded.append(tuple(a for a in self._alerts.values() if a.state == "firing"))
        scrape = self._of_agent(seen, machine) if seen else {}
        self.scrapes.append({**scrape, **(self._of_dashboard() if dashboard else {})})

    def _of_agent(self, seen: MachineSnapshot, machine: str) -> Samples:
        document = render(seen, names=self._read).decode()
        return {
            # As the target's label, which wins over the agent's own.
            _series(sample.name, {**sample.labels, "machine": machine}): sample.value
            for family in text_string_to_metric_families(document)
            for sample in family.samples
        }

    def _of_dashboard(self) -> Samples:
        observed = Observed(
            state=self._state,
            inventory_file=self._file,  # pyright: ignore[reportArgumentType]  # a double
            source=lambda: self._health,
            recorder=RecorderHealth,
            jobs=dict,
            alerting=AlertingHealth,
            now=lambda: self._now,
        )
        return {
            _series(sample.name, sample.labels): sample.value
            for family in DashboardCollector(observed).collect()
            for sample in family.samples
            if sample.name in self._read
        }

    def promtool(
        self, folder: Path, ticks: Sequence[int], rule: str
    ) -> subprocess.CompletedProcess[str]:
        """Holds Prometheus to what the dashboard said of a rule at these ticks."""
        (folder / "tierwatch.rules.yml").write_text(rules_file(self.inventory), encoding="utf-8")
        test = {
            "interval": f"{TICK_SECONDS}s",
            "input_series": self._input_series(),
            "alert_rule_test": [
                {
                    "alertname": rule,
                    "eval_time": f"{tick * TICK_SECONDS}s",
                    "exp_alerts": [_expected(a) for a in self.embedded[tick] if a.rule == rule],
                }
                for tick in ticks
            ],
        }
        return check(folder, test)

    def _input_series(self) -> list[dict[str, str]]:
        names = {name for scrape in self.scrapes for name in scrape}
        return [
            {"series": name, "values": " ".join(_values(name, self.scrapes))}
            for name in sorted(names)
        ]


def check(folder: Path, test: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Runs one test of the rules in the folder."""
    file = folder / "rules.test.yml"
    # JSON is YAML, too.
    document = {
        "rule_files": ["tierwatch.rules.yml"],
        "evaluation_interval": f"{TICK_SECONDS}s",
        "tests": [test],
    }
    file.write_text(json.dumps(document), encoding="utf-8")
    return subprocess.run(
        ["promtool", "test", "rules", file.name], cwd=folder, text=True, capture_output=True
    )


def families_in(text: str) -> set[str]:
    """Every metric of Tierwatch that a text names; recorded ones are left out."""
    return set(re.findall(r"(?<![:\w])tierwatch_\w+(?![:\w])", text))


def _series(name: str, labels: dict[str, str]) -> str:
    pairs = ",".join(f"{key}={json.dumps(value)}" for key, value in sorted(labels.items()))
    return f"{name}{{{pairs}}}" if pairs else name


def _values(name: str, scrapes: Sequence[Samples]) -> list[str]:
    values: list[str] = []
    was_there = False
    for scrape in scrapes:
        value = scrape.get(name)
        # What is gone from a scrape is stale at once.
        values.append(repr(value) if value is not None else "stale" if was_there else "_")
        was_there = value is not None
    return values


def _expected(alert: Alert) -> dict[str, dict[str, str]]:
    return {
        "exp_labels": {**alert.labels, "severity": alert.severity},
        # What Prometheus cannot know stands in the dashboard's own alert alone.
        "exp_annotations": {"summary": alert.summary, "todo": RULES[alert.rule].todo},
    }
