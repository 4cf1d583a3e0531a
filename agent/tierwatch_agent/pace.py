"""How fast jobs move: a running job's own pace, and what is usual for its model and size.

Pure. A job goes through stages (the samplers of a workflow, the images of a batch), and each stage
through three phases: before its first step (a model loads), between steps, after its last step
(decoding, upscaling, saving). What each takes is learnt from earlier jobs of the same kind. Where a
server tells a share of progress instead of steps, a percent counts as a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from tierwatch_agent.snapshot import JobRecord, RunningJob
from tierwatch_agent.wording import pace as said
from tierwatch_agent.words import commas, phrase, say

LEAST_SECONDS = 30.0
"""The shortest wait between steps that is worth a word, however fast the steps were."""
STEPS_ALLOWED = 10.0
"""How many of its own steps a job may take over one."""
TIMES_ALLOWED = 3.0
"""How many times the longest of the last jobs loading, finishing or a whole job may take."""
LONGEST_TICK_SECONDS = 30.0
"""A longer gap between two judgements is a machine that slept: it counts for no job."""
MOST_RUNS = 16
MOST_USUAL = 256

_A_UNIT = {"step": phrase("{time} a step"), "percent": phrase("{time} a percent")}
_MARKS = 17
_STRETCH = 3
_REMEMBERED = 8
_LAST_STAGE = 7

Phase = Literal["starting", "stepping", "finishing"]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A running job as it was followed. Moments leave out what does not count (a pause)."""

    id: str
    kind: str
    """Model and size, which its pace is compared by; empty where not all of it is known."""
    began_at: float
    """When its stage began."""
    moved_at: float
    """When it last moved, or began."""
    phase: Phase = "starting"
    stage: int = 0
    unit: Literal["step", "percent"] = "step"
    position: float | None = None
    end: float | None = None
    marks: tuple[tuple[float, float], ...] = ()
    """The last moments at which it stepped in this stage, and to which position."""
    own: float | None = None
    """Seconds per step, of its last steps."""
    best: float | None = None
    """The fastest that it was in this stage."""
    progressed_at: float | None = None
    """When it last advanced, by the clock on the wall."""
    stalled: bool = False
    """It stalled at some time: nothing is learnt of its pace."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """The running jobs of one server, and what was usual before. Bounded."""

    at: float | None = None
    runs: tuple[Run, ...] = ()
    usual: dict[str, tuple[float, ...]] = {}
    """Seconds of the last times, by what took them ("step 0 …", "start 0 …", "job …")."""


class Allowance(msgspec.Struct, frozen=True):
    """How long a run may go without moving."""

    seconds: float
    usually: str | None
    """What it is measured by, in words; None where nothing is known yet."""


def follow(
    pace: Pace, jobs: Sequence[RunningJob], finished: Sequence[JobRecord], now: float
) -> Pace:
    """What is known after one more look at the server's jobs."""
    usual = pace.usual
    before = {run.id: run for run in pace.runs}
    runs: list[Run] = []
    for job in jobs[:MOST_RUNS]:
        run = before.pop(job.id, None)
        if run is None:
            runs.append(_begun(job, now))
        else:
            run, usual = _followed(run, job, now, usual)
            runs.append(run)
    succeeded = {record.id for record in finished if record.outcome == "success"}
    for run in before.values():
        usual = _learnt_stage(usual, run, now, went_on=run.id in succeeded)
    for record in finished:
        if record.outcome == "success" and record.duration_seconds and record.images != 0:
            usual = _learnt(usual, f"job {_kind(record)}", record.duration_seconds)
    return Pace(at=now, runs=tuple(runs), usual=usual)


def passed(pace: Pace, now: float, *, held: bool = False) -> Pace:
    """The same after a time that counts for no job, if it is one: a pause, a machine that slept."""
    tick = 0.0 if pace.at is None else now - pace.at
    if not pace.runs or not (held or not 0.0 <= tick <= LONGEST_TICK_SECONDS):
        return msgspec.structs.replace(pace, at=now)
    return msgspec.structs.replace(
        pace, at=now, runs=tuple(_postponed(run, tick) for run in pace.runs)
    )


