"""The dashboard's own /metrics, as a scraper receives it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from flask import Flask
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.agents import GIB, gpu, snapshot
from tierwatch_agent import __version__
from tierwatch_agent.catalogue import DASHBOARD
from tierwatch_dashboard.alerts.alerting import AlertingHealth
from tierwatch_dashboard.alerts.outbox import OutboxHealth
from tierwatch_dashboard.fleet import Reading, SourceHealth
from tierwatch_dashboard.fleet.state import FleetState
from tierwatch_dashboard.inventory_file import InventoryFile
from tierwatch_dashboard.inventory_place import FilePlace
from tierwatch_dashboard.metrics import Observed, expose
from tierwatch_dashboard.recording import RecorderHealth
from tierwatch_dashboard.scheduler import JobHealth

INVENTORY = """
[[machine]]
id = "render-01"
url = "http://render-01:9838"
tier = "mass"
gpu_tiers = { "1" = "light" }

[[machine]]
id = "render-02"
url = "http://render-02:9838"
tier = "production"

[[machine]]
id = "desk-03"
url = "http://desk-03:9838"
"""
NOW = 1_795_000_000.0


@dataclass
class Scraped:
    """A dashboard's parts in the test's hands, and what a scrape of it gives."""

    file: Path
    source: SourceHealth = field(default_factory=SourceHealth)
    recorder: RecorderHealth = field(default_factory=RecorderHealth)
    jobs: dict[str, JobHealth] = field(default_factory=dict[str, JobHealth])
    alerting: AlertingHealth = field(default_factory=AlertingHealth)

    def __post_init__(self) -> None:
        self.file.write_text(INVENTORY)
        self.inventory_file = InventoryFile(FilePlace(self.file), now=lambda: NOW)
        self.state = FleetState(self.inventory_file, lambda: NOW)
        self._app = Flask(__name__)
        expose(
            self._app,
            Observed(
                state=self.state,
                inventory_file=self.inventory_file,
                source=lambda: self.source,
                recorder=lambda: self.recorder,
                jobs=lambda: self.jobs,
                alerting=lambda: self.alerting,
                now=lambda: NOW + 4,
            ),
        )

    def get(self, accept: str = "") -> tuple[str, str]:
        answer = self._app.test_client().get("/metrics", headers={"Accept": accept})
        assert answer.status_code == 200
        return answer.headers["Content-Type"], answer.text

    def families(self) -> dict[str, Metric]:
        return {family.name: family for family in text_string_to_metric_families(self.get()[1])}

    def value(self, name: str, **labels: str) -> float | None:
        found = [
            sample.value
            for family in self.families().values()
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        ]
        assert len(found) <= 1
        return found[0] if found else None


@pytest.fixture
def scraped(tmp_path: Path) -> Scraped:
    made = Scraped(tmp_path / "tierwatch.toml")
    cards = (gpu(0, available=15 * GIB), gpu(1, available=2 * GIB))
    seen = snapshot("render-01", taken_at=NOW, gpus=cards)
    last = {
        "render-01": Reading(machine="render-01", at=NOW, snapshot=seen, duration_seconds=0.02),
        "render-02": Reading(machine="render-02", at=NOW, error="timeout", duration_seconds=4.0),
    }
    for reading in last.values():
        made.state.receive(reading)
    made.source = SourceHealth(succeeded=7, failed=3, skipped=2, last=last)
    made.recorder = RecorderHealth(written=56, dropped=4, failures=1)
    made.jobs = {"poll": JobHealth(last_success_at=NOW - 1, failures=5), "prune": JobHealth()}
    made.alerting = AlertingHealth(
        alerts={"pending": 2, "firing": 5},
        outbox=OutboxHealth(
            waiting={"ops": 3},
            oldest_made_at={"ops": NOW - 56},
            deliveries={("ops", "delivered"): 9, ("ops", "failed"): 4},
        ),
    )
    return made


def test_floors_and_headroom_are_told_by_gpu(scraped: Scraped) -> None:
    floor = "tierwatch_assigned_tier_floor_bytes"
    assert scraped.value(floor, machine="render-01", gpu="0", tier="mass") == 15e9
    assert scraped.value(floor, machine="render-01", gpu="1", tier="light") == 5e9
    headroom = "tierwatch_headroom_bytes"
    expected = 15 * GIB - 15e9
    assert scraped.value(headroom, machine="render-01", gpu="0", tier="mass") == expected
    expected = 2 * GIB - 5e9
    assert scraped.value(headroom, machine="render-01", gpu="1", tier="light") == expected


def test_classes_are_told_as_floors_are(scraped: Scraped) -> None:
    name = "tierwatch_assigned_tier_class_bytes"
    assert scraped.value(name, machine="render-01", gpu="1", tier="light") == 6e9
    assert scraped.value(name, machine="render-02", gpu="", tier="production") == 12e9


def test_what_the_team_decided_of_a_machine_is_told(scraped: Scraped) -> None:
    name = "tierwatch_machine_assignment_info"
    common = {"gpus": "all", "maintenance": "false"}
    assert scraped.value(name, machine="render-01", tier="mass", **common) == 1
    assert scraped.value(name, machine="desk-03", tier="", **common) == 1


def test_the_longest_wait_for_a_poll_is_told(scraped: Scraped) -> None:
    assert scraped.value("tierwatch_dashboard_poll_age_seconds") == 4


def test_a_machine_that_was_never_heard_has_its_floor_as_a_whole(scraped: Scraped) -> None:
    name = "tierwatch_assigned_tier_floor_bytes"
    assert scraped.value(name, machine="render-02", gpu="", tier="production") == 11e9


def test_exactly_one_state_of_a_machine_is_1(scraped: Scraped) -> None:
    for machine in ("render-01", "render-02", "desk-03"):
        samples = [
            sample
            for sample in scraped.families()["tierwatch_machine_state"].samples
            if sample.labels["machine"] == machine
        ]
        assert len(samples) == 7
        view = scraped.state.view(machine)
        assert view is not None
        assert [s.labels["state"] for s in samples if s.value == 1] == [view.verdict.state]


def test_what_a_machine_can_serve_is_told(scraped: Scraped) -> None:
    samples = scraped.families()["tierwatch_machine_can_serve_info"].samples
    assert {(s.labels["machine"], s.labels["now"], s.labels["empty"]) for s in samples} >= {
        ("render-01", "mass", "mass")
    }


def test_its_own_health_is_told(scraped: Scraped) -> None:
    prefix = "tierwatch_dashboard_"
    assert scraped.value(f"{prefix}info", version=__version__) == 1
    assert scraped.value(f"{prefix}poll_up", machine="render-01") == 1
    assert scraped.value(f"{prefix}poll_up", machine="render-02") == 0
    assert scraped.value(f"{prefix}poll_up", machine="desk-03") is None
    assert scraped.value(f"{prefix}poll_duration_seconds", machine="render-02") == 4.0
    assert scraped.value(f"{prefix}polls_total", outcome="success") == 7
    assert scraped.value(f"{prefix}polls_total", outcome="failure") == 3
    assert scraped.value(f"{prefix}polls_skipped_total") == 2
    assert scraped.value(f"{prefix}history_samples_total") == 56
    assert scraped.value(f"{prefix}history_write_failures_total") == 1
    assert scraped.value(f"{prefix}history_samples_dropped_total") == 4
    assert scraped.value(f"{prefix}job_failures_total", job="poll") == 5
    last_success = f"{prefix}job_last_success_timestamp_seconds"
    assert scraped.value(last_success, job="poll") == NOW - 1
    assert scraped.value(last_success, job="prune") is None
    assert scraped.value(f"{prefix}inventory_valid") == 1
    assert scraped.value(f"{prefix}inventory_loaded_timestamp_seconds") == NOW


def test_a_bad_edit_of_the_inventory_shows(scraped: Scraped) -> None:
    scraped.file.write_text('[[machine]]\nid = "render-01"\n')
    scraped.inventory_file.refresh()
    assert scraped.value("tierwatch_dashboard_inventory_valid") == 0


def test_a_machine_that_left_the_inventory_leaves_the_scrape(scraped: Scraped) -> None:
    scraped.file.write_text('[[machine]]\nid = "desk-03"\nurl = "http://desk-03:9838"\n')
    scraped.inventory_file.refresh()
    scraped.state.judge(NOW)
    assert "render-0" not in scraped.get()[1]


def test_alerts_and_the_messages_on_their_way_are_told(scraped: Scraped) -> None:
    assert scraped.value("tierwatch_dashboard_alerts", state="firing") == 5
    assert scraped.value("tierwatch_dashboard_outbox_messages", receiver="ops") == 3
    assert scraped.value("tierwatch_dashboard_outbox_oldest_age_seconds", receiver="ops") == 60
    deliveries = "tierwatch_dashboard_deliveries_total"
    assert scraped.value(deliveries, receiver="ops", outcome="delivered") == 9
    assert scraped.value(deliveries, receiver="ops", outcome="failed") == 4


OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.mark.parametrize(
    ("accept", "content_type", "parse"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8", text_string_to_metric_families),
        (OPENMETRICS, f"{OPENMETRICS}; charset=utf-8", openmetrics_families),
    ],
)
def test_every_family_is_the_catalogue_s(
    scraped: Scraped,
    accept: str,
    content_type: str,
    parse: Callable[[str], list[Metric]],
) -> None:
    found_type, text = scraped.get(accept)
    assert found_type.startswith(content_type)
    families = list(parse(text))
    # The text format knows neither "info" nor a counter's bare name: both parsers' names differ.
    found = {family.samples[0].name: family for family in families}
    assert found.keys() == DASHBOARD.keys()
    for name, family in found.items():
        metric = DASHBOARD[name]
        in_text = {"info": "gauge"} if not accept else {}
        assert family.type == in_text.get(metric.type, metric.type)
        assert family.documentation == metric.help
        for sample in family.samples:
            assert set(sample.labels) == set(metric.labels)
