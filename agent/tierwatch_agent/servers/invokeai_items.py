"""InvokeAI's queue items as jobs. Pure.

The facts are those of services/session_queue/session_queue_common.py, services/shared/graph.py and
the invocations' fields. An item has its whole graph with prompts and names of images: only figures
are taken from it. A denoise node has ``steps`` or ``num_steps``; width and height stand in it, in
its noise node or in the image that came of it; the model in its loader.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

import msgspec

from tierwatch_agent.servers import fields
from tierwatch_agent.snapshot import JobRecord, Outcome, RunningJob
from tierwatch_agent.words import phrase

ENDED: dict[str, Outcome] = {
    "completed": "success",
    "failed": "error",
    "canceled": "interrupted",
}
"""Statuses of an item that has ended; one that waits or runs has another."""
REMOVED = phrase("removed from the queue while it ran")

_CLASS = re.compile(r"[A-Za-z_][\w.]{0,79}")
_OUT_OF_MEMORY = re.compile(r"OutOfMemory|out of memory")


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What an item makes, as far as its graph tells."""

    model: str | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One item of the queue, without its graph."""

    key: str
    """Its session's id: unique for ever, which its number in the queue is not."""
    status: str
    shape: Shape = Shape()
    started_at: float | None = None
    completed_at: float | None = None
    images: tuple[tuple[int, int], ...] = ()
    """Width and height of those it made for good, or of the last one if none is marked so."""
    error: str | None = None
    out_of_memory: bool = False


UNREADABLE = Item(key="", status="canceled")
"""In place of an item that is too large to be read: neither running nor finished."""


def item_of(answer: object) -> Item | None:
    """The item in an answer; None where it lacks what makes it one."""
    key, status = fields.token(answer, "session_id"), fields.text(answer, "status")
    if key is None or status is None:
        return None
    error = fields.text(answer, "error_type")
    images = tuple(_images(fields.table(answer, "session")))
    # Their texts are looked at, never kept: versions before 4.2.5 tell no class of error.
    told = (error, *(fields.table(answer).get(n) for n in ("error_message", "error_traceback")))
    return Item(
        key=key,
        status=status,
        shape=_shape(fields.table(answer, "session", "graph", "nodes"), images),
        started_at=_moment(fields.text(answer, "started_at")),
        completed_at=_moment(fields.text(answer, "completed_at")),
        images=images,
        error=error if error and _CLASS.fullmatch(error) else None,
        out_of_memory=any(isinstance(t, str) and _OUT_OF_MEMORY.search(t) for t in told),
    )


def running_job(item: Item) -> RunningJob:
    """An item that runs; its steps are told to listeners only, which the agent is not."""
    return RunningJob(
        id=item.key,
        started_at=item.started_at,
        model=item.shape.model,
        width=item.shape.width,
        height=item.shape.height,
        steps=item.shape.steps,
    )


def record(item: Item, server: str, now: float) -> JobRecord | None:
    """The record of an item that has ended; None: it has not, or never ran."""
    outcome = ENDED.get(item.status)
    if outcome is None or item.started_at is None:
        return None
    ended = item.completed_at if item.completed_at is not None else now
    done = outcome == "success"
    oom = outcome == "error" and item.out_of_memory
    return JobRecord(
        id=item.key,
        server=server,
        outcome="oom" if oom else outcome,
        ended_at=ended,
        started_at=item.started_at,
        duration_seconds=max(0.0, ended - item.started_at),
        model=item.shape.model,
        width=item.shape.width,
        height=item.shape.height,
        steps=item.shape.steps,
        images=len(item.images) if done else None,
        pixels=sum(width * height for width, height in item.images) if done else None,
        error=item.error or ("OutOfMemoryError" if oom else None),
    )


def removed(job: RunningJob, server: str, now: float) -> JobRecord:
    """The record of a job whose item was taken out of the queue while it ran."""
    return JobRecord(
        id=job.id,
        server=server,
        outcome="interrupted",
        ended_at=now,
        started_at=job.started_at,
        model=job.model,
        width=job.width,
        height=job.height,
        steps=job.steps,
        error=REMOVED,
    )


def _shape(nodes: Mapping[str, Any], images: tuple[tuple[int, int], ...]) -> Shape:
    """Of several nodes the first that tells counts; what arrives by an edge is not in a node."""
    by_kind = [(fields.text(node, "type") or "", node) for node in nodes.values()]
    denoise = [node for kind, node in by_kind if "denoise" in kind and "mask" not in kind]
    sized = [*denoise, *(node for kind, node in by_kind if kind.endswith("noise"))]
    loaders = [node for kind, node in by_kind if "model_loader" in kind and "refiner" not in kind]
    metadata = [node for kind, node in by_kind if kind == "core_metadata"]
    steps = (fields.count(n, key) for n in [*denoise, *metadata] for key in ("steps", "num_steps"))
    sizes = [(fields.count(n, "width"), fields.count(n, "height")) for n in [*sized, *metadata]]
    width, height = next(((w, h) for w, h in [*images[-1:], *sizes] if w and h), (None, None))
    models = (fields.text(node, "model", "name") for node in [*loaders, *metadata])
    return Shape(
        model=next(filter(None, models), None),
        width=width,
        height=height,
        steps=next(filter(None, steps), None),
    )


def _images(session: Mapping[str, Any]) -> Iterable[tuple[int, int]]:
    """Sizes of the images that a session made and that are no mere steps on the way."""
    nodes = fields.table(session, "execution_graph", "nodes")
    made: list[tuple[int, int]] = []
    last: list[tuple[int, int]] = []
    for name, result in fields.table(session, "results").items():
        width, height = fields.count(result, "width"), fields.count(result, "height")
        if fields.text(result, "type") != "image_output" or not width or not height:
            continue
        last = [(width, height)]
        if fields.flag(nodes.get(name), "is_intermediate") is False:
            made.append((width, height))
    # On the canvas everything is intermediate until it is accepted.
    return made or last


def _moment(text: str | None) -> float | None:
    """Unix seconds of the database's "2026-11-24 10:00:00.123", which is UTC."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.removesuffix("Z"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
