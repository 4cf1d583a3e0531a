"""What a page or the API says when it cannot answer."""

from __future__ import annotations

import msgspec
from flask import Flask, Response, render_template, request
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from tierwatch_dashboard.database import DatabaseError


def init_app(app: Flask) -> None:
    """Answers every HTTP error in words: a page, or JSON below ``/api/``."""
    app.register_error_handler(HTTPException, _say)
    app.register_error_handler(DatabaseError, _say_database)


def _say(error: HTTPException) -> Response:
    words = error.description or error.name
    status = error.code or 500
    if request.path.startswith("/api/"):
        return Response(msgspec.json.encode({"error": words}), status, mimetype="application/json")
    page = render_template("error.html", title=error.name, words=words)
    return Response(page, status, mimetype="text/html")


def _say_database(error: DatabaseError) -> Response:
    return _say(ServiceUnavailable(f"The database gives no answer: {error}"))
