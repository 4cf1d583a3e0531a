"""A machine's past as JSON: the figures that its charts are made of."""

from __future__ import annotations

import msgspec
from flask import Blueprint, abort, request
from werkzeug.wrappers import Response

from tierwatch_dashboard.app import services
from tierwatch_dashboard.charts.spans import SpanError, asked
from tierwatch_dashboard.history import Series
from tierwatch_dashboard.web import answers
from tierwatch_dashboard.web.charts import SPAN
from tierwatch_dashboard.web.machine import view_of
from tierwatch_dashboard.web.openapi import answers_with

bp = Blueprint("api_past", __name__, url_prefix="/api/v1/machines/<machine_id>")


class SeriesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A machine's past from one moment to another, a series for each GPU."""

    start_at: float
    end_at: float
    series: tuple[Series, ...]


@bp.get("/series")
@answers_with(SeriesAnswer, *SPAN)
def series(machine_id: str) -> Response:
    """A machine's past as figures, at the finest resolution that is kept for so long a span."""
    view = view_of(machine_id)
    try:
        span = asked(request.args, services().now())
    except SpanError as error:
        abort(400, error.args[0])
    return answers.json(
        SeriesAnswer(
            start_at=span.start,
            end_at=span.end,
            series=services().history.series(view.machine.id, span.start, span.end),
        )
    )
