"""Whether a server's last job died for want of memory (pure).

Its record says so, or, where a server records no outcome, its own counter of such errors rose and
the job stopped. A counter that rises while the job goes on counts errors that were caught.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tierwatch_agent.pace import described
from tierwatch_agent.snapshot import JobRecord
from tierwatch_agent.words import say

QUIET_SECONDS = 600.0
"""How long it is said after the last time, if no job succeeds before."""
STOPS_SECONDS = 10.0
"""How soon after the counter rose its job must have stopped, and the other way round."""
RECORD_SECONDS = 3.0
"""How long a stopped job's record is waited for."""


class Death(msgspec.Struct, frozen=True):
    """A job that ran out of memory."""

    at: float
    job: str
    kind: str
    """Its model and size, in words; empty where they are not known."""
    times: int
    """How many did since the last success."""

    @property
    def words(self) -> str:
        """What happened."""
        what = say("a job ran out of memory")
        if self.kind:
            what = say("a job ran out of memory ({kind})", kind=self.kind)
        if self.times > 1:
            return say("{what}, {count} times since the last success", what=what, count=self.times)
        return what


class OutOfMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a server's out-of-memory errors."""

    death: Death | None = None
    total: int | None = None
    """Its own counter, as it stood."""
    suspect: tuple[str, float] | None = None
    """The job over which the counter rose, and when."""
    left: tuple[str, float] | None = None
    """The job that stopped last, and when."""

    def last(self, now: float) -> Death | None:
        """The job that died last, if that is still news."""
        if self.death is None or now - self.death.at > QUIET_SECONDS:
            return None
        return self.death


def remembered(
    memory: OutOfMemory,
    finished: Sequence[JobRecord],
    total: int | None,
    ran: Sequence[str],
    runs: Sequence[str],
    now: float,
) -> OutOfMemory:
    """The memory after one more look: jobs that ran before and run now, and those that finished."""
    if not (finished or memory.suspect or ran != runs or total != memory.total):
        return memory
    death, suspect = memory.death, memory.suspect
    gone = [job for job in ran if job not in runs]
    left = (gone[-1], now) if gone else memory.left
    if total is not None and memory.total is not None and total > memory.total:
        suspect = _suspect(ran, left, now) or suspect
    for record in finished:
        if record.outcome == "success" and (death is None or record.ended_at >= death.at):
            death = None
        elif record.outcome == "oom":
            death = _death(death, record.id, record.ended_at, described(record))
        if suspect is not None and record.id == suspect[0]:
            if record.outcome == "error":
                death = _death(death, record.id, record.ended_at, described(record))
            suspect = None
    if suspect is not None:
        job, at = suspect
        if job in runs:
            suspect = suspect if now - at <= STOPS_SECONDS else None
        elif now - at >= RECORD_SECONDS:
            death, suspect = _death(death, job, at, ""), None
    return OutOfMemory(
        death=death,
        total=memory.total if total is None else total,
        suspect=suspect,
        left=left,
    )


def _suspect(
    ran: Sequence[str], left: tuple[str, float] | None, now: float
) -> tuple[str, float] | None:
    if ran:
        return ran[0], now
    if left is not None and now - left[1] <= STOPS_SECONDS:
        return left[0], now
    return None


def _death(before: Death | None, job: str, at: float, kind: str) -> Death:
    return Death(at, job, str(kind), 1 if before is None else before.times + 1)
