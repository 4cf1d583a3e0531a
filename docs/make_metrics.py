"""Writes ``metrics.md`` from the catalogue: ``make docs``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tierwatch_agent.catalogue import AGENT, DASHBOARD, Metric

PAGE = Path(__file__).with_name("metrics.md")
INTRODUCTION = """\
# Metrics

Every family that Tierwatch exposes; made from `tierwatch_agent/catalogue.py` by `make docs`.

Units are base units. What is unknown is absent, never 0. Agent series carry no `machine` label but
in `tierwatch_machine_info`: a target's own labels say which machine it is.
"""


def page() -> str:
    """The whole page."""
    return "\n".join(
        [
            INTRODUCTION,
            "## Of an agent",
            "",
            *_table(AGENT.values()),
            "",
            "## Of the dashboard",
            "",
            *_table(DASHBOARD.values()),
            "",
        ]
    )


def _table(metrics: Iterable[Metric]) -> list[str]:
    rows = [
        f"| `{metric.name}` | {metric.type} | {', '.join(f'`{label}`' for label in metric.labels)} "
        f"| {metric.help} |"
        for metric in metrics
    ]
    return ["| family | type | labels | what it tells |", "| --- | --- | --- | --- |", *rows]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
