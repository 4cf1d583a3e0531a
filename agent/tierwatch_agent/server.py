"""The agent's HTTP: /metrics, /api/v1/snapshot, /healthz from the current snapshot; reported jobs.

No request reaches a driver, and what was rendered of a snapshot once is not rendered again.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs

from cheroot.wsgi import Server

from tierwatch_agent import openapi
from tierwatch_agent import snapshot as contract
from tierwatch_agent.answers import (
    JSON_TYPE,
    NOT_ALLOWED,
    NOT_FOUND,
    OK,
    UNAVAILABLE,
    Answer,
    plain,
)
from tierwatch_agent.exposition import OPENMETRICS_TYPE, TEXT_TYPE, render
from tierwatch_agent.job_api import LARGEST_BYTES, JobApi
from tierwatch_agent.servers.reported import ReportedJobs
from tierwatch_agent.servers.step_reports import StepReports
from tierwatch_agent.snapshot import MachineSnapshot

STUCK_AFTER_INTERVALS = 10
EXPIRATION_SECONDS = 5.0

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Rendered:
    """Documents of the current snapshot, each made once. Safe to call from several threads."""

    def __init__(self, current: Callable[[], MachineSnapshot]) -> None:
        self._current = current
        self._lock = threading.Lock()
        self._of: MachineSnapshot | None = None
        self._documents: dict[tuple[Any, ...], bytes] = {}

    def metrics(self, *, openmetrics: bool, names: frozenset[str], gzipped: bool) -> bytes:
        """The exposition."""
        return self._document(
            ("metrics", openmetrics, names),
            lambda snapshot: render(snapshot, openmetrics=openmetrics, names=names),
            gzipped=gzipped,
        )

    def snapshot(self, *, gzipped: bool) -> bytes:
        """The snapshot as JSON."""
        return self._document(("snapshot",), contract.encode, gzipped=gzipped)

    def _document(
        self, key: tuple[Any, ...], make: Callable[[MachineSnapshot], bytes], *, gzipped: bool
    ) -> bytes:
        with self._lock:
            snapshot = self._current()
            if snapshot is not self._of:
                self._of, self._documents = snapshot, {}
            if key not in self._documents:
                self._documents[key] = make(snapshot)
            if gzipped and (*key, "gzip") not in self._documents:
                # Level 1: a twentieth larger than level 6 here, in a third of its time.
                self._documents[(*key, "gzip")] = gzip.compress(self._documents[key], 1)
            return self._documents[(*key, "gzip") if gzipped else key]


class Application:
    """The WSGI application over a source of snapshots."""

    def __init__(
        self,
        current: Callable[[], MachineSnapshot],
        jobs: JobApi,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._current = current
        self._jobs = jobs
        self._now = now
        self._rendered = Rendered(current)

    def __call__(self, environ: Mapping[str, Any], start: StartResponse) -> Iterable[bytes]:
        """Answers one request."""
        status, headers, body = self._answer(environ)
        start(status, [*headers, ("Content-Length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _answer(self, environ: Mapping[str, Any]) -> Answer:
        if self._jobs.serves(environ["PATH_INFO"]):
            return self._jobs.answer(environ)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return plain(NOT_ALLOWED, "only GET", ("Allow", "GET, HEAD"))
        match environ["PATH_INFO"]:
            case "/metrics":
                return self._metrics(environ)
            case "/api/v1/snapshot":
                return self._snapshot(environ)
            case openapi.PATH:
                return OK, [("Content-Type", JSON_TYPE)], openapi.document()
            case "/healthz":
                return self._health()
            case "/":
                return self._index()
            case path:
                return plain(NOT_FOUND, f"no such page: {path}")

    def _metrics(self, environ: Mapping[str, Any]) -> Answer:
        openmetrics = _prefers_openmetrics(environ.get("HTTP_ACCEPT", ""))
        names = frozenset(parse_qs(environ.get("QUERY_STRING", "")).get("name[]", ()))
        gzipped = _accepts_gzip(environ)
        body = self._rendered.metrics(openmetrics=openmetrics, names=names, gzipped=gzipped)
        return OK, _headers(OPENMETRICS_TYPE if openmetrics else TEXT_TYPE, gzipped=gzipped), body

    def _snapshot(self, environ: Mapping[str, Any]) -> Answer:
        tag = f'"{self._current().taken_at!r}"'
        if environ.get("HTTP_IF_NONE_MATCH") == tag:
            return "304 Not Modified", [("ETag", tag)], b""
        gzipped = _accepts_gzip(environ)
        headers = [*_headers(JSON_TYPE, gzipped=gzipped), ("ETag", tag)]
        return OK, headers, self._rendered.snapshot(gzipped=gzipped)

    def _health(self) -> Answer:
        snapshot = self._current()
        age = self._now() - snapshot.taken_at
        if age > STUCK_AFTER_INTERVALS * snapshot.interval_seconds:
            text = f"the last snapshot is {age:.0f} s old: the sampler is stuck"
            return plain(UNAVAILABLE, text)
        return plain(OK, "ok")

    def _index(self) -> Answer:
        snapshot = self._current()
        return plain(
            OK,
            f"Tierwatch agent {snapshot.agent_version} of machine {snapshot.machine}\n"
            f"/metrics  /api/v1/snapshot  /api/v1/jobs  {openapi.PATH}  /healthz",
        )


class _Server(Server):
    """Cheroot, which at rest looks up only every ``EXPIRATION_SECONDS``, but ends at once."""

    def stop(self) -> None:
        """Ends it; what connects wakes it, so it is connected to until it has noticed."""
        host, port = self.socket.getsockname()[:2]
        loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        stopping = threading.Thread(target=super().stop)
        stopping.start()
        while stopping.is_alive():
            with (
                contextlib.suppress(OSError),
                socket.create_connection((loopback, port), timeout=1),
            ):
                stopping.join(0.1)


def http_server(
    host: str,
    port: int,
    current: Callable[[], MachineSnapshot],
    *,
    reported: ReportedJobs | None = None,
    steps: StepReports | None = None,
) -> Server:
    """A server of the agent's pages, not yet bound. Port 0: any free one."""
    jobs = JobApi(reported or ReportedJobs(), steps or StepReports(), current)
    server = _Server((host, port), Application(current, jobs), numthreads=2, max=8)
    server.server_name = "tierwatch-agent"
    # How often it looks for connections to close, where it has nothing else to do: twice a second
    # by default, which is a fifth of all that an idle agent costs.
    server.expiration_interval = EXPIRATION_SECONDS
    server.max_request_body_size = LARGEST_BYTES
    return server


def _headers(content_type: str, *, gzipped: bool) -> list[tuple[str, str]]:
    headers = [("Content-Type", content_type), ("Vary", "Accept, Accept-Encoding")]
    return [*headers, ("Content-Encoding", "gzip")] if gzipped else headers


def _accepts_gzip(environ: Mapping[str, Any]) -> bool:
    return _quality(environ.get("HTTP_ACCEPT_ENCODING", ""), "gzip") > 0


def _prefers_openmetrics(accept: str) -> bool:
    openmetrics = _quality(accept, "application/openmetrics-text")
    return openmetrics > 0 and openmetrics >= _quality(accept, "text/plain")


def _quality(header: str, wanted: str) -> float:
    """The highest q of a value in an Accept header; 0 where it is not named."""
    best = 0.0
    for part in header.split(","):
        value, *parameters = (piece.strip() for piece in part.split(";"))
        if value.lower() == wanted:
            q = next((p[2:] for p in parameters if p.lower().startswith("q=")), "1")
            try:
                best = max(best, float(q))
            except ValueError:
                continue
    return best
