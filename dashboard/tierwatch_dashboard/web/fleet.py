"""The fleet page: the studio in one sentence, its tiers, and the machines that a view asks for."""

from __future__ import annotations

from typing import cast

from flask import Blueprint, Flask, Response, abort, current_app, render_template, request
from flask.blueprints import BlueprintSetupState
from flask.ctx import RequestContext

from tierwatch_agent.words import say
from tierwatch_dashboard.app import services
from tierwatch_dashboard.config import SMALLEST
from tierwatch_dashboard.web.board import STEP, Heading
from tierwatch_dashboard.web.boards import Boards
from tierwatch_dashboard.web.choosing import Asked, AskedError, asked_in
from tierwatch_dashboard.web.language import COOKIE, language, spoken
from tierwatch_dashboard.web.rows import Row
from tierwatch_dashboard.web.selects import selects

bp = Blueprint("fleet", __name__)

_EXTENSION = "tierwatch.boards"
_MOST = 100_000
"""Machines in a window."""


@bp.record_once
def _set_up(state: BlueprintSetupState) -> None:
    app = cast(Flask, state.app)
    row_template = app.jinja_env.get_template("fleet/row.html")
    heading_template = app.jinja_env.get_template("fleet/heading.html")

    def render(row: Row) -> str:
        return row_template.render(row=row).strip()

    def render_heading(key: str, heading: Heading) -> str:
        return heading_template.render(key=key, heading=heading).strip()

    with app.app_context():
        app.extensions[_EXTENSION] = Boards(
            services(),
            render=render,
            render_heading=render_heading,
            spoken=spoken,
            language=language,
        )


def look(app: Flask) -> None:
    """Takes in what became of the fleet for the pages that are open; for the background."""

    def speaking(code: str) -> RequestContext:
        return app.test_request_context(headers={"Cookie": f"{COOKIE}={code}"})

    cast(Boards, app.extensions[_EXTENSION]).look(speaking)


def _boards() -> Boards:
    return cast(Boards, current_app.extensions[_EXTENSION])


@bp.get("/")
def page() -> str:
    """The whole page; the address says which machines (see ``choosing``), ``shown`` how many."""
    asked, shown = _asked()
    found, dated = _boards().found(asked, shown)
    return render_template(
        "fleet/page.html",
        asked=asked,
        shown=shown,
        found=found,
        dated=dated,
        selects=tuple(selects(asked, _boards().options())),
        smallest=SMALLEST,
        stored=services().inventory_is_stored,
    )


@bp.get("/fleet/found")
def found() -> Response:
    """What a view lists, for a page that asks for another one."""
    asked, shown = _asked()
    found, _ = _boards().found(asked, shown)
    html = render_template("fleet/found.html", asked=asked, shown=shown, found=found)
    return Response(html, mimetype="text/html")


@bp.get("/fleet/changes")
def changes() -> Response:
    """What an open page must swap: 204 where nothing changed, a reload after a restart."""
    asked, shown = _asked()
    found = _boards().changes(asked, request.args.get("since", ""), shown)
    if found is None:
        return Response(status=204, headers={"HX-Refresh": "true"})
    if found.none:
        return Response(status=204)
    html = render_template("fleet/changes.html", asked=asked, shown=shown, changes=found)
    return Response(html, mimetype="text/html")


def _asked() -> tuple[Asked, int]:
    """What the address asks for; answers 400 in words where that cannot be."""
    shown = request.args.get("shown") or str(STEP)
    if not (shown.isascii() and shown.isdecimal() and len(shown) < 10):
        abort(400, say("shown must be a number of machines; it is {shown}", shown=shown))
    try:
        return asked_in(request.args), min(max(int(shown), STEP), _MOST)
    except AskedError as error:
        abort(400, error.args[0])
