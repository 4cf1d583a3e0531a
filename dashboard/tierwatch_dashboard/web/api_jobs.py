"""Jobs as JSON: what runs across the fleet, and what is finished."""

from __future__ import annotations

import msgspec
from flask import Blueprint
from werkzeug.wrappers import Response

from tierwatch_agent.snapshot import ServerSample
from tierwatch_dashboard.app import services
from tierwatch_dashboard.history.jobs import StoredJob
from tierwatch_dashboard.web import answers, paging
from tierwatch_dashboard.web.job_filter import OUTCOMES, asked_for, sought, views_of
from tierwatch_dashboard.web.openapi import Parameter, answers_with

bp = Blueprint("api_jobs", __name__, url_prefix="/api/v1")

FILTERS = (
    Parameter(name="machine", words="the id of a machine"),
    Parameter(
        name="outcome",
        words="how a job ended",
        schema={"type": "string", "enum": list(OUTCOMES)},
    ),
    Parameter(name="model", words="a part of a model's name"),
    Parameter(name="tier", words="the tier that its machine is assigned to now"),
    Parameter(name="tag", words="a tag of its machine"),
    Parameter(name="server", words='a kind of generation server: "comfyui"'),
    Parameter(
        name="from",
        words="the first day on which it may have ended",
        schema={"type": "string", "format": "date"},
    ),
    Parameter(
        name="to",
        words="the last day on which it may have ended",
        schema={"type": "string", "format": "date"},
    ),
    Parameter(name="error", words="a part of what is said of its failure"),
)


class RunningAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A generation server with its running jobs and its queue, of a machine that answers."""

    machine: str
    server: ServerSample


class JobsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What runs across the fleet, and what is finished, the latest first."""

    at: float
    running: tuple[RunningAnswer, ...]
    finished: tuple[StoredJob, ...]
    before: int | None
    """Asks for what is older; null: there is nothing older."""


@bp.get("/jobs")
@answers_with(JobsAnswer, *FILTERS, paging.BEFORE, paging.LIMIT)
def jobs() -> Response:
    """What runs across the fleet and what is finished, the latest first."""
    asked, count = asked_for(), paging.limit()
    kept = services().jobs.find(count + 1, sought(asked), asked.before)
    finished, before = paging.page(kept, count)
    return answers.json(
        JobsAnswer(
            at=services().now(),
            running=tuple(
                RunningAnswer(machine=view.machine.id, server=server)
                for view in views_of(asked)
                if view.snapshot is not None and view.verdict.state != "down"
                for server in view.snapshot.servers
                if asked.server in (None, server.kind)
            ),
            finished=finished,
            before=before,
        )
    )
