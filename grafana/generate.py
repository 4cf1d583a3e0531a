"""Writes ``dashboards/*.json``: ``make grafana``. Needs Python 3.11, as Grafana's own SDK does."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana import capacity, fleet, jobs, machine

DASHBOARDS = {"fleet": fleet, "machine": machine, "jobs": jobs, "capacity": capacity}
"""File name to the module that builds it."""

FOLDER = Path(__file__).parent / "dashboards"


def document(name: str) -> str:
    """One dashboard as Grafana reads it."""
    built = DASHBOARDS[name].build().build()
    return json.dumps(built, cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def main() -> None:
    """Writes them all."""
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(document(name), encoding="utf-8")


if __name__ == "__main__":
    main()
