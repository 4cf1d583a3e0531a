"""A1111's and Forge's jobs, inferred from a run of states, since they keep no history. Pure.

The facts are those of modules/shared_state.py, processing.py and call_queue.py of both. ``begin``
sets ``job_timestamp`` (local time, to the second: a change is a new job) and ``job_count`` to −1;
sampling sets ``job_count`` to the number of passes; each finished pass raises ``job_no`` and sets
``sampling_step`` back to 0; ``end`` empties ``job`` and ``job_count`` and leaves the rest as it
was, which tells afterwards how far the job came.

Told apart: *oom*, torch's counter rose and passes were left; *interrupted*, the flag was seen while
the job ran (the page clears it at once, so one pressed in a job's last second may be missed);
*error*, the job ended with passes left. Not told apart from a success: an error after the last
pass, one of a script that counts no passes, and what became of a job that another one followed
between two looks. A job that began and ended between two looks is told if it finished a pass.
Neither prompts nor names of files are in a state.
"""

from __future__ import annotations

import re
import time
from collections import deque

import msgspec

from tierwatch_agent.servers import fields
from tierwatch_agent.snapshot import JobRecord, Outcome, RunningJob

KEPT = 100
"""Finished jobs that are told again."""
RESTARTED = "the server was started anew while it ran"
LEFT = "ended before its last pass"
NOT_GENERATING = frozenset(
    {"create_embedding", "create_hypernetwork", "interrogate", "model-merge"}
)

_BATCH = re.compile(r"\b\d+ out of (\d{1,6})\b")
_NEVER = "0"


