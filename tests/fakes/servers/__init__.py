"""Small real HTTP servers that play generation servers, on free ports of the loopback.

Each plays one kind, after that server's own source, which its docstring names. ``fault`` makes any
of them slow, broken, huge, or closed to strangers.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec

Fault = Literal["slow", "broken", "huge", "unauthorised", "failing", "not JSON"]
FAULTS: tuple[tuple[Fault, str], ...] = (
    ("slow", "does not answer in time"),
    ("unauthorised", "wants a login that the agent does not have (401)"),
    ("failing", "answers with status 500"),
    ("broken", "does not answer with JSON"),
    ("not JSON", "does not answer with JSON"),
    ("huge", "answers with more than 4194304 bytes"),
)
"""Each fault, and what is to be said of it."""
Page = Callable[[dict[str, str], dict[str, Any]], object]


class Clock:
    """Unix seconds that a test moves."""

    def __init__(self, now: float = 1_764_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Answer(msgspec.Struct):
    """An answer with a status of its own."""

    status: int
    body: object = None


class FakeServer:
    """A server of ``pages``: "GET /path" to what answers it, from the query and the JSON body."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[str] = []
        self.fault: Fault | None = None
        self.faulty_page: str | None = None
        """The only page that the fault is in; None: all."""
        self._released = threading.Event()
        self._http: _Server | None = None
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        return self._port

    def start(self) -> None:
        """Listens, after a stop on the same port."""
        self._http = _Server(("127.0.0.1", self._port), self)
        self._port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Stops as a process that is ended: connections break, and nothing listens any more."""
        self._released.set()
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http.break_connections()
            self._http = None
        self._released = threading.Event()

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def answer(self, asked: str, query: dict[str, str], body: dict[str, Any]) -> Answer:
        """What it answers to "GET /path"; FastAPI's 404 to what it does not know."""
        self.asked.append(asked)
        page = self.pages.get(asked)
        if page is None:
            return Answer(404, {"detail": "Not Found"})
        told = page(query, body)
        return told if isinstance(told, Answer) else Answer(200, told)

    def bytes_of(self, asked: str, answer: Answer) -> tuple[int, bytes]:
        """An answer as it goes out, with the fault that the server has."""
        text = json.dumps(answer.body).encode()
        if self.fault is None or (self.faulty_page or asked) != asked:
            return answer.status, text
        if self.fault == "slow":
            self._released.wait(30)
        if self.fault == "unauthorised":
            return 401, b'{"detail": "Not authenticated"}'
        if self.fault == "failing":
            return 500, b"Internal Server Error"
        if self.fault == "broken":
            return answer.status, text[: len(text) // 2]
        if self.fault == "not JSON":
            return answer.status, b"<!doctype html><title>Login</title>"
        return answer.status, b"[" + b"0," * (5 * 2**20) + b"0]" if self.fault == "huge" else text


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], fake: FakeServer) -> None:
        self.fake = fake
        self._open: list[socket.socket] = []
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.append(connection)
        return connection, address

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error of a test."""

    def break_connections(self) -> None:
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed already


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        self._serve({})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self._serve(json.loads(self.rfile.read(length) or b"{}"))

    def _serve(self, body: dict[str, Any]) -> None:
        address = urlsplit(self.path)
        asked = f"{self.command} {address.path}"
        assert isinstance(self.server, _Server)
        fake = self.server.fake
        answer = fake.answer(asked, dict(parse_qsl(address.query)), body)
        status, text = fake.bytes_of(asked, answer)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""
