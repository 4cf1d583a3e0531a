"""The Grafana dashboards are those that their code makes, and name nothing that is not there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana import generate

from tests.end_to_end.grafana_queries import Query, queries_of
from tierwatch_agent.catalogue import AGENT, DASHBOARD

RULES = Path(__file__).parents[1] / "deploy" / "prometheus" / "tierwatch.rules.yml"
NAME = re.compile(r"\b(?:\w+:)?tierwatch_\w+(?::\w+)?")
NAMES = sorted(generate.DASHBOARDS)


def dashboard(name: str) -> dict[str, Any]:
    return json.loads((generate.FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def series() -> set[str]:
    """Every series that there is: exposed, or recorded by the deployed rules."""
    exposed = {**AGENT, **DASHBOARD}
    histograms = {f"{n}_bucket" for n, metric in exposed.items() if metric.type == "histogram"}
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    recorded = {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}
    return {*exposed, *histograms, *recorded}


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_is_what_its_code_makes(name: str) -> None:
    written = (generate.FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert written == generate.document(name), "run make grafana"


def test_no_dashboard_lies_there_that_nothing_makes() -> None:
    assert sorted(file.stem for file in generate.FOLDER.glob("*.json")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_query_names_only_series_that_exist(name: str) -> None:
    queries = queries_of(dashboard(name))
    assert queries
    for query in queries:
        assert set(NAME.findall(query.expr)) <= series(), query


@pytest.mark.parametrize("name", NAMES)
def test_a_panel_says_what_it_shows_and_asks_the_chosen_source(name: str) -> None:
    document = dashboard(name)
    assert document["uid"] == f"tierwatch-{name}"
    for panel in document["panels"]:
        assert panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


@pytest.mark.parametrize("name", NAMES)
def test_no_two_panels_lie_over_each_other(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard(name)["panels"]:
        place = panel["gridPos"]
        x, y = place.get("x", 0), place.get("y", 0)
        cells = {(x + dx, y + dy) for dx in range(place["w"]) for dy in range(place["h"])}
        assert x + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("name", NAMES)
def test_the_variables_are_machine_tier_tag_and_gpu(name: str) -> None:
    found = {variable["name"] for variable in dashboard(name)["templating"]["list"]}
    expected = {"datasource", "tierwatch", "tier", "tag", "machine"}
    assert found == expected | ({"gpu"} if name == "machine" else set[str]())


def test_alerts_are_marked_on_every_dashboard() -> None:
    for name in NAMES:
        marks = [query for query in queries_of(dashboard(name)) if query.place == "annotation"]
        assert [Query(place="annotation", expr=query.expr) for query in marks] == marks
        assert "ALERTS" in marks[0].expr


def test_a_machine_s_figures_lead_to_its_page() -> None:
    links = json.dumps([dashboard(name) for name in NAMES])
    assert "${tierwatch}/machines/${__field.labels.machine}" in links
    assert "${tierwatch}/machines/${__data.fields.Machine}" in links


@pytest.mark.parametrize("kind", ["dashboards", "datasources"])
def test_the_provisioning_files_are_yaml_of_grafana_s_first_version(kind: str) -> None:
    folder = Path(generate.__file__).parent / "provisioning" / kind
    for file in folder.glob("*.yml"):
        assert yaml.safe_load(file.read_text(encoding="utf-8"))["apiVersion"] == 1
