"""What every answer carries: security headers, and compression where the asker takes it; JSON."""

from __future__ import annotations

import gzip
from functools import lru_cache

import msgspec
from flask import Flask, Response, request

from tierwatch_agent.words import english

# Plotly writes its rules into a style element that it adds empty: this is the digest of nothing.
_EMPTY_STYLE = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"

HEADERS: dict[str, str] = {
    "Content-Security-Policy": f"default-src 'self'; style-src 'self' {_EMPTY_STYLE}; "
    "img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_COMPRESSED = ("text/", "application/json", "application/javascript", "image/svg+xml")
_SMALLEST = 600

_encoder = msgspec.json.Encoder(enc_hook=english)


def json(answer: object) -> Response:
    """A struct as an answer; sentences are the English that they are."""
    return Response(_encoder.encode(answer), mimetype="application/json")


def init_app(app: Flask) -> None:
    """Adds the headers and compresses, for every answer of the application."""
    app.after_request(_compress)
    app.after_request(_secure)


def _secure(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _compress(response: Response) -> Response:
    if response.status_code != 200 or not (response.mimetype or "").startswith(_COMPRESSED):
        return response
    response.headers["Vary"] = "Accept-Encoding"
    if "gzip" not in request.accept_encodings or "Content-Encoding" in response.headers:
        return response
    if response.is_streamed and request.endpoint != "static":
        # Made as it is sent, so that it is never held whole.
        return response
    if request.endpoint == "static":
        response.direct_passthrough = False
        packed = _packed_once(response.get_data())
    elif (response.content_length or _SMALLEST) >= _SMALLEST:
        packed = gzip.compress(response.get_data(), compresslevel=3, mtime=0)
    else:
        return response
    response.set_data(packed)
    response.headers["Content-Encoding"] = "gzip"
    return response


@lru_cache(maxsize=16)
def _packed_once(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)
