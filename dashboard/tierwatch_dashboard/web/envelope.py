"""What can we make, and where: the studio's recipes, and which machine can run one now."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, Response, render_template, request

from tierwatch_agent.words import capital
from tierwatch_dashboard.app import services
from tierwatch_dashboard.envelope import Envelope
from tierwatch_dashboard.tier_evidence import tiers_by_evidence
from tierwatch_dashboard.web.asking import AskedWrong, asked_in, envelope, found, models
from tierwatch_dashboard.web.envelope_lines import (
    SHOWN,
    AnswerLines,
    answer_lines,
    model_lines,
    sentence,
    tier_lines,
)
from tierwatch_dashboard.web.row_store import faults_of

bp = Blueprint("envelope", __name__, url_prefix="/envelope")

OFFERED = 200
"""Models that the form offers."""


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """The page's live parts, and the token by which a page says that it has them."""

    token: str
    head: str
    answer: str
    rest: str


@bp.get("")
def page() -> str:
    """The whole page; ``?model=``, ``?size=`` and ``?batch=`` ask which machine can run it."""
    known = envelope()
    return render_template(
        "envelope/page.html",
        now=_now(known),
        asked=_written(),
        query=urlencode(_written()),
        models=models(known)[:OFFERED],
    )


@bp.get("/now")
def now() -> Response:
    """The live parts: 204 where they say what the page has (``?since=``)."""
    made = _now(envelope())
    if made.token == request.args.get("since"):
        return Response(status=204)
    return Response(render_template("envelope/changed.html", now=made), mimetype="text/html")


def _now(known: Envelope) -> Now:
    views, inventory = services().state.views(), services().inventory_file.current
    head = render_template(
        "envelope/head.html", sentence=sentence(known), faults=faults_of(services())
    ).strip()
    answer, wrong = _answer(known)
    answered = render_template("envelope/answer.html", answer=answer, wrong=wrong).strip()
    rest = render_template(
        "envelope/rest.html",
        models=model_lines(known),
        more=max(0, len(known.recipes) - SHOWN),
        left_out=known.left_out,
        tiers=tier_lines(tiers_by_evidence(known, inventory, views)) if known.recipes else (),
    ).strip()
    token = hashlib.sha256((head + answered + rest).encode()).hexdigest()[:16]
    return Now(token=token, head=head, answer=answered, rest=rest)


def _answer(known: Envelope) -> tuple[AnswerLines | None, str | None]:
    """The answer to what the address asks for, or what is wrong with that."""
    if not _written().get("model"):
        return None, None
    try:
        answer = found(known, asked_in(request.args, known))
    except AskedWrong as error:
        return None, capital(error.words)
    return (answer_lines(answer) if answer else None), None


def _written() -> Mapping[str, str]:
    args = request.args
    return {name: args[name] for name in ("model", "size", "batch") if args.get(name)}
