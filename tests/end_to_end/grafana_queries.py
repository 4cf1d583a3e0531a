"""The queries of a Grafana dashboard, as Grafana would send them once its variables are filled."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """One query and where it stands: a panel's title, a variable's name, "annotation"."""

    place: str
    expr: str


def queries_of(dashboard: Mapping[str, Any]) -> list[Query]:
    """Every query of a dashboard's panels, variables and annotations."""
    return list(_queries(dashboard))


def filled(expr: str, values: Mapping[str, str]) -> str:
    """A query with its variables filled: ``$machine``, ``$__range``, ``$__rate_interval``."""
    for name, value in values.items():
        expr = re.sub(rf"\$\{{?{name}\b\}}?", value, expr)
    return expr


def _queries(dashboard: Mapping[str, Any]) -> Iterator[Query]:
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield Query(place=panel["title"], expr=target["expr"])
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield Query(place=variable["name"], expr=_asked(variable["query"]))
    for annotation in dashboard["annotations"]["list"]:
        yield Query(place="annotation", expr=annotation["expr"])


def _asked(query: str) -> str:
    """The PromQL behind ``label_values(series, label)`` and ``query_result(query)``."""
    if within := re.fullmatch(r"query_result\((.*)\)", query):
        return within[1]
    found = re.fullmatch(r"label_values\((.*), (\w+)\)", query)
    assert found, f"{query} is neither label_values nor query_result"
    return f"count by ({found[2]}) ({found[1]})"
