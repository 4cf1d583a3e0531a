"""The OpenAPI document of the agent's HTTP, made of the types that it reads and answers with."""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from tierwatch_agent import __version__
from tierwatch_agent.answers import JSON_TYPE
from tierwatch_agent.exposition import OPENMETRICS_TYPE, TEXT_TYPE
from tierwatch_agent.job_api import JOBS, STEPS, Jobs, JobStarted, ServerStep, Taken
from tierwatch_agent.servers.reported import JobFinish, JobProgress, JobStart
from tierwatch_agent.snapshot import JobRecord, MachineSnapshot, RunningJob

PATH = "/api/v1/openapi.json"

_TYPES = (
    MachineSnapshot,
    JobStart,
    JobStarted,
    JobProgress,
    RunningJob,
    JobFinish,
    JobRecord,
    Jobs,
    ServerStep,
    Taken,
)
_BAD = {
    400: "a field is wrong; the text names it",
    403: "asked from another machine, or by a web page",
    411: "no Content-Length",
    413: "the report has more than 64 KiB",
    415: "the report is not JSON",
}
_JOB_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "what the start answered",
    "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
}


@functools.cache
def document() -> bytes:
    """The document, as JSON."""
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Tierwatch agent",
                "version": __version__,
                "description": "One machine's GPUs and jobs. Jobs are reported from the machine "
                "itself alone; everything else is served wherever the agent listens.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "http://127.0.0.1:9838"}],
            "paths": _paths(),
            "components": {"schemas": schemas},
        }
    )


def _paths() -> dict[str, Any]:
    gone = {404: "no such job runs", 409: "the job is finished already"}
    return {
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "summary": "Everything as Prometheus metrics",
                "parameters": [
                    {
                        "name": "name[]",
                        "in": "query",
                        "description": "families to answer with; none: all",
                        "schema": {"type": "array", "items": {"type": "string"}},
                    }
                ],
                "responses": {
                    "200": {
                        "description": "the exposition",
                        "content": {TEXT_TYPE: _STRING, OPENMETRICS_TYPE: _STRING},
                    }
                },
            }
        },
        "/api/v1/snapshot": {
            "get": {
                "operationId": "snapshot",
                "summary": "The machine at this moment",
                "responses": {
                    **_answers(200, MachineSnapshot),
                    "304": {"description": "still the one whose ETag If-None-Match names"},
                },
            }
        },
        "/healthz": {
            "get": {
                "operationId": "health",
                "summary": "Whether the agent samples",
                "responses": _words({200: "it does", 503: "its sampler is stuck"}),
            }
        },
        PATH: {
            "get": {
                "operationId": "openapi",
                "summary": "This document",
                "responses": {
                    "200": {
                        "description": "OpenAPI 3.1",
                        "content": {JSON_TYPE: {"schema": {"type": "object"}}},
                    }
                },
            }
        },
        JOBS: {
            "get": {
                "operationId": "jobs",
                "summary": "Reported jobs: those that run, and the last that finished",
                "responses": {**_answers(200, Jobs), **_words({403: _BAD[403]})},
            },
            "post": _report(
                "start_job",
                "A job starts",
                JobStart,
                _answers(201, JobStarted),
                {503: "256 reported jobs run already"},
            ),
        },
        f"{JOBS}/{{id}}/progress": {
            "parameters": [_JOB_ID],
            "post": _report(
                "progress_job", "How far a job is", JobProgress, _answers(200, RunningJob), gone
            ),
        },
        f"{JOBS}/{{id}}/finish": {
            "parameters": [_JOB_ID],
            "post": _report("finish_job", "A job ended", JobFinish, _answers(200, JobRecord), gone),
        },
        STEPS: {
            "post": _report(
                "server_step",
                "Where the running prompt of a generation server is (its extension reports it)",
                ServerStep,
                _answers(200, Taken),
                {},
            )
        },
    }


_STRING = {"schema": {"type": "string"}}


def _content(kind: type) -> dict[str, Any]:
    return {JSON_TYPE: {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}


def _answers(status: int, kind: type) -> dict[str, Any]:
    summary = (kind.__doc__ or "").partition("\n")[0]
    return {str(status): {"description": summary, "content": _content(kind)}}


def _words(texts: dict[int, str]) -> dict[str, Any]:
    return {
        str(status): {"description": text, "content": {"text/plain": _STRING}}
        for status, text in sorted(texts.items())
    }


def _report(
    operation: str, summary: str, body: type, done: dict[str, Any], refused: dict[int, str]
) -> dict[str, Any]:
    return {
        "operationId": operation,
        "summary": summary,
        "requestBody": {"required": True, "content": _content(body)},
        "responses": {**done, **_words({**_BAD, **refused})},
    }
