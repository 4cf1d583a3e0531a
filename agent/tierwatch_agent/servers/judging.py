"""Keeps what each server's jobs are judged by from second to second, and the judgements."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from tierwatch_agent.evidence import Evidence
from tierwatch_agent.snapshot import ServerSample
from tierwatch_agent.stall import STALL_AFTER_SECONDS, PaceMemory, judge

MOST_SERVERS = 64
"""Remembered: what was usual for a server is known again when it is back."""


class Judge:
    """For the sampler's thread alone."""

    def __init__(
        self,
        stall_after_seconds: float = STALL_AFTER_SECONDS,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._stall_after_seconds = stall_after_seconds
        self._now = now
        self._memories: dict[str, PaceMemory] = {}
        self._slow: dict[str, bool] = {}

    def judged(self, sample: ServerSample, evidence: Evidence) -> ServerSample:
        """The sample with its jobs' paces, and with why they do not move."""
        memory = self._memories.pop(sample.id, None) or PaceMemory()
        judgement = judge(evidence, memory, self._now(), self._stall_after_seconds)
        if len(self._memories) >= MOST_SERVERS:
            oldest = next(iter(self._memories))
            del self._memories[oldest]
        self._memories[sample.id] = judgement.memory
        self._slow[sample.id] = judgement.slow
        if judgement.stall is None and judgement.jobs == sample.jobs:
            return sample
        return msgspec.structs.replace(sample, jobs=judgement.jobs, stall=judgement.stall)

    def some_job_is_slow(self) -> bool:
        """Whether one of those judged last is far below its pace; asked once after each round."""
        slow = any(self._slow.values())
        self._slow = {}
        return slow
