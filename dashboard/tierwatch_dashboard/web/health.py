"""Whether the dashboard runs, and whether it knows its fleet yet."""

from __future__ import annotations

from flask import Blueprint, Response

from tierwatch_dashboard.app import services

bp = Blueprint("health", __name__)


@bp.get("/healthz")
def healthz() -> Response:
    """200 as long as the process answers."""
    return Response("ok\n", mimetype="text/plain")


@bp.get("/readyz")
def readyz() -> Response:
    """200 once every machine was asked at least once; 503 and the reason until then."""
    views = services().state.views()
    unasked = sum(view.heard_at is None and view.error is None for view in views)
    if unasked:
        return Response(
            f"{unasked} of {len(views)} machines not asked yet\n", 503, mimetype="text/plain"
        )
    return Response("ready\n", mimetype="text/plain")
