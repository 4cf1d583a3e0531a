"""What a page of the agent answers: status, headers and body."""

from __future__ import annotations

from typing import Any

import msgspec

JSON_TYPE = "application/json"
PLAIN_TYPE = "text/plain; charset=utf-8"

OK = "200 OK"
CREATED = "201 Created"
BAD_REQUEST = "400 Bad Request"
FORBIDDEN = "403 Forbidden"
NOT_FOUND = "404 Not Found"
NOT_ALLOWED = "405 Method Not Allowed"
CONFLICT = "409 Conflict"
LENGTH_REQUIRED = "411 Length Required"
TOO_LARGE = "413 Content Too Large"
UNSUPPORTED = "415 Unsupported Media Type"
UNAVAILABLE = "503 Service Unavailable"

Answer = tuple[str, list[tuple[str, str]], bytes]


class Refusal(Exception):
    """A request that is not done; ends as a plain answer with its words."""

    def __init__(self, status: str, text: str, *headers: tuple[str, str]) -> None:
        super().__init__(text)
        self.answer = plain(status, text, *headers)


def plain(status: str, text: str, *headers: tuple[str, str]) -> Answer:
    """An answer in words."""
    return status, [("Content-Type", PLAIN_TYPE), *headers], f"{text}\n".encode()


def json(status: str, document: Any) -> Answer:
    """An answer as JSON."""
    return status, [("Content-Type", JSON_TYPE)], msgspec.json.encode(document)