class State(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of ``/sdapi/v1/progress``, as far as it could be read."""

    running: bool
    name: str = ""
    timestamp: str | None = None
    passes: int | None = None
    """None until sampling has begun."""
    passes_done: int | None = None
    step: int | None = None
    steps: int | None = None
    stopped: bool = False
    """Interrupted, skipped or asked to stop after the current image."""
    progress_ratio: float | None = None


class _Job(msgspec.Struct):
    key: str
    last: State
    started_at: float | None
    oom_before: int | None
    passes: int | None = None
    batches: int = 1
    stopped: bool = False
    progressed_at: float | None = None
    model: str | None = None
    model_asked: bool = False


def state_of(answer: object) -> State:
    """The state in an answer of ``/sdapi/v1/progress``."""
    state = fields.table(answer, "state")
    passes = fields.whole(state, "job_count")
    name = fields.text(state, "job") or ""
    progress = fields.number(answer, "progress")
    known = passes is not None and passes > 0
    return State(
        running=bool(name) or bool(passes),
        name=name,
        timestamp=fields.token(state, "job_timestamp"),
        passes=passes if known else None,
        passes_done=fields.count(state, "job_no"),
        step=fields.count(state, "sampling_step"),
        steps=fields.count(state, "sampling_steps") or None,
        stopped=any(
            fields.flag(state, flag) for flag in ("interrupted", "skipped", "stopping_generation")
        ),
        progress_ratio=progress if known and progress and 0 <= progress <= 1 else None,
    )


class InferredJobs:
    """What one server ran, from the states that it is seen in, one after the other."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._job: _Job | None = None
        self._seen_at: float | None = None
        self._timestamp: str | None = None
        self._oom: int | None = None
        self._finished: deque[JobRecord] = deque(maxlen=KEPT)

    def is_over(self, state: State) -> bool:
        """Whether a state shows that a job ended since the last one."""
        if self._job is not None:
            return not state.running or self._is_other(state)
        return self._is_unseen(state)

    def needs_model(self) -> bool:
        """Whether the running job's model is still to be asked for."""
        return self._job is not None and not self._job.model_asked

    def note_model(self, model: str | None) -> None:
        """Takes in the model of the running job."""
        if self._job is not None:
            self._job.model, self._job.model_asked = model, True

    def see(self, state: State, now: float, oom_total: int | None) -> None:
        """Takes in a state, with torch's count of out-of-memory errors, where it is known."""
        if self._job is not None and self.is_over(state):
            self._end(self._job, state, now, oom_total)
            self._job = None
        if self._job is None and self._is_unseen(state):
            self._tell_unseen(state, now, oom_total)
        if state.running:
            self._follow(state, now)
        self._seen_at = now
        self._timestamp = state.timestamp or self._timestamp
        self._oom = oom_total if oom_total is not None else self._oom

    def running(self) -> tuple[RunningJob, ...]:
        """The running job, if there is one that makes images."""
        job = self._job
        if job is None or job.last.name in NOT_GENERATING:
            return ()
        return (
            RunningJob(
                id=self._id(job.key),
                started_at=job.started_at,
                model=job.model,
                # Some versions of Forge leave it at 0 throughout: a first step must be seen.
                step=job.last.step or None,
                steps=job.last.steps,
                progress_ratio=job.last.progress_ratio,
                progressed_at=job.progressed_at,
            ),
        )

    def finished(self) -> tuple[JobRecord, ...]:
        """Jobs that ended lately, oldest first."""
        return tuple(self._finished)

    def _id(self, key: str) -> str:
        return f"{self._server}:{key}"

    def _is_other(self, state: State) -> bool:
        job = self._job
        return bool(job and state.timestamp and job.last.timestamp not in (None, state.timestamp))

    def _is_unseen(self, state: State) -> bool:
        """Whether a job ran between two looks at an idle server."""
        known = self._timestamp is not None and state.timestamp not in (None, _NEVER)
        return not state.running and known and state.timestamp != self._timestamp

    def _follow(self, state: State, now: float) -> None:
        job = self._job
        if job is None:
            began = self._began(state.timestamp, now)
            job = self._job = _Job(
                key=state.timestamp or f"{now:.3f}",
                last=state,
                started_at=began,
                oom_before=self._oom,
            )
        elif (state.passes_done, state.step) != (job.last.passes_done, job.last.step):
            job.progressed_at = now
        job.last = state
        job.passes = state.passes or job.passes
        job.stopped = job.stopped or state.stopped
        if batch := _BATCH.search(state.name):
            job.batches = max(1, int(batch[1]))

    def _began(self, timestamp: str | None, now: float) -> float | None:
        """When a job began: the server's own clock if it fits, or else when it was first seen.

        A container may keep another time zone. None: it ran before the agent looked.
        """
        if self._seen_at is None:
            return None
        told = _moment(timestamp)
        return told if told is not None and self._seen_at - 1 <= told <= now else now

    def _end(self, job: _Job, state: State, now: float, oom_total: int | None) -> None:
        own = state.timestamp in (None, job.last.timestamp)
        restarted = not own and state.timestamp == _NEVER
        left = state if own else job.last
        stopped = job.stopped or (own and state.stopped)
        outcome, error = _outcome(
            job, left, stopped=stopped, final=own, rose=_rose(job.oom_before, oom_total)
        )
        if restarted:
            outcome, error = "error", RESTARTED
        if job.last.name not in NOT_GENERATING:
            self._record(job, left, now, outcome, error)

    def _tell_unseen(self, state: State, now: float, oom_total: int | None) -> None:
        rose = _rose(self._oom, oom_total)
        if not state.passes_done and not rose:
            return
        job = _Job(
            key=state.timestamp or f"{now:.3f}",
            last=state,
            started_at=self._began(state.timestamp, now),
            oom_before=self._oom,
        )
        oom = rose and not state.passes_done
        self._record(
            job,
            state,
            now,
            "oom" if oom else "interrupted" if state.stopped else "success",
            "OutOfMemoryError" if oom else None,
            duration_known=False,
        )

    def _record(
        self,
        job: _Job,
        left: State,
        now: float,
        outcome: Outcome,
        error: str | None,
        *,
        duration_known: bool = True,
    ) -> None:
        name = self._id(job.key)
        if any(record.id == name for record in self._finished):
            return
        started = job.started_at
        self._finished.append(
            JobRecord(
                id=name,
                server=self._server,
                outcome=outcome,
                ended_at=now,
                started_at=started,
                duration_seconds=(
                    max(0.0, now - started) if started is not None and duration_known else None
                ),
                model=job.model,
                steps=left.steps or job.last.steps,
                images=_images(job, left, outcome),
                error=error,
            )
        )


def _outcome(
    job: _Job, left: State, *, stopped: bool, final: bool, rose: bool
) -> tuple[Outcome, str | None]:
    done = left.passes_done or 0
    unfinished = job.passes is None or done < job.passes
    if rose and unfinished:
        return "oom", "OutOfMemoryError"
    if stopped:
        return "interrupted", None
    # Scripts may announce more passes than they make: they stop between two, an error within one.
    if final and job.passes is not None and unfinished and (left.step or not done):
        return "error", LEFT
    return "success", None


def _images(job: _Job, left: State, outcome: Outcome) -> int:
    """Batches that came to their end; each makes one image at least, and its size is not told.

    With a second pass ("hires fix") a batch is two passes.
    """
    if outcome == "success":
        return job.batches
    done, passes = left.passes_done or 0, job.passes or job.batches
    return min(job.batches, done * job.batches // passes)


def _rose(before: int | None, after: int | None) -> bool:
    return before is not None and after is not None and after > before


def _moment(timestamp: str | None) -> float | None:
    try:
        return time.mktime(time.strptime(timestamp or "", "%Y%m%d%H%M%S"))
    except (ValueError, OverflowError):
        return None
