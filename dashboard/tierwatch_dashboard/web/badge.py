"""The count of firing alerts, which every page bears in its title and beside its link to them.

Each answer to a page's question for news bears it too, in a header, so that a page that has no
other news shows the count as it is.
"""

from __future__ import annotations

from flask import Flask, Response, g

from tierwatch_dashboard.database import DatabaseError
from tierwatch_dashboard.web.alert_board import stands

HEADER = "Tierwatch-Alerts"


def init_app(app: Flask) -> None:
    """Gives the templates ``badge()``, and the answers that pages ask for their header."""
    app.add_template_global(badge, "badge")
    app.after_request(_tell)


def badge() -> int | None:
    """How many alerts fire and are not kept quiet; None: not known here."""
    if "badge" not in g:
        g.badge = _count()
    return g.badge


def _count() -> int | None:
    try:
        found = stands()
    except DatabaseError:
        # The background jobs say so, each in its own words; the fleet is shown without it.
        return None
    return None if found is None else len(found.firing)


def _tell(response: Response) -> Response:
    if response.status_code == 204 or response.mimetype == "text/html":
        count = badge()
        if count is not None:
            response.headers[HEADER] = str(count)
    return response
