"""The routes by which scripts report their jobs, and ComfyUI's extension its steps: loopback only.

Whoever may run programs on this machine may report; nobody else can, no web page in a browser
either.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from tierwatch_agent import answers
from tierwatch_agent.answers import Answer, Refusal
from tierwatch_agent.servers.reported import (
    Count,
    FinishedAlready,
    JobFinish,
    JobProgress,
    JobStart,
    NotRunning,
    ReportedJobs,
    ReportError,
    Some,
    Text,
    TooManyJobs,
)
from tierwatch_agent.servers.step_reports import StepReports
from tierwatch_agent.snapshot import JobRecord, MachineSnapshot, RunningJob

JOBS = "/api/v1/jobs"
STEPS = "/api/v1/servers/steps"
LARGEST_BYTES = 2**16
SHOWN_FINISHED = 50

_STATUS: dict[type[ReportError], str] = {
    NotRunning: answers.NOT_FOUND,
    FinishedAlready: answers.CONFLICT,
    TooManyJobs: answers.UNAVAILABLE,
}
_JOB = re.compile(rf"{JOBS}/([0-9a-f]{{32}})/(progress|finish)")
_FORWARDED = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP")

T = TypeVar("T")


class JobStarted(msgspec.Struct, frozen=True):
    """The id by which a started job is reported on."""

    id: str


class Jobs(msgspec.Struct, frozen=True, kw_only=True):
    """The reported jobs that run, and the last that finished, the latest first."""

    running: tuple[RunningJob, ...]
    finished: tuple[JobRecord, ...]


class ServerStep(msgspec.Struct, frozen=True, kw_only=True):
    """Where the running prompt of a generation server is."""

    server_port: Annotated[int, Meta(ge=1, le=65535)]
    prompt_id: Text
    step: Count | None = None
    steps: Some | None = None
    event: Text | None = None
    """What the server called it."""


class Taken(msgspec.Struct, frozen=True):
    """A report was taken."""

    ok: bool = True


class JobApi:
    """Answers for everything under the two paths."""

    def __init__(
        self,
        reported: ReportedJobs,
        steps: StepReports,
        current: Callable[[], MachineSnapshot],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._reported = reported
        self._steps = steps
        self._current = current
        self._now = now

    def serves(self, path: str) -> bool:
        """Whether a path is one of its own."""
        return path in (JOBS, STEPS) or path.startswith(f"{JOBS}/")

    def answer(self, environ: Mapping[str, Any]) -> Answer:
        """Answers one request to such a path."""
        try:
            _refuse_strangers(environ)
            return self._route(environ)
        except Refusal as refusal:
            return refusal.answer
        except ReportError as error:
            return answers.plain(_STATUS.get(type(error), answers.BAD_REQUEST), str(error))

    def _route(self, environ: Mapping[str, Any]) -> Answer:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path == JOBS and method in ("GET", "HEAD"):
            return self._list()
        job = _JOB.fullmatch(path)
        if path not in (JOBS, STEPS) and job is None:
            raise Refusal(answers.NOT_FOUND, f"no such page: {path}")
        if method != "POST":
            allowed = "GET, HEAD, POST" if path == JOBS else "POST"
            raise Refusal(answers.NOT_ALLOWED, f"only {allowed}", ("Allow", allowed))
        if path == JOBS:
            started = self._reported.start(self._placed(_body(environ, JobStart)))
            return answers.json(answers.CREATED, JobStarted(started))
        if job is None:
            return self._take_step(_body(environ, ServerStep))
        if job[2] == "progress":
            running = self._reported.progress(job[1], _body(environ, JobProgress))
            return answers.json(answers.OK, running)
        return answers.json(answers.OK, self._reported.finish(job[1], _body(environ, JobFinish)))

    def _list(self) -> Answer:
        reading = self._reported.reading(self._now())
        latest = reading.finished[: -SHOWN_FINISHED - 1 : -1]
        return answers.json(answers.OK, Jobs(running=reading.jobs, finished=latest))

    def _take_step(self, told: ServerStep) -> Answer:
        self._steps.put(told.server_port, told.prompt_id, told.step, told.steps, self._now())
        return answers.json(answers.OK, Taken())

    def _placed(self, start: JobStart) -> JobStart:
        """The start with its GPU's UUID, where it names a GPU and this machine's are known."""
        gpus = self._current().gpus
        if start.gpu is None or not gpus:
            return msgspec.structs.replace(start, gpu=None)
        for gpu in gpus:
            if start.gpu in (gpu.uuid, gpu.index):
                return msgspec.structs.replace(start, gpu=gpu.uuid)
        there = ", ".join(gpu.index for gpu in gpus)
        raise Refusal(answers.BAD_REQUEST, f"gpu: there is no GPU {start.gpu}; there are: {there}")


def _refuse_strangers(environ: Mapping[str, Any]) -> None:
    if not _is_loopback(environ.get("REMOTE_ADDR", "")) or any(f in environ for f in _FORWARDED):
        raise Refusal(
            answers.FORBIDDEN, "jobs are reported and listed from this machine alone (loopback)"
        )
    if "HTTP_ORIGIN" in environ:
        raise Refusal(answers.FORBIDDEN, "jobs are reported by programs, not by web pages")


def _is_loopback(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def _body(environ: Mapping[str, Any], kind: type[T]) -> T:
    """The request's body; a Refusal says which field is wrong, and how."""
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != answers.JSON_TYPE:
        raise Refusal(answers.UNSUPPORTED, "a report is JSON: Content-Type: application/json")
    length = environ.get("CONTENT_LENGTH") or ""
    if not (length.isascii() and length.isdigit()):
        close = ("Connection", "close")
        raise Refusal(answers.LENGTH_REQUIRED, "a report says its Content-Length", close)
    if int(length) > LARGEST_BYTES:
        raise Refusal(answers.TOO_LARGE, f"a report has at most {LARGEST_BYTES} bytes")
    try:
        return msgspec.json.decode(environ["wsgi.input"].read(int(length)), type=kind)
    except msgspec.ValidationError as error:
        text, _, field = str(error).partition(" - at `$.")
        raise Refusal(
            answers.BAD_REQUEST, f"{field.rstrip('`')}: {text}" if field else text
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(answers.BAD_REQUEST, f"not JSON: {error}") from error
