"""Asks a server on this machine for JSON: bounded in time and size, one connection kept."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from tierwatch_agent import __version__
from tierwatch_agent.servers import ServerError

TIMEOUT_SECONDS = 3.0
LARGEST_BYTES = 4 * 2**20
CHUNK_BYTES = 2**16


class NoSuchPage(ServerError):
    """The server answers, and has no such page (404 or 405)."""


class LoginWanted(ServerError):
    """The server answers, and wants to know who asks (401 or 403)."""


class TooLarge(ServerError):
    """The page is larger than was asked for."""


class NotJson(ServerError):
    """The page is there, and is none that a program reads."""


class NotUnderstood(ServerError):
    """The server does not know what was asked of the page (400): an older or a newer version."""


class Client:
    """One server's address and the connection to it. For one thread."""

    def __init__(self, url: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._address = urlsplit(url)
        self._timeout_seconds = timeout_seconds
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str, largest_bytes: int = LARGEST_BYTES) -> Any:
        """The JSON of a page; ServerError says why there is none."""
        return self._ask("GET", path, None, largest_bytes)

    def post(self, path: str, body: Mapping[str, Any], largest_bytes: int = LARGEST_BYTES) -> Any:
        """The JSON that a page answers to a JSON body, for APIs that are read by POST."""
        return self._ask("POST", path, json.dumps(body).encode(), largest_bytes)

    def patch(self, path: str, body: Mapping[str, Any]) -> None:
        """Sends a JSON body to a page whose answer has nothing to read."""
        self._answered("PATCH", path, json.dumps(body).encode(), CHUNK_BYTES)

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, method: str, path: str, body: bytes | None, largest_bytes: int) -> Any:
        text = self._answered(method, path, body, largest_bytes)
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise NotJson(f"{path} does not answer with JSON") from error

    def _answered(self, method: str, path: str, body: bytes | None, largest_bytes: int) -> bytes:
        try:
            status, text = self._exchange(method, path, body, largest_bytes)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise ServerError(f"{path} {_why(error)}") from error
        if status in (404, 405):
            raise NoSuchPage(f"{path} is not there")
        if status in (401, 403):
            raise LoginWanted(f"{path} wants a login that the agent does not have ({status})")
        if status == 400:
            raise NotUnderstood(f"{path} does not know what was asked of it (400)")
        if status != 200:
            raise ServerError(f"{path} answers with status {status}")
        return text

    def _exchange(
        self, method: str, path: str, body: bytes | None, largest_bytes: int
    ) -> tuple[int, bytes]:
        fresh = self._connection is None
        try:
            return self._request(method, path, body, largest_bytes)
        except (ConnectionError, http.client.RemoteDisconnected):
            # A server may close a kept connection at any time: that is no failure of the server.
            self.close()
            if fresh:
                raise
            return self._request(method, path, body, largest_bytes)

    def _request(
        self, method: str, path: str, body: bytes | None, largest_bytes: int
    ) -> tuple[int, bytes]:
        connection = self._connection = self._connection or self._connect()
        headers = {"Accept": "application/json", "User-Agent": f"tierwatch-agent/{__version__}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = bytearray()
        until = time.monotonic() + self._timeout_seconds
        while chunk := answer.read1(CHUNK_BYTES):
            text += chunk
            if len(text) > largest_bytes:
                self.close()
                raise TooLarge(f"{path} answers with more than {largest_bytes} bytes")
            if time.monotonic() > until:
                raise TimeoutError
        # Read to its end, it still counts as open: the connection would take no further request.
        answer.close()
        if answer.will_close:
            self.close()
        return answer.status, bytes(text)

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._address.hostname or "127.0.0.1", self._address.port
        if self._address.scheme == "https":
            return http.client.HTTPSConnection(
                host, port, timeout=self._timeout_seconds, context=trusting()
            )
        return http.client.HTTPConnection(host, port, timeout=self._timeout_seconds)


def trusting() -> ssl.SSLContext:
    """For https on this machine, where a certificate is as a rule the server's own.

    Nothing secret is sent.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _why(error: OSError | http.client.HTTPException) -> str:
    if isinstance(error, TimeoutError | socket.timeout):
        return "does not answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "is refused: nothing listens there"
    return f"cannot be read: {str(error) or type(error).__name__}"
