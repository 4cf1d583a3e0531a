"""What is remembered of the GPU that a generation server uses (pure)."""

from __future__ import annotations

import msgspec

from tierwatch_agent.evidence import Evidence, at_work, overflow, shared_bytes

HARDWARE_XIDS = frozenset({48, 62, 64, 74, 79, 94, 95, 119, 120})
"""Not 13, 31, 43 and 45: a program's own faults."""
ORDINARY_SECONDS = 30.0
"""How long after a look its shared memory counts as ordinary, if the pace stayed usual."""


class GpuPast(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of a GPU before."""

    uuid: str | None = None
    hardware_errors: int = 0
    hardware_error_at: float | None = None
    """When their number last rose."""
    worked_at: float | None = None
    """When it was last seen at work."""
    ordinary_shared_bytes: int | None = None
    """Shared memory of the server's processes while its jobs ran at their usual pace."""
    candidate: tuple[int, float] | None = None
    """The next such figure, and when it was read."""
    overflow_since: float | None = None
    """Since when there is evidence of an overflow without a break."""


def looked(past: GpuPast, evidence: Evidence, *, usual_pace: bool | None, now: float) -> GpuPast:
    """The past after one more look; ``usual_pace`` None: no job's pace can be told."""
    gpu = evidence.gpu
    if gpu is None:
        return past
    errors = sum(n for xid, n in (gpu.xid_errors or {}).items() if xid in HARDWARE_XIDS)
    risen = gpu.uuid == past.uuid and errors > past.hardware_errors
    ordinary, candidate = _ordinary(past, shared_bytes(evidence), usual_pace, now)
    shown = usual_pace is not None and overflow(evidence, ordinary)
    return GpuPast(
        uuid=gpu.uuid,
        hardware_errors=errors,
        hardware_error_at=now if risen else past.hardware_error_at,
        worked_at=now if at_work(gpu) else past.worked_at,
        ordinary_shared_bytes=ordinary,
        candidate=candidate,
        overflow_since=(past.overflow_since or now) if shown else None,
    )


def _ordinary(
    past: GpuPast, shared: int | None, usual_pace: bool | None, now: float
) -> tuple[int | None, tuple[int, float] | None]:
    """What counts as ordinary, and what may next: memory overflows before a job is seen to slow."""
    ordinary, candidate = past.ordinary_shared_bytes, past.candidate
    if shared is None or usual_pace is None:
        return ordinary, candidate
    if not usual_pace:
        return ordinary, None
    if ordinary is None or candidate is None:
        return shared if ordinary is None else ordinary, (shared, now)
    if now - candidate[1] >= ORDINARY_SECONDS:
        return candidate[0], (shared, now)
    return ordinary, candidate
