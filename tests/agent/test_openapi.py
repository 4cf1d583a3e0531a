"""The OpenAPI document, held against what the agent really answers."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from tests.agent.reporting import ServedJobs

PATH = "/api/v1/openapi.json"
START = {"pid": os.getpid(), "model": "sdxl", "width": 64, "height": 64, "steps": 9, "gpu": "0"}
STEP = {"server_port": 8188, "prompt_id": "p", "step": 1, "steps": 2, "event": "progress"}


@pytest.fixture
def agent() -> Iterator[ServedJobs]:
    with ServedJobs() as agent:
        yield agent


def test_it_is_served_and_its_references_lead_somewhere(agent: ServedJobs) -> None:
    status, kind, document = agent.ask("GET", PATH)
    assert (status, kind) == (200, "application/json")
    assert document["openapi"].startswith("3.1")
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)):
        schema = document["components"]["schemas"][name]
        jsonschema.Draft202012Validator.check_schema(schema)
    operations = [
        operation["operationId"]
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    assert len(operations) == len(set(operations))


def test_every_answer_is_as_the_document_says(agent: ServedJobs) -> None:
    document = agent.ask("GET", PATH)[2]
    job = agent.ask("POST", "/api/v1/jobs", START)[2]["id"]
    gone = "0" * 32
    success = {"outcome": "success"}
    requests: list[tuple[str, str, str, Any, int]] = [
        ("get", "/metrics", "/metrics", None, 200),
        ("get", "/api/v1/snapshot", "/api/v1/snapshot", None, 200),
        ("get", "/healthz", "/healthz", None, 503),
        ("get", PATH, PATH, None, 200),
        ("post", "/api/v1/jobs", "/api/v1/jobs", START, 201),
        ("post", "/api/v1/jobs", "/api/v1/jobs", {"pid": "x"}, 400),
        ("post", "/api/v1/jobs", "/api/v1/jobs", b" " * 70000, 413),
        ("post", "/api/v1/jobs/{id}/progress", f"/api/v1/jobs/{job}/progress", {"step": 1}, 200),
        ("post", "/api/v1/jobs/{id}/progress", f"/api/v1/jobs/{gone}/progress", {"step": 1}, 404),
        ("post", "/api/v1/jobs/{id}/finish", f"/api/v1/jobs/{job}/finish", success, 200),
        ("post", "/api/v1/jobs/{id}/finish", f"/api/v1/jobs/{job}/finish", success, 409),
        ("get", "/api/v1/jobs", "/api/v1/jobs", None, 200),
        ("post", "/api/v1/servers/steps", "/api/v1/servers/steps", STEP, 200),
    ]
    for method, template, path, body, expected in requests:
        status, kind, answer = agent.ask(method.upper(), path, body)
        assert status == expected, (path, answer)
        operation = document["paths"][template][method]
        if body is not None and status < 300:
            _holds(document, body, operation["requestBody"]["content"]["application/json"])
        contents = operation["responses"][str(status)]["content"]
        described = {name.partition(";")[0]: content for name, content in contents.items()}
        _holds(document, answer, described[kind.partition(";")[0]])
    told = {template for _, template, *_ in requests}
    assert told == document["paths"].keys()


def test_what_the_document_forbids_the_agent_refuses(agent: ServedJobs) -> None:
    document = agent.ask("GET", PATH)[2]
    content = document["paths"]["/api/v1/jobs"]["post"]["requestBody"]["content"]
    for wrong in ({}, {"pid": 0}, {**START, "width": 0}, {**START, "model": "x" * 201}):
        with pytest.raises(jsonschema.ValidationError):
            _holds(document, wrong, content["application/json"])
        assert agent.ask("POST", "/api/v1/jobs", wrong)[0] == 400


def _holds(document: dict[str, Any], instance: Any, content: dict[str, Any]) -> None:
    schema = {**content["schema"], "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(instance)
