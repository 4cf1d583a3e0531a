"""The fleet page: the studio in one sentence, its tiers, and every machine, worst first."""

from __future__ import annotations

from typing import cast

from flask import Blueprint, Flask, Response, current_app, render_template, request
from flask.blueprints import BlueprintSetupState

from tierwatch_dashboard.app import services
from tierwatch_dashboard.config import SMALLEST
from tierwatch_dashboard.web.board import Board
from tierwatch_dashboard.web.rows import Row

bp = Blueprint("fleet", __name__)

_EXTENSION = "tierwatch.board"


@bp.record_once
def _set_up(state: BlueprintSetupState) -> None:
    app = cast(Flask, state.app)
    template = app.jinja_env.get_template("fleet/row.html")

    def render(row: Row) -> str:
        return template.render(row=row).strip()

    with app.app_context():
        app.extensions[_EXTENSION] = Board(services(), render)


def _board() -> Board:
    return cast(Board, current_app.extensions[_EXTENSION])


@bp.get("/")
def page() -> str:
    """The whole page."""
    return render_template("fleet/page.html", page=_board().page(), smallest=SMALLEST)


@bp.get("/fleet/changes")
def changes() -> Response:
    """What an open page must swap: 204 where nothing changed, a reload after a restart."""
    found = _board().changes(request.args.get("since", ""))
    if found is None:
        return Response(status=204, headers={"HX-Refresh": "true"})
    if found.token == request.args.get("since"):
        return Response(status=204)
    return Response(render_template("fleet/changes.html", changes=found), mimetype="text/html")
