"""The API's OpenAPI document, held against the routes and against what they really answer."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from datetime import timezone
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from sqlalchemy import Engine, insert, text
from werkzeug.test import TestResponse

from tests.dashboard.doubles import Alerts, Production, Studio
from tests.dashboard.firing import at_risk, below, down, hold, stalled
from tests.dashboard.making import last_jobs, running, server, stalled_machine, with_servers
from tests.dashboard.produced import produced
from tests.dashboard.studio import GIB, NOW
from tierwatch_agent.snapshot import MachineSnapshot
from tierwatch_dashboard.alerts.matchers import parse
from tierwatch_dashboard.alerts.store import AlertStore
from tierwatch_dashboard.app import Services, create_app
from tierwatch_dashboard.audit import AuditLog
from tierwatch_dashboard.changes import StateChange
from tierwatch_dashboard.database import open_database, writing
from tierwatch_dashboard.history import GpuPoint
from tierwatch_dashboard.history.database import DatabaseHistory
from tierwatch_dashboard.history.energy import EnergyLog
from tierwatch_dashboard.history.jobs import FinishedJob, JobStore
from tierwatch_dashboard.history.tables import WATCHES
from tierwatch_dashboard.history.verdicts import VerdictStore
from tierwatch_dashboard.history.watches import WatchStore
from tierwatch_dashboard.inventory import Inventory
from tierwatch_dashboard.reports import Reports

PATH = "/api/v1/openapi.json"
PATHS = {
    "/api/v1/alerts": "",
    "/api/v1/alerts/history": "",
    "/api/v1/alerts/silences": "",
    "/api/v1/can": "",
    "/api/v1/changes": "",
    "/api/v1/fleet": "",
    "/api/v1/jobs": "",
    "/api/v1/machines/{machine_id}": "render-03",
    "/api/v1/machines/{machine_id}/charts": "render-03",
    "/api/v1/machines/{machine_id}/series": "render-03",
    PATH: "",
    "/api/v1/placement": "",
    "/api/v1/recipes": "",
    "/api/v1/report": "",
    "/api/v1/tiers": "",
}
"""Every path, with what stands in it for its variable."""

TAKEN: dict[str, tuple[object, ...]] = {
    "group": ("tag", "tag:room"),
    "from": (NOW - 3600,),
    "to": (NOW, NOW + 60),
    "date": ("2026-11-24",),
    "week": ("2026-W47", "2026-W48"),
    "model": ("sdxl_base", "flux1-dev-Q8_0"),
    "size": ("1024x1024", "1344x768", "16384x64"),
}
"""Values of what takes not just any word or figure, by its name or its format."""
RECIPE = {"model": "sdxl_base", "size": "1024x1024"}
ASKED = {"/api/v1/can": RECIPE, "/api/v1/placement": RECIPE}
"""What a path must be asked with."""
BESIDE = {"from": {"to": NOW}, "to": {"from": NOW - 3600}}
"""What is said only together with another, where it is no day."""


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """Of a studio in which everything that an answer may tell of is there."""
    engine = open_database(f"sqlite:///{(tmp_path / 'tierwatch.db').as_posix()}")
    jobs, audit, history = JobStore(engine), AuditLog(engine, lambda: NOW), DatabaseHistory(engine)
    history.append(
        [
            GpuPoint(
                machine="render-03", gpu="0", at=NOW - age, total_bytes=16 * GIB, used_bytes=GIB
            )
            for age in range(0, 7200, 5)
        ]
    )
    studio = Studio(jobs=jobs)
    studio.production = Production(produced())
    studio.alerts = Alerts(AlertStore(engine, studio.now))
    known = studio.fleet.view("render-01")
    assert known
    studio.fleet.change(with_servers(known, server(running(), queue_pending=3)))
    studio.fleet.change(stalled_machine())
    jobs.append([FinishedJob(machine=each.machine, job=each.job) for each in last_jobs()])
    hold(AlertStore(engine, studio.now), down(), below(), at_risk())
    hold(AlertStore(engine, studio.now), down(), stalled())
    _keep_quiet(AlertStore(engine, studio.now))
    audit.take(Inventory())
    audit.take(studio.inventory_file.current)
    yield dataclasses.replace(
        studio.services(), audit=audit, history=history, reports=_reports(engine, jobs)
    )
    engine.dispose()


@pytest.fixture
def client(services: Services) -> FlaskClient:
    return create_app(services).test_client()


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    answer = client.get(PATH)
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.json
    return answer.json


def _reports(engine: Engine, jobs: JobStore) -> Reports:
    """Of a week in which a machine lost an hour to a game."""
    changes = VerdictStore(engine)
    told = StateChange(machine="render-03", at=NOW - 9 * 3600, state="below", headline="")
    told = msgspec.structs.replace(told, tier="mass", cause="others", culprit="EldenRing.exe")
    well = StateChange(machine="render-03", at=NOW - 8 * 3600, state="ok", headline="", tier="mass")
    changes.append_changes([told, well])
    watches = WatchStore(engine)
    with writing(engine) as connection:
        since, until = round((NOW - 86400) * 1000), round(NOW * 1000)
        connection.execute(insert(WATCHES), {"since": since, "until": until})
    return Reports(changes, watches, jobs, EnergyLog(engine), lambda: NOW, timezone.utc)


def _keep_quiet(store: AlertStore) -> None:
    start, end = NOW - 5, NOW + 3600
    store.add_silence(
        parse('machine="render-03"'),
        starts_at=start,
        ends_at=end,
        created_by="Ren",
        comment="drivers",
    )
    store.add_window(
        "render-05", starts_at=start, ends_at=end, created_by="Aoi", comment="new card"
    )


def test_it_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document, cls=OpenAPIV31SpecValidator)


def test_it_has_every_route_and_no_other(services: Services, document: dict[str, Any]) -> None:
    rules = create_app(services).url_map.iter_rules()
    routes = {re.sub(r"<(\w+)>", r"{\1}", rule.rule) for rule in rules if "/api/" in rule.rule}
    assert document["paths"].keys() == routes == PATHS.keys()


def test_each_operation_says_what_it_is_for(document: dict[str, Any]) -> None:
    operations = [item["get"] for item in document["paths"].values()]
    assert all(len(operation["summary"]) > 10 for operation in operations)
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert "bytes, seconds" in document["info"]["description"]


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_is_as_it_says(
    client: FlaskClient, document: dict[str, Any], path: str
) -> None:
    _holds(document, path, client.get(_address(path), query_string=ASKED.get(path)), 200)


@pytest.mark.parametrize("path", PATHS)
def test_every_value_that_it_offers_is_taken(
    client: FlaskClient, document: dict[str, Any], path: str
) -> None:
    for parameter in _in_query(document, path):
        schema, name = parameter["schema"], parameter["name"]
        values = [*schema.get("enum", []), *_bounds(schema)] or ["render-03"]
        for value in TAKEN.get(schema.get("format", name), values):
            query = {**ASKED.get(path, {}), **_beside(parameter), name: value}
            _holds(document, path, client.get(_address(path), query_string=query), 200)


@pytest.mark.parametrize("path", PATHS)
def test_what_it_does_not_offer_is_refused_as_it_says(
    client: FlaskClient, document: dict[str, Any], path: str
) -> None:
    for parameter in _in_query(document, path):
        schema, name = parameter["schema"], parameter["name"]
        if schema == {"type": "string"}:
            continue
        query = {**ASKED.get(path, {}), **_beside(parameter), name: "no-such-thing"}
        answer = client.get(_address(path), query_string=query)
        assert name in _holds(document, path, answer, 400)["error"]


@pytest.mark.parametrize("path", [path for path, value in PATHS.items() if value])
def test_an_unknown_machine_is_refused_as_it_says(
    client: FlaskClient, document: dict[str, Any], path: str
) -> None:
    answer = client.get(path.replace("{machine_id}", "nobody"))
    words = _holds(document, path, answer, 404)["error"]
    assert words == "The inventory has no machine nobody."


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in PATHS
        if path.split("/")[3] in ("alerts", "can", "changes", "placement", "recipes", "report")
    ],
)
def test_what_a_dashboard_does_not_keep_is_refused_as_it_says(
    services: Services, document: dict[str, Any], path: str
) -> None:
    client = create_app(
        dataclasses.replace(services, alerts=None, audit=None, production=None, reports=None)
    ).test_client()
    assert "no" in _holds(document, path, client.get(path), 404)["error"]


def test_a_database_that_fails_is_told_as_it_says(
    services: Services, document: dict[str, Any], tmp_path: Path
) -> None:
    engine = open_database(f"sqlite:///{(tmp_path / 'other.db').as_posix()}")
    with writing(engine) as connection:
        connection.execute(text("DROP TABLE jobs"))
    client = create_app(dataclasses.replace(services, jobs=JobStore(engine))).test_client()
    words = _holds(document, "/api/v1/jobs", client.get("/api/v1/jobs"), 503)["error"]
    assert "no such table: jobs" in words
    engine.dispose()


def test_an_unchanged_chart_is_told_as_it_says(
    client: FlaskClient, document: dict[str, Any]
) -> None:
    path = "/api/v1/machines/{machine_id}/charts"
    tag = client.get(_address(path)).headers["ETag"]
    answer = client.get(_address(path), headers={"If-None-Match": tag})
    assert str(answer.status_code) in document["paths"][path]["get"]["responses"]
    assert answer.status_code == 304


def test_a_week_says_what_was_lost_and_to_whom(client: FlaskClient) -> None:
    answer = client.get("/api/v1/report?week=2026-W48").json
    assert answer
    (mass,) = (tier for tier in answer["tiers"] if tier["tier"] == "mass")
    assert mass["had"]["lost_seconds"] == {"others": 3600.0}
    assert mass["machines"][0]["machine"] == "render-03"
    assert mass["machines"][0]["culprits_seconds"] == {"EldenRing.exe": 3600.0}


def test_the_document_tells_answers_from_what_is_none(document: dict[str, Any]) -> None:
    schema = {"$ref": "#/components/schemas/FleetAnswer", "components": document["components"]}
    for wrong in ({}, {"at": "now"}, {"machines": []}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(schema).validate(wrong)


def test_snapshots_are_the_agents_own(document: dict[str, Any]) -> None:
    told = document["components"]["schemas"]["MachineSnapshot"]["properties"]
    assert set(told) == set(MachineSnapshot.__struct_fields__)


def _address(path: str) -> str:
    return re.sub(r"{\w+}", PATHS[path], path)


def _in_query(document: dict[str, Any], path: str) -> list[dict[str, Any]]:
    found = document["paths"][path]["get"]["parameters"]
    return [parameter for parameter in found if parameter["in"] == "query"]


def _beside(parameter: dict[str, Any]) -> dict[str, float]:
    return {} if "format" in parameter["schema"] else BESIDE.get(parameter["name"], {})


def _bounds(schema: dict[str, Any]) -> list[str]:
    """The smallest that a figure may be, and the largest."""
    if schema["type"] == "string":
        return []
    return [str(schema[bound]) for bound in ("minimum", "maximum") if bound in schema]


def _holds(document: dict[str, Any], path: str, answer: TestResponse, status: int) -> Any:
    """Holds an answer to what the document says of it, and gives it."""
    assert answer.status_code == status, (path, answer.text)
    told = document["paths"][path]["get"]["responses"][str(status)]["content"][answer.mimetype]
    schema = {**told["schema"], "components": document["components"]}
    instance = json.loads(answer.data)
    jsonschema.Draft202012Validator(schema).validate(instance)
    return instance
