"""Why a job does not move: what is known of a server and its GPU → a stall with its cause.

Pure; once a second for each server. What is measured is said with its figures, and no cause is
named for which there is no evidence: a full GPU alone is none, since ComfyUI fills it on purpose.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tierwatch_agent.evidence import (
    Evidence,
    free_words,
    memory_words,
    overflow,
    pressed,
    work_words,
)
from tierwatch_agent.gpu_past import HARDWARE_XIDS, GpuPast, looked
from tierwatch_agent.out_of_memory import OutOfMemory, remembered
from tierwatch_agent.pace import (
    Allowance,
    Pace,
    Run,
    a_unit,
    allowance,
    completed,
    current_step,
    follow,
    passed,
    slowness,
    usual_step,
)
from tierwatch_agent.snapshot import GpuSample, RunningJob, Stall, StallCause
from tierwatch_agent.wording import evidence_of
from tierwatch_agent.wording import pace as said
from tierwatch_agent.words import commas, known, packed, phrase, say

STALL_AFTER_SECONDS = 180.0
"""The bound until a pace is known."""
UNANSWERED_SECONDS = 60.0
"""How long a server may be silent while its job steps; while it loads or finishes, the bound."""
BROKEN_SECONDS = 15.0
"""How long no step must have come since a GPU was lost or reported an error of its hardware."""
WORKING_TIMES = 5.0
"""How many times as long a job that tells no steps may take while its GPU is at work."""
WORKING_SECONDS = 30.0
"""How lately the GPU must have been seen at work for that."""
SPILL_RATIO = 3.0
"""How many times its usual pace a job takes that is said to spill, or to be slowed down by heat."""
RECOVERED_RATIO = 2.0
"""Below which it is no longer; from which on more evidence is worth asking for."""
SPILL_SECONDS = 5.0
"""How long the evidence of an overflow must hold."""

_UNITS = {"step": phrase("step"), "percent": phrase("percent")}
_HEAT = ("hw_thermal_slowdown", "sw_thermal_slowdown", "hw_slowdown", "hw_power_brake_slowdown")


class PaceMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of one server from judgement to judgement; small and serialisable."""

    pace: Pace = Pace()
    out_of_memory: OutOfMemory = OutOfMemory()
    gpu: GpuPast = GpuPast()
    stall: Stall | None = None
    """As it was last judged."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What a server's evidence amounts to."""

    stall: Stall | None
    jobs: tuple[RunningJob, ...]
    """The evidence's, with their paces."""
    slow: bool
    """A job is far below its pace: worth asking the PCIe link, which takes time."""
    memory: PaceMemory


def judge(
    evidence: Evidence,
    memory: PaceMemory,
    now: float,
    stall_after: float = STALL_AFTER_SECONDS,
) -> Judgement:
    """Whether a job of this server stalls, and why; called about once a second."""
    silent = evidence.silent_since is not None
    before = passed(memory.pace, now, held=evidence.paused)
    if silent and evidence.alive is False:
        before = Pace(at=now, usual=before.usual)
    pace = before if silent else follow(before, evidence.jobs, evidence.finished, now)
    ratios = [slowness(pace, run) for run in pace.runs]
    memory = _noticed(memory, evidence, before, pace, ratios, now)
    stall = None
    if silent:
        stall = _unanswered(evidence, pace, now, stall_after)
    elif not evidence.paused:
        stalls = [
            _of_run(evidence, memory, run, ratio, now, stall_after)
            for run, ratio in zip(pace.runs, ratios, strict=True)
        ]
        found = [each for each in stalls if each is not None]
        stall = min(found, key=lambda each: each.since, default=None) or _out_of_memory(
            evidence, memory, now
        )
    if stall is not None and stall.job is not None:
        memory = msgspec.structs.replace(memory, pace=_marked(memory.pace, stall.job))
    by_id = {run.id: run for run in pace.runs}
    return Judgement(
        stall=stall,
        jobs=tuple(
            completed(job, pace, by_id[job.id]) if job.id in by_id else job for job in evidence.jobs
        ),
        slow=any(ratio is not None and ratio >= RECOVERED_RATIO for ratio in ratios),
        memory=msgspec.structs.replace(memory, stall=stall),
    )


def _noticed(
    memory: PaceMemory,
    evidence: Evidence,
    before: Pace,
    pace: Pace,
    ratios: Sequence[float | None],
    now: float,
) -> PaceMemory:
    """The memory after what this evidence adds to it."""
    known = [ratio for ratio in ratios if ratio is not None]
    usual_pace = max(known) < RECOVERED_RATIO if known else None
    return PaceMemory(
        pace=pace,
        out_of_memory=remembered(
            memory.out_of_memory,
            evidence.finished,
            evidence.out_of_memory_total,
            tuple([run.id for run in before.runs]),
            tuple([run.id for run in pace.runs]),
            now,
        ),
        gpu=looked(memory.gpu, evidence, usual_pace=usual_pace, now=now),
        stall=memory.stall,
    )


def _of_run(
    evidence: Evidence,
    memory: PaceMemory,
    run: Run,
    ratio: float | None,
    now: float,
    stall_after: float,
) -> Stall | None:
    """Whether one running job stalls."""
    allowed = allowance(memory.pace, run, stall_after)
    waited = now - run.moved_at
    stands = waited > allowed.seconds * _patience(memory.gpu, run, now)
    before = memory.stall if memory.stall and memory.stall.job == run.id else None
    if broken := _broken(evidence.gpu, memory, run, waited, stands, now):
        words = (_stillness(run, waited, allowed), broken)
        return _stall("gpu", run.moved_at, words, run.id)
    if stands:
        # Once named: what is free near the end of a wait says less than what was at its beginning.
        short = pressed(evidence) or (before is not None and before.cause == "vram")
        words = (_stillness(run, waited, allowed), *memory_words(evidence, with_holders=short))
        if not short:
            words = (*words, *work_words(evidence.gpu))
        return _stall("vram" if short else "hang", run.moved_at, words, run.id)
    since = before.since if before and before.cause in ("spill", "gpu") else None
    if ratio is None or ratio < (SPILL_RATIO if since is None else RECOVERED_RATIO):
        return None
    return _slow(evidence, memory, run, now if since is None else since, now)


