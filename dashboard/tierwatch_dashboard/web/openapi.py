"""The API's OpenAPI document, made of its routes and of the types that they answer with.

A route says beside its function what it answers with (``@answers_with(...)``); its summary is that
function's docstring. So the document cannot lack a route, and cannot tell of another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec
from flask import Blueprint, Flask, Response, current_app
from werkzeug.routing import Rule

from tierwatch_dashboard import __version__

bp = Blueprint("openapi", __name__, url_prefix="/api/v1")

JSON = "application/json"
PREFIX = "/api/v1/"

DESCRIPTION = """\
Everything that the dashboard's pages show. It only reads.

Names bear their unit: bytes, seconds, ratios from 0 to 1, celsius, watts, hertz, joules. Moments
(`at`, `since`, `…_at`) are Unix seconds by the dashboard's clock. `vram_gb` is in gigabytes of
10^9 bytes, as cards are sold. What is not known is null or left out: never 0, never "N/A".
Sentences are in English. New fields may come; those that are there keep their names and meaning.
"""

_ATTRIBUTE = "tierwatch_answers"
_PATH_VARIABLE = re.compile(r"<(?:[a-z]+:)?(\w+)>")

View = TypeVar("View", bound=Callable[..., Any])


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no answer, in words with the mend."""

    error: str


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a query; what is left out asks for everything, or for the schema's default."""

    name: str
    words: str
    schema: Mapping[str, Any] = MappingProxyType({"type": "string"})
    required: bool = False


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """What a route takes and answers with; ``answer`` None: an object of its own kind."""

    answer: type | None
    parameters: tuple[Parameter, ...]
    refusals: Mapping[int, str]
    unchanged: bool


def answers_with(
    answer: type | None,
    *parameters: Parameter,
    refusals: Mapping[int, str] | None = None,
    unchanged: bool = False,
) -> Callable[[View], View]:
    """Says of a route what it answers with; ``unchanged``: it may answer 304 to an ETag."""

    def say_so(view: View) -> View:
        described = Described(
            answer=answer, parameters=parameters, refusals=refusals or {}, unchanged=unchanged
        )
        setattr(view, _ATTRIBUTE, described)
        return view

    return say_so


@bp.get("/openapi.json")
@answers_with(None)
def openapi() -> Response:
    """This document, in OpenAPI 3.1."""
    return Response(document(current_app), mimetype=JSON)


def document(app: Flask) -> bytes:
    """The document of an application's routes, as JSON."""
    routes = {rule.rule: rule for rule in app.url_map.iter_rules() if rule.rule.startswith(PREFIX)}
    described = {path: _described(app, rule) for path, rule in sorted(routes.items())}
    kinds = [each.answer for each in described.values() if each.answer is not None]
    references, schemas = msgspec.json.schema_components(
        [Refusal, *kinds], schema_hook=_whatever, ref_template="#/components/schemas/{name}"
    )
    by_kind = dict(zip([Refusal, *kinds], references, strict=True))
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Tierwatch",
                "version": __version__,
                "description": DESCRIPTION,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "paths": {
                _PATH_VARIABLE.sub(r"{\1}", path): {
                    "get": _operation(app, routes[path], told, by_kind)
                }
                for path, told in described.items()
            },
            "components": {"schemas": schemas},
        }
    )


def _whatever(kind: type) -> dict[str, Any]:
    if kind is object:
        return {"description": "As Plotly takes it; its own documents say what that is."}
    raise NotImplementedError(f"{kind} has no schema")


def _described(app: Flask, rule: Rule) -> Described:
    view = app.view_functions[rule.endpoint]
    found = getattr(view, _ATTRIBUTE, None)
    if not isinstance(found, Described):
        raise TypeError(
            f"{rule.rule} does not say what it answers with: give it @answers_with(...)"
        )
    return found


def _operation(
    app: Flask, rule: Rule, told: Described, by_kind: Mapping[Any, Any]
) -> dict[str, Any]:
    summary = (app.view_functions[rule.endpoint].__doc__ or "").partition("\n")[0]
    return {
        "operationId": rule.endpoint.replace(".", "_"),
        "summary": summary.removesuffix("."),
        "parameters": [*_in_path(rule), *_in_query(told.parameters)],
        "responses": {
            "200": _content(
                summary, {"type": "object"} if told.answer is None else by_kind[told.answer]
            ),
            **({"304": {"description": "The asker has it already."}} if told.unchanged else {}),
            **{
                str(status): _content(words, by_kind[Refusal])
                for status, words in sorted(_refusals(told, rule).items())
            },
        },
    }


def _refusals(told: Described, rule: Rule) -> dict[int, str]:
    found = dict(told.refusals)
    if "machine_id" in _variables(rule):
        found.setdefault(404, "The inventory has no such machine.")
    if told.parameters:
        found.setdefault(400, "A part of the query is wrong; the text names it and its mend.")
    if told.answer is not None:
        found.setdefault(503, "The database gives no answer.")
    return found


def _variables(rule: Rule) -> list[str]:
    return _PATH_VARIABLE.findall(rule.rule)


def _in_path(rule: Rule) -> Iterator[dict[str, Any]]:
    for name in _variables(rule):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _in_query(parameters: tuple[Parameter, ...]) -> Iterator[dict[str, Any]]:
    for each in parameters:
        yield {
            "name": each.name,
            "in": "query",
            "description": each.words,
            **({"required": True} if each.required else {}),
            "schema": dict(each.schema),
        }


def _content(description: str, schema: Any) -> dict[str, Any]:
    return {"description": description, "content": {JSON: {"schema": schema}}}
