"""ComfyUI's documents as job records: its queue, its history, its jobs API. Pure.

Facts of the formats are read in ComfyUI's execution.py, server.py and comfy_execution/jobs.py
(0.3.64 and 0.28.0). In the history an interrupted job's status says "error": its last message
tells.
"""

from __future__ import annotations

import re

import msgspec

from tierwatch_agent.servers.comfyui_graph import Shape, shape, size_of
from tierwatch_agent.servers.fields import number, rows, table, text, whole
from tierwatch_agent.snapshot import JobRecord, Outcome

OUT_OF_MEMORY = re.compile(r"out of memory|allocation on device|can't allocate memory", re.I)
CLASS_NAME = re.compile(r"(?:\w+\.)*([A-Za-z_]\w{0,79})")
ENDINGS: dict[str, Outcome] = {
    "execution_success": "success",
    "execution_error": "error",
    "execution_interrupted": "interrupted",
}
JOB_STATUSES: dict[str, Outcome] = {
    "completed": "success",
    "failed": "error",
    "cancelled": "interrupted",
}


class Queued(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt in the queue."""

    id: str
    created_at: float | None = None
    shape: Shape = Shape()


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A finished prompt as the jobs API's list has it, which tells nothing of its size."""

    id: str
    outcome: Outcome
    ended_at: float
    started_at: float | None = None
    error: str | None = None


def running(queue: object) -> tuple[Queued, ...]:
    """The prompts that run now, by ``/queue``."""
    return tuple(q for item in rows(queue, "queue_running") if (q := _queued(item)))


def listed(page: object) -> tuple[Listed, ...]:
    """The finished prompts of a page of ``/api/jobs``; others in it are passed over."""
    found = map(_listed, rows(page, "jobs"))
    return tuple(job for job in found if job)


def in_progress(page: object) -> tuple[Queued, ...]:
    """The prompts that run now, by a page of ``/api/jobs``."""
    return tuple(
        Queued(id=prompt_id, created_at=_moment(job, "create_time"))
        for job in rows(page, "jobs")
        if text(job, "status") == "in_progress" and (prompt_id := text(job, "id"))
    )


def total(page: object) -> int | None:
    """How many jobs there are of the kind that a page of ``/api/jobs`` shows some of."""
    return whole(page, "pagination", "total")


def history(page: object, server: str) -> dict[str, JobRecord]:
    """The finished prompts of ``/history``, by prompt id; unreadable ones are passed over."""
    return {
        key: record
        for key, item in table(page).items()
        if text(key) and (record := _from_history(key, item, server))
    }


def detailed(job: Listed, document: object, server: str) -> JobRecord:
    """A listed job with what ``/api/jobs/{id}`` tells of it; with nothing, as the list has it."""
    item = table(document)
    if not item:
        return _record(job, _Made(), server)
    graph, status = table(item, "workflow", "prompt"), table(item, "execution_status")
    return _record(job, _made(graph, table(item, "outputs"), status), server)


class _Made(msgspec.Struct, frozen=True, kw_only=True):
    """What a job was to make, and what it made."""

    shape: Shape = Shape()
    images: int | None = None
    pixels: int | None = None


def _record(job: Listed, made: _Made, server: str) -> JobRecord:
    duration = None if job.started_at is None else max(0.0, job.ended_at - job.started_at)
    return JobRecord(
        id=job_id(job.id),
        server=server,
        outcome=job.outcome,
        ended_at=job.ended_at,
        started_at=job.started_at,
        duration_seconds=duration,
        model=made.shape.model,
        width=made.shape.width,
        height=made.shape.height,
        batch=made.shape.batch,
        steps=made.shape.steps,
        images=made.images,
        pixels=made.pixels,
        error=job.error,
    )


def job_id(prompt_id: str) -> str:
    """The id of a prompt's job."""
    return f"comfyui:{prompt_id}"


def _from_history(prompt_id: str, item: object, server: str) -> JobRecord | None:
    status = table(item, "status")
    told = _messages(status)
    ending = next((kind for kind in reversed(told) if kind in ENDINGS), None)
    if ending is None:
        return None
    ended_at = _moment(told[ending], "timestamp")
    if ended_at is None:
        return None
    outcome, error = _judged(ENDINGS[ending], told[ending])
    job = Listed(
        id=prompt_id,
        outcome=outcome,
        error=error,
        ended_at=ended_at,
        started_at=_moment(told.get("execution_start"), "timestamp"),
    )
    prompt = rows(item, "prompt")
    graph = prompt[2] if len(prompt) > 2 else None
    return _record(job, _made(graph, table(item, "outputs"), status), server)


def _listed(job: object) -> Listed | None:
    prompt_id, ended_at = text(job, "id"), _moment(job, "execution_end_time")
    status = JOB_STATUSES.get(text(job, "status") or "")
    if prompt_id is None or ended_at is None or status is None:
        return None
    failure = table(job, "execution_error")
    if status == "error" and not failure:
        # Before there was "cancelled", an interrupted job was a failed one without an error.
        status = "interrupted"
    outcome, error = _judged(status, failure)
    return Listed(
        id=prompt_id,
        outcome=outcome,
        error=error,
        ended_at=ended_at,
        started_at=_moment(job, "execution_start_time"),
    )


def _judged(outcome: Outcome, failure: object) -> tuple[Outcome, str | None]:
    """Tells out of memory from other errors; of the error, only its class is kept."""
    if outcome != "error":
        return outcome, None
    named = CLASS_NAME.fullmatch(text(failure, "exception_type") or "")
    error = named.group(1) if named else None
    message = str(table(failure).get("exception_message"))
    if (error or "").endswith("OutOfMemoryError") or OUT_OF_MEMORY.search(message):
        return "oom", error
    return "error", error


def _made(graph: object, outputs: object, status: object) -> _Made:
    saved = _saved(outputs)
    described = shape(graph, [*saved, *_ends(graph)])
    cached = {str(n) for n in rows(_messages(status).get("execution_cached"), "nodes")}
    fresh = {node: count for node, count in saved.items() if node not in cached}
    sizes = {node: size_of(graph, node) for node in fresh}
    pixels: int | None = 0
    for node, count in fresh.items():
        size = sizes[node]
        pixels = None if size is None or pixels is None else pixels + count * size[0] * size[1]
    return _Made(shape=described, images=sum(fresh.values()), pixels=pixels)


def _saved(outputs: object) -> dict[str, int]:
    """How many images each node saved for keeping: previews and other temporary ones do not count.

    A cached node's are listed as well, though it saved nothing this time.
    """
    counts = {
        node: sum(text(image, "type") == "output" for image in rows(output, "images"))
        for node, output in table(outputs).items()
    }
    return {node: count for node, count in counts.items() if count}


def _ends(graph: object) -> list[str]:
    """Nodes that images end in, those that save them first: for a job that saved none."""
    ends = {
        key: "Save" in (text(node, "class_type") or "")
        for key, node in table(graph).items()
        if "images" in table(node, "inputs")
    }
    return sorted(ends, key=lambda key: not ends[key])


def _queued(item: object) -> Queued | None:
    """``[number, prompt id, graph, {"create_time": ..}, ids of the nodes to run]``."""
    number_id_graph_extra = rows(item)
    if len(number_id_graph_extra) < 4:
        return None
    _, prompt_id, graph, extra = number_id_graph_extra[:4]
    if text(prompt_id) is None:
        return None
    created_at = _moment(extra, "create_time")
    return Queued(id=prompt_id, created_at=created_at, shape=shape(graph, _ends(graph)))


def _messages(status: object) -> dict[str, object]:
    """A job's messages by kind, in the order in which they came."""
    pairs = (rows(message) for message in rows(status, "messages"))
    return {str(pair[0]): pair[1] for pair in pairs if len(pair) > 1}


def _moment(document: object, key: str) -> float | None:
    milliseconds = number(document, key)
    return None if milliseconds is None else milliseconds / 1000