def allowance(pace: Pace, run: Run, stall_after: float) -> Allowance:
    """How long the run may go without moving: by its own pace, what is usual, or the bound."""
    if run.phase == "stepping":
        own = run.own if len(run.marks) > _STRETCH else usual_step(pace, run) or run.own
        if own is None:
            return Allowance(stall_after, None)
        least = LEAST_SECONDS if run.end is not None else stall_after
        usually = say("usually {time}", time=a_unit(own, run))
        return Allowance(max(least, STEPS_ALLOWED * own), usually)
    if run.phase == "finishing":
        return _by_habit(pace.usual, f"finish {run.stage} {run.kind}", stall_after)
    start, whole = f"start {run.stage} {run.kind}", f"job {run.kind}"
    if start not in pace.usual and whole in pace.usual and run.position is None:
        return _by_habit(pace.usual, whole, stall_after, phrase("usually {time} for the whole job"))
    return _by_habit(pace.usual, start, stall_after)


def a_unit(seconds: float, run: Run) -> str:
    """A pace in words: "0.9 s a step"."""
    return say(_A_UNIT[run.unit], time=said(seconds))


def usual_step(pace: Pace, run: Run) -> float | None:
    """Seconds per step that earlier jobs of its kind took in this stage."""
    past = pace.usual.get(f"{run.unit} {run.stage} {run.kind}") if run.kind else None
    return _median(past) if past else None


def current_step(run: Run) -> float | None:
    """Seconds per step of the fastest of its last three moves: one hiccup makes no slow job."""
    if len(run.marks) <= 3:
        return None
    return min(_slope(run.marks[i - 1], run.marks[i]) for i in (-3, -2, -1))


def slowness(pace: Pace, run: Run) -> float | None:
    """How many times its usual pace, or its own best, a step takes now; None while unknown."""
    usual = usual_step(pace, run) or run.best
    current = current_step(run)
    return current / usual if current is not None and usual else None


def completed(job: RunningJob, pace: Pace, run: Run) -> RunningJob:
    """The job with its paces filled in, as far as they are known and it does not tell them."""
    steps = run.unit == "step"
    own = run.own if steps and job.seconds_per_step is None else job.seconds_per_step
    usual = usual_step(pace, run) if steps else None
    progressed_at = job.progressed_at if job.progressed_at is not None else run.progressed_at
    if own is None and usual is None and progressed_at is None:
        return job
    return msgspec.structs.replace(
        job, seconds_per_step=own, usual_seconds_per_step=usual, progressed_at=progressed_at
    )


def described(job: RunningJob | JobRecord) -> str:
    """Model and size in words, as far as a server tells them."""
    size = f"{job.width} × {job.height}" if job.width and job.height else ""
    batch = say("batch of {count}", count=job.batch) if job.batch and job.batch > 1 else ""
    return commas([part for part in (job.model, size, batch) if part])


def _kind(job: RunningJob | JobRecord) -> str:
    return str(described(job)) if job.model and job.width and job.height else ""


def _begun(job: RunningJob, now: float) -> Run:
    position, end, unit = _where(job)
    moved_at = min(now, job.progressed_at) if job.progressed_at is not None else now
    return Run(
        id=job.id,
        kind=_kind(job),
        began_at=min(now, job.started_at) if job.started_at is not None else now,
        moved_at=moved_at,
        phase=_phase(position, end),
        unit=unit,
        position=position,
        end=end,
        marks=((moved_at, position),) if position else (),
        progressed_at=job.progressed_at,
    )


