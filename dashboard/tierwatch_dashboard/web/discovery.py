"""Whom Prometheus is to scrape: the inventory's machines, as its HTTP service discovery asks."""

from __future__ import annotations

from flask import Blueprint, Response

from tierwatch_dashboard.app import services
from tierwatch_dashboard.targets import document

bp = Blueprint("discovery", __name__)


@bp.get("/sd/prometheus")
def prometheus() -> Response:
    """Every machine with its labels, as of the inventory in force."""
    machines = services().inventory_file.current.machines
    return Response(document(machines), mimetype="application/json")
