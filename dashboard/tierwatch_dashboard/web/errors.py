"""What a page or the API says when it cannot answer."""

from __future__ import annotations

import msgspec
from flask import Flask, Response, render_template, request
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from tierwatch_agent.words import english, say
from tierwatch_dashboard.database import DatabaseError
from tierwatch_dashboard.history import HistoryError

TITLES: dict[int, str] = {
    400: say("This address asks for what cannot be"),
    403: say("That is not for you to do from there"),
    404: say("There is nothing here"),
    405: say("This address takes no such request"),
    500: say("The dashboard failed at this page"),
    503: say("The dashboard cannot answer now"),
}
"""Status to what a page says in large; another bears its standard name."""

MENDS: dict[int, str] = {
    404: say("The address leads to no page of this dashboard; perhaps a letter of it is missing."),
    405: say("It is there for a form of another page: open that page and send it from there."),
    500: say("The dashboard's log says why. The machines are watched and judged all the same."),
}
"""Status to what a page says where whoever gave it up said nothing."""


def init_app(app: Flask) -> None:
    """Answers every HTTP error in words: a page, or JSON below ``/api/``."""
    app.register_error_handler(HTTPException, _say)
    app.register_error_handler(DatabaseError, _say_database)
    app.register_error_handler(HistoryError, _say_history)


def _say(error: HTTPException) -> Response:
    status = error.code or 500
    words = error.description or error.name
    if words == type(error).description:
        words = MENDS.get(status, words)
    if request.path.startswith("/api/"):
        document = msgspec.json.encode({"error": words}, enc_hook=english)
        return Response(document, status, mimetype="application/json")
    page = render_template("error.html", title=TITLES.get(status, error.name), words=words)
    return Response(page, status, mimetype="text/html")


def _say_database(error: DatabaseError) -> Response:
    return _say(ServiceUnavailable(say("The database gives no answer: {error}", error=error)))


def _say_history(error: HistoryError) -> Response:
    return _say(ServiceUnavailable(error.args[0]))
