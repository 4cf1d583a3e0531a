"""A made-up generation server, for the demo and for trying a dashboard: its kind says "simulated".

Its address carries what it does, ``simulated://127.0.0.1:8188/?model=sdxl_base&steps=30``, in the
words of ``Plan``. Nothing listens there.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

import msgspec

from tierwatch_agent.servers import ServerError, ServerReading
from tierwatch_agent.snapshot import JobRecord, Outcome, RunningJob

TOLD = 32
"""Finished jobs that it tells, the last ones."""
FIRST_STEP, LAST_STEP = 0.06, 0.92
"""The share of a job after which its model is loaded, and after which its images are decoded."""
OOM_SHARE, HANG_SHARE = 0.3, 0.4
"""How far a job gets that runs out of memory, or that hangs."""


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One job after another: each takes ``seconds``, and ``pause`` passes before the next."""

    model: str = "sdxl_base_1.0"
    width: int = 1024
    height: int = 1024
    batch: int = 1
    steps: int = 30
    seconds: float = 40.0
    pause: float = 9.0
    delay: float = 0.0
    """How long after the start its first job begins."""
    queue: int = 0
    """The most that wait: one fewer with each job, and then as many again."""
    oom_every: int = 0
    """Each so many-th job runs out of memory; 0: none does."""
    hang_every: int = 0
    """Each so many-th job stands still for ``hang_seconds``; 0: none does."""
    hang_seconds: float = 150.0
    vram_mib: int | None = None
    """What it says it holds."""
    gpu: str | None = None
    """UUID of the GPU that it uses."""


class _Turn(NamedTuple):
    """One job. Seconds since the start."""

    number: int
    start: float
    end: float
    outcome: Outcome
    hangs: bool


class SimulatedServer:
    """See ``GenerationServer``."""

    def __init__(self, id_: str, url: str, now: Callable[[], float] = time.time) -> None:
        self._id = id_
        self._now = now
        self._started = now()
        self._closed = threading.Event()
        self._plan = _plan(url)
        self._turns = _turns(self._plan)
        self._turn = next(self._turns)
        self._finished: deque[JobRecord] = deque(maxlen=TOLD)

    def identify(self) -> str:
        """It is what it says."""
        return "simulated"

    def read(self) -> ServerReading:
        """The server at this moment."""
        elapsed = self._now() - self._started
        while self._turn.end <= elapsed:
            self._finished.append(self._record(self._turn))
            self._turn = next(self._turns)
        plan, turn = self._plan, self._turn
        runs = turn.start <= elapsed
        return ServerReading(
            version="simulated",
            queue_pending=plan.queue - turn.number % (plan.queue + 1),
            queue_running=int(runs),
            jobs=(self._running(turn, elapsed - turn.start),) if runs else (),
            finished=tuple(self._finished),
            vram_bytes=None if plan.vram_mib is None else plan.vram_mib * 2**20,
        )

    def wait(self, seconds: float) -> None:
        """Nothing ever happens before it is due."""
        self._closed.wait(seconds)

    def close(self) -> None:
        """Ends a wait."""
        self._closed.set()

    def _running(self, turn: _Turn, into: float) -> RunningJob:
        plan = self._plan
        if turn.hangs:
            stands_at = HANG_SHARE * plan.seconds
            into = min(into, max(stands_at, into - plan.hang_seconds))
        share = (into / plan.seconds - FIRST_STEP) / (LAST_STEP - FIRST_STEP)
        step = max(0, min(plan.steps, int(share * plan.steps)))
        pace = plan.seconds * (LAST_STEP - FIRST_STEP) / plan.steps
        return RunningJob(
            id=self._job_id(turn),
            started_at=self._started + turn.start,
            model=plan.model,
            width=plan.width,
            height=plan.height,
            batch=plan.batch,
            step=step if share > 0 else None,
            steps=plan.steps,
            seconds_per_step=pace if step else None,
        )

    def _record(self, turn: _Turn) -> JobRecord:
        plan = self._plan
        done = turn.outcome == "success"
        held = None if plan.vram_mib is None else plan.vram_mib * 2**20
        return JobRecord(
            id=self._job_id(turn),
            server=self._id,
            outcome=turn.outcome,
            started_at=self._started + turn.start,
            ended_at=self._started + turn.end,
            duration_seconds=turn.end - turn.start,
            model=plan.model,
            width=plan.width,
            height=plan.height,
            batch=plan.batch,
            steps=plan.steps,
            images=plan.batch if done else 0,
            pixels=plan.width * plan.height * plan.batch if done else 0,
            gpu=plan.gpu,
            peak_vram_bytes=held,
            error=None if done else "OutOfMemoryError",
        )

    def _job_id(self, turn: _Turn) -> str:
        return f"simulated-{round(self._started * 1000)}-{turn.number}"


def _plan(url: str) -> Plan:
    try:
        plan = msgspec.convert(dict(parse_qsl(urlsplit(url).query)), Plan, strict=False)
    except msgspec.ValidationError as error:
        raise ServerError(f"its address does not say what it does: {error}") from error
    if min(plan.seconds, plan.steps, plan.width, plan.height, plan.batch) <= 0:
        raise ServerError("its address does not say what it does: a job takes and makes something")
    return plan


def _turns(plan: Plan) -> Iterator[_Turn]:
    number, start = 0, plan.delay
    while True:
        number += 1
        fails = plan.oom_every > 0 and number % plan.oom_every == 0
        hangs = not fails and plan.hang_every > 0 and number % plan.hang_every == 0
        taken = plan.seconds * OOM_SHARE if fails else plan.seconds + hangs * plan.hang_seconds
        yield _Turn(number, start, start + taken, "oom" if fails else "success", hangs)
        start += plan.seconds + hangs * plan.hang_seconds + plan.pause