def _patience(gpu: GpuPast, run: Run, now: float) -> float:
    """How many times the allowance a run has: more where nothing but its GPU shows that it runs."""
    lately = gpu.worked_at is not None and now - gpu.worked_at <= WORKING_SECONDS
    return WORKING_TIMES if lately and run.phase != "stepping" else 1.0


def _slow(
    evidence: Evidence, memory: PaceMemory, run: Run, since: float, now: float
) -> Stall | None:
    """A job far below its pace: for an overflow of memory or heat, if there is evidence of one."""
    usual = usual_step(memory.pace, run) or run.best or 0.0
    current = current_step(run) or 0.0
    now_and_usually = say(
        "{current}, usually {usual}", current=a_unit(current, run), usual=said(usual)
    )
    held = memory.gpu.overflow_since
    if held is not None and now - held >= SPILL_SECONDS:
        shown = overflow(evidence, memory.gpu.ordinary_shared_bytes)
        words = (now_and_usually, *shown, *free_words(evidence.gpu))
        return _stall("spill", since, words, run.id)
    reasons = evidence.gpu.throttle_reasons if evidence.gpu is not None else None
    heat = [reason for reason in reasons or () if reason in _HEAT]
    if heat and evidence.gpu is not None:
        celsius = evidence.gpu.temperature_celsius
        why = ", ".join(heat)
        if celsius is None:
            slows = say("the GPU slows itself down ({why})", why=why)
        else:
            at = f"{celsius:.0f}"
            slows = say("the GPU slows itself down at {celsius} °C ({why})", celsius=at, why=why)
        return _stall("gpu", since, (now_and_usually, slows), run.id)
    return None


def _broken(
    gpu: GpuSample | None,
    memory: PaceMemory,
    run: Run,
    waited: float,
    stands: bool,
    now: float,
) -> str | None:
    """What is wrong with the GPU of a job that does not move, in words."""
    if gpu is None:
        return None
    if gpu.state == "lost" and waited >= BROKEN_SECONDS:
        return _with_detail(say("its GPU is lost"), gpu)
    if gpu.state == "unreadable" and stands:
        return _with_detail(say("its GPU cannot be read"), gpu)
    at = memory.gpu.hardware_error_at
    if at is not None and at >= run.moved_at and now - at >= BROKEN_SECONDS:
        xids = [str(xid) for xid in sorted(gpu.xid_errors or {}) if xid in HARDWARE_XIDS]
        return say(
            "{ago} ago its GPU reported an error of its hardware (Xid {xid})",
            ago=said(now - at),
            xid=xids[-1],
        )
    return None


def _with_detail(what: str, gpu: GpuSample) -> str:
    return say("{what}: {why}", what=what, why=known(gpu.detail)) if gpu.detail else what


def _unanswered(evidence: Evidence, pace: Pace, now: float, stall_after: float) -> Stall | None:
    """A server that went silent over a job, while its process lives."""
    if evidence.silent_since is None or not evidence.alive or not pace.runs:
        return None
    stepping = any(run.phase == "stepping" for run in pace.runs)
    waited = now - evidence.silent_since
    if waited <= (UNANSWERED_SECONDS if stepping else stall_after):
        return None
    if evidence.pid is None:
        silent = say(
            "no answer for {waited}, while its process runs with a job", waited=said(waited)
        )
    else:
        silent = say(
            "no answer for {waited}, while process {pid} runs with a job",
            waited=said(waited),
            pid=evidence.pid,
        )
    words = (silent, *free_words(evidence.gpu))
    return _stall("unresponsive", evidence.silent_since, words, pace.runs[0].id)


def _out_of_memory(evidence: Evidence, memory: PaceMemory, now: float) -> Stall | None:
    last = memory.out_of_memory.last(now)
    if last is None:
        return None
    words = (last.words, *memory_words(evidence, with_holders=True))
    return _stall("oom", last.at, words, last.job)


def _stillness(run: Run, waited: float, allowed: Allowance) -> str:
    """How long a job has not moved, and how long it usually takes, in words."""
    unit, time = say(_UNITS[run.unit]), said(waited)
    if run.phase == "stepping":
        stands = say("no {unit} for {time}", unit=unit, time=time)
    elif run.phase == "finishing":
        stands = say("not done {time} after its last {unit}", time=time, unit=unit)
    elif run.position is None:
        stands = say("no sign of progress for {time}", time=time)
    else:
        stands = say("no first {unit} for {time}", unit=unit, time=time)
    return commas([stands, allowed.usually]) if allowed.usually else stands


def _marked(pace: Pace, job: str) -> Pace:
    """Nothing is learnt from a job that stalled."""
    if all(run.stalled or run.id != job for run in pace.runs):
        return pace
    runs = tuple(
        msgspec.structs.replace(run, stalled=True) if run.id == job else run for run in pace.runs
    )
    return msgspec.structs.replace(pace, runs=runs)


def _stall(cause: StallCause, since: float, words: Sequence[str], job: str | None) -> Stall:
    evidence = evidence_of(words)
    return Stall(
        cause=cause,
        since=since,
        evidence=str(evidence),
        said=packed(evidence),
        job=job,
    )
