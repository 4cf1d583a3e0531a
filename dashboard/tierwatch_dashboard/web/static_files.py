"""Static files whose addresses change with their contents, so that a browser may keep them."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from flask import Flask, Response, request, url_for

KEPT_SECONDS = 365 * 86400


def init_app(app: Flask) -> None:
    """Gives the templates ``asset(name)``, and versioned files a long life in the browser."""
    folder = Path(app.static_folder or "")

    def asset(name: str) -> str:
        return url_for("static", filename=name, v=_digest(folder / name))

    app.add_template_global(asset, "asset")
    app.after_request(_keep)


@cache
def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _keep(response: Response) -> Response:
    if request.endpoint == "static" and "v" in request.args and response.status_code == 200:
        response.headers["Cache-Control"] = f"public, max-age={KEPT_SECONDS}, immutable"
    return response
