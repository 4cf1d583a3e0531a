"""For scripts: tells this machine's agent of a job, at no cost to the job.

    from tierwatch_agent import job

    with job(model="sdxl", width=1024, height=1024, steps=30, batch=4) as j:
        pipe(prompt, callback_on_step_end=j.callback_on_step_end)

Needs nothing but the standard library, not even the rest of this package. Without an agent it does
nothing. It never raises, never waits for the agent, and never tells a prompt or an error's text.
"""

from __future__ import annotations

import atexit
import http.client
import json
import logging
import operator
import os
import queue
import re
import threading
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

URL_VARIABLE = "TIERWATCH_AGENT_URL"
"""Environment variable with the agent's address; empty: report nothing."""
DEFAULT_URL = "http://127.0.0.1:9838"
JOBS_PATH = "/api/v1/jobs"
STEPS_SECONDS = 0.2
"""How often the steps of a job are sent at most: the latest stands for those between."""
RETRY_SECONDS = 15.0
"""How long an agent that does not answer is left alone."""
MOST_OWED = 100
TIMEOUT_SECONDS = 2.0
FLUSH_SECONDS = 1.0
LONGEST_TEXT = 200
LONGEST_CHAIN = 10
"""Of errors raised from errors, how many are looked at."""
LARGEST_ANSWER = 2**16
OUT_OF_MEMORY = re.compile(
    r"OutOfMemoryError|out of memory|Allocation on device|can't allocate memory"
    r"|CUBLAS_STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)
"""How an error, or a program's output, says that memory did not suffice."""

Outcome = Literal["success", "error", "oom", "interrupted"]
Kwargs = TypeVar("Kwargs")

_log = logging.getLogger(__name__)


class Job:
    """One job, from ``with`` to its end. ``images`` may be set to how many it made."""

    def __init__(self, about: Mapping[str, Any]) -> None:
        self.images: int | None = None
        self.about = dict(about)
        """What is told as it starts."""
        self._step = 0
        self._steps: int | None = None
        self._to_be_sent = False
        self._reporter: _Reporter | None = None

    def __enter__(self) -> Job:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.finish(outcome_of(error) if error else "success", kind and kind.__name__)

    def start(self) -> None:
        """The job starts now; ``with`` does this."""
        self.about.update(pid=os.getpid(), started_at=time.time())
        self._reporter = _current_reporter()
        if self._reporter:
            self._reporter.inbox.put(_Report(self, "", {}))

    def step(self, done: int | None = None, steps: int | None = None) -> None:
        """So many steps are done now, of so many; None: one more than before."""
        self._step = self._step + 1 if done is None else done
        if steps is not None:
            self._steps = steps
        # Only the latest step is kept, and only the first since the last report wakes the thread.
        if not self._to_be_sent and self._reporter:
            self._to_be_sent = True
            self._reporter.inbox.put(self)

    def finish(self, outcome: Outcome, error: str | None = None) -> None:
        """The job ended so; ``with`` does this.

        Args:
            outcome: How it ended.
            error: The class of the error, never its text.
        """
        if self._reporter:
            body: dict[str, Any] = {"outcome": outcome, "error": error, "images": self.images}
            self._reporter.inbox.put(_Report(self, "finish", {**body, "ended_at": time.time()}))
            self._reporter = None

    def callback_on_step_end(
        self,
        pipe: Any,
        step: int,
        timestep: Any,  # noqa: ARG002 - diffusers names its callback's arguments so
        callback_kwargs: Kwargs,
    ) -> Kwargs:
        """For diffusers: ``pipe(…, callback_on_step_end=j.callback_on_step_end)``."""
        self.step(step + 1, getattr(pipe, "num_timesteps", None))
        return callback_kwargs

    def take_step(self) -> dict[str, Any]:
        """What is told of its steps; from here on, a further step is to be told anew."""
        self._to_be_sent = False
        return {"step": self._step, "steps": self._steps}


def job(
    *,
    model: str | None = None,
    width: int | None = None,
    height: int | None = None,
    steps: int | None = None,
    batch: int | None = None,
    gpu: str | None = None,
) -> Job:
    """A job that this process does, as a context manager.

    Args:
        model: Its name for people.
        width: Of each image, in pixels.
        height: Of each image, in pixels.
        steps: How many it takes.
        batch: How many images it makes.
        gpu: UUID of its GPU, or its index as the driver counts.
    """
    about: dict[str, Any] = {"width": width, "height": height, "steps": steps, "batch": batch}
    for name, text in (("model", model), ("gpu", gpu)):
        about[name] = None if text is None else str(text)[:LONGEST_TEXT]
    return Job(about)


def flush(seconds: float = FLUSH_SECONDS) -> None:
    """Waits until everything so far was told, or that long; happens by itself at exit."""
    reporter = _reporter
    if reporter is not None and reporter.pid == os.getpid():
        told = threading.Event()
        reporter.inbox.put(told)
        told.wait(seconds)


def outcome_of(error: BaseException) -> Outcome:
    """How a job ended that raised this."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    seen: BaseException | None = error
    for _ in range(LONGEST_CHAIN):
        if seen is None:
            break
        if OUT_OF_MEMORY.search(f"{type(seen).__name__}: {seen}"):
            return "oom"
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "error"


class _Report(NamedTuple):
    """A job's start (``what`` is empty then), or its ``progress`` or ``finish``."""

    job: Job
    what: str
    body: dict[str, Any]


class _Refused(Exception):
    """The agent does not take a report."""


class _Reporter:
    """The thread that talks to the agent, and what it is to tell it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pid = os.getpid()
        # Bounded by what is put in: a job's start and finish once, and its steps once at a time.
        self.inbox: queue.SimpleQueue[_Report | Job | threading.Event] = queue.SimpleQueue()
        address = urlsplit(url)
        if address.scheme != "http" or not address.hostname:
            raise ValueError(f'"{url}" is not like {DEFAULT_URL}')
        self._address = (address.hostname, address.port)
        self._connection: http.client.HTTPConnection | None = None
        self._ids: dict[Job, str] = {}
        """Of the jobs that the agent knows."""
        self._refused: set[Job] = set()
        self._stepped: set[Job] = set()
        self._steps_due = 0.0
        self._owed: deque[_Report] = deque(maxlen=MOST_OWED)
        """Ends that an agent did not hear which was there before, as while it is restarted."""
        self._answered = False
        self._absent_until = 0.0
        threading.Thread(target=self._run, name="tierwatch-job", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                told = self.inbox.get(timeout=self._patience())
            except queue.Empty:
                self._catch_up()
                continue
            if isinstance(told, threading.Event):
                told.set()
            elif isinstance(told, Job):
                self._stepped.add(told)
            elif told.what:
                self._stepped.discard(told.job)
                self._finish(told)
            else:
                self._tell(told)

    def _patience(self) -> float | None:
        """Seconds until something is due that waits; None: nothing does."""
        moments = [self._steps_due] if self._stepped else []
        if self._owed:
            moments.append(self._absent_until)
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _catch_up(self) -> None:
        now = time.monotonic()
        if self._owed and now >= self._absent_until:
            self._finish(self._owed.popleft())
        if self._stepped and now >= self._steps_due:
            for job in self._stepped:
                self._tell(_Report(job, "progress", job.take_step()))
            self._stepped.clear()
            self._steps_due = time.monotonic() + STEPS_SECONDS

    def _finish(self, finish: _Report) -> None:
        if self._tell(finish):
            self._ids.pop(finish.job, None)
            self._refused.discard(finish.job)
        elif self._answered:
            self._owed.append(finish)

    def _tell(self, report: _Report) -> bool:
        """Tells of a job, its start first where that is not known; False: there is no agent."""
        job, what, body = report
        if job in self._refused:
            return True
        if time.monotonic() < self._absent_until:
            return False
        try:
            for _ in range(2):
                if job not in self._ids:
                    self._ids[job] = str(self._post(JOBS_PATH, job.about)["id"])
                if not what or self._post(f"{JOBS_PATH}/{self._ids[job]}/{what}", body):
                    break
                # The agent was restarted since: it hears of the job anew.
                del self._ids[job]
        except (OSError, http.client.HTTPException):
            self._disconnect()
            self._absent_until = time.monotonic() + RETRY_SECONDS
            return False
        except _Refused as error:
            self._refused.add(job)
            _log.warning("the agent at %s does not take a job's report: %s", self.url, error)
        self._answered = True
        return True

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What the agent answers; nothing where it does not know the job."""
        text = json.dumps({k: v for k, v in body.items() if v is not None}, default=_plain)
        fresh = self._connection is None
        try:
            status, answer = self._exchange(path, text)
        except (ConnectionError, http.client.HTTPException):
            # An agent may close a kept connection at any time.
            self._disconnect()
            if fresh:
                raise
            status, answer = self._exchange(path, text)
        if status == 404 and path != JOBS_PATH:
            return {}
        if status == 409:
            return {"id": "finished already"}
        if status not in (200, 201):
            raise _Refused(answer.decode(errors="replace").strip() or f"status {status}")
        return _job_of(answer)

    def _exchange(self, path: str, text: str) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(*self._address, timeout=TIMEOUT_SECONDS)
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", path, text.encode(), headers)
        answer = self._connection.getresponse()
        body = answer.read(LARGEST_ANSWER)
        if not answer.isclosed():
            self._disconnect()
        return answer.status, body

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _job_of(answer: bytes) -> dict[str, Any]:
    try:
        document: Any = json.loads(answer)
        return {"id": document["id"]}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _Refused("another program answers there") from error


_reporter: _Reporter | None = None
_making = threading.Lock()


def _current_reporter() -> _Reporter | None:
    """This process's own: a child that was forked has none of its parent's threads."""
    global _reporter
    url = os.environ.get(URL_VARIABLE, DEFAULT_URL)
    if not url:
        return None
    with _making:
        if _reporter is None or (_reporter.pid, _reporter.url) != (os.getpid(), url):
            if _reporter is None:
                atexit.register(flush)
            try:
                _reporter = _Reporter(url)
            except ValueError as error:
                _log.warning("%s is not an agent's address: %s", URL_VARIABLE, error)
                return None
        return _reporter


def _plain(value: Any) -> int | str:
    """NumPy's and torch's whole numbers are not JSON's."""
    try:
        return operator.index(value)
    except TypeError:
        return str(value)[:LONGEST_TEXT]