def _followed(
    run: Run, job: RunningJob, now: float, usual: dict[str, tuple[float, ...]]
) -> tuple[Run, dict[str, tuple[float, ...]]]:
    position, end, unit = _where(job)
    told = job.progressed_at
    news = told is not None and told > run.moved_at
    stands = position is None or (position == run.position and end == run.end)
    if stands and not news:
        return run, usual
    at = min(now, told) if told is not None and news else now
    kind = _kind(job)
    if position is None or stands:
        return msgspec.structs.replace(run, moved_at=at, progressed_at=at, kind=kind), usual
    if run.position is not None and (position < run.position or end != run.end):
        usual = _learnt_stage(usual, run, at, went_on=True)
        stage = min(run.stage + 1, _LAST_STAGE)
        run = msgspec.structs.replace(
            run, stage=stage, began_at=at, phase="starting", marks=(), own=None, best=None
        )
    elif run.phase == "starting" and position > 0:
        usual = _learnt(usual, f"start {run.stage} {kind}", at - run.began_at)
    marks = (*run.marks, (at, position))[-_MARKS:] if position > 0 else ()
    own = _own(marks)
    best = run.best
    if own is not None and len(marks) > _STRETCH:
        best = own if best is None else min(best, own)
    run = msgspec.structs.replace(
        run,
        kind=kind,
        moved_at=at,
        progressed_at=at,
        phase=_phase(position, end),
        unit=unit,
        position=position,
        end=end,
        marks=marks,
        own=own,
        best=best,
    )
    return run, usual


def _where(job: RunningJob) -> tuple[float | None, float | None, Literal["step", "percent"]]:
    """Position, end and unit of a job's progress."""
    if job.step is not None:
        return job.step, job.steps, "step"
    if job.progress_ratio is not None:
        return 100 * job.progress_ratio, 100.0, "percent"
    return None, None, "step"


def _phase(position: float | None, end: float | None) -> Phase:
    if not position:
        return "starting"
    # Some servers count the last step as steps − 1, or never tell it.
    return "finishing" if end is not None and position >= end - 1 else "stepping"


def _postponed(run: Run, seconds: float) -> Run:
    return msgspec.structs.replace(
        run,
        began_at=run.began_at + seconds,
        moved_at=run.moved_at + seconds,
        marks=tuple((at + seconds, position) for at, position in run.marks),
    )


def _learnt_stage(
    usual: dict[str, tuple[float, ...]], run: Run, now: float, *, went_on: bool
) -> dict[str, tuple[float, ...]]:
    """What a stage that ended tells: its pace, and how long it took after its last step.

    Of one that seemed to stall: only that the wait was none, if the job went on by itself.
    """
    if run.kind and not run.stalled and run.own is not None and len(run.marks) > 2:
        usual = _learnt(usual, f"{run.unit} {run.stage} {run.kind}", run.own)
    if run.phase == "finishing" and (went_on or not run.stalled):
        usual = _learnt(usual, f"finish {run.stage} {run.kind}", now - run.moved_at)
    return usual


def _learnt(
    usual: dict[str, tuple[float, ...]], name: str, seconds: float
) -> dict[str, tuple[float, ...]]:
    """With one more time; what was not heard of for longest makes room."""
    past = usual.get(name, ())
    others = {key: value for key, value in usual.items() if key != name}
    if len(others) >= MOST_USUAL:
        del others[next(iter(others))]
    return {**others, name: (*past, seconds)[-_REMEMBERED:]}


def _by_habit(
    usual: Mapping[str, tuple[float, ...]],
    name: str,
    stall_after: float,
    words: str = phrase("usually {time}"),
) -> Allowance:
    past = usual.get(name)
    if not past:
        return Allowance(stall_after, None)
    usually = say(words, time=said(_median(past)))
    return Allowance(max(stall_after, TIMES_ALLOWED * max(past)), usually)


def _own(marks: Sequence[tuple[float, float]]) -> float | None:
    """Seconds per step: the middle of what stretches of a few moves took.

    Over stretches, since a poll sees a step up to its interval late; the mean of their middle half,
    since the median of so few different lengths is only ever one of them.
    """
    stretch = min(_STRETCH, len(marks) - 1)
    if stretch < 1:
        return None
    took = sorted(_slope(marks[i], marks[i + stretch]) for i in range(len(marks) - stretch))
    middle = took[len(took) // 4 : len(took) - len(took) // 4]
    return sum(middle) / len(middle)


def _slope(start: tuple[float, float], end: tuple[float, float]) -> float:
    return (end[0] - start[0]) / (end[1] - start[1])


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
