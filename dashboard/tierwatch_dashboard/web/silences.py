"""The page of silences and maintenance: those that hold or are to come, to end and to make."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from tierwatch_agent.words import say
from tierwatch_dashboard.alerts.board import BoardError
from tierwatch_dashboard.alerts.matchers import LABELS, MatcherError, parse
from tierwatch_dashboard.app import services
from tierwatch_dashboard.web import same_origin
from tierwatch_dashboard.web.alert_board import board
from tierwatch_dashboard.web.alert_forms import FormError, Said, moment_in, said, words_of
from tierwatch_dashboard.web.alert_lines import silence_lines, silence_sentence, window_lines
from tierwatch_dashboard.web.alerts import COOKIE, done, who

bp = Blueprint("silences", __name__, url_prefix="/alerts/silences")
same_origin.guard(bp)

PLACE = "/alerts/silences"


@bp.get("")
def page() -> str:
    """The whole page; ``?matchers=`` and ``?machine=`` fill its forms in beforehand."""
    return _page(None, request.args)


@bp.post("")
def add() -> AnyResponse:
    """Makes a silence."""
    form = request.form
    try:
        words = said(form, "comment")
        # Others' alerts, that an Alertmanager holds too, may have labels that ours lack.
        matchers = parse(form.get("matchers", ""), LABELS if board().origin is None else None)
        starts_at, ends_at = _span(form)
        board().add_silence(
            matchers,
            starts_at=starts_at,
            ends_at=ends_at,
            created_by=who(words),
            comment=words.words,
        )
    except (MatcherError, FormError, BoardError) as error:
        return _refuse(words_of(error))
    return done(PLACE, words)


@bp.post("/<id_>/end")
def end(id_: str) -> AnyResponse:
    """Ends a silence now."""
    try:
        board().end_silence(id_)
    except BoardError as error:
        return _refuse(words_of(error))
    return done(PLACE, Said(by="", words=""))


@bp.post("/maintenance")
def plan() -> AnyResponse:
    """Plans a machine's maintenance."""
    form = request.form
    try:
        words = said(form, "comment")
        starts_at, ends_at = _span(form)
        board().add_window(
            _machine_in(form),
            starts_at=starts_at,
            ends_at=ends_at,
            weekly="weekly" in form,
            created_by=who(words),
            comment=words.words,
        )
    except (FormError, BoardError) as error:
        return _refuse(words_of(error))
    return done(PLACE, words)


@bp.post("/maintenance/<id_>/end")
def end_maintenance(id_: str) -> AnyResponse:
    """Ends maintenance now, and every later week of it."""
    try:
        board().end_window(id_)
    except BoardError as error:
        return _refuse(words_of(error))
    return done(PLACE, Said(by="", words=""))


def _span(form: Mapping[str, str]) -> tuple[float, float]:
    """When it begins, now where the form does not say, and when it ends."""
    starts_at, ends_at = moment_in(form, "starts"), moment_in(form, "ends")
    if ends_at is None:
        raise FormError(say("Say when it ends."))
    return services().now() if starts_at is None else starts_at, ends_at


def _machine_in(form: Mapping[str, str]) -> str:
    machine = form.get("machine", "")
    if services().state.view(machine) is None:
        raise FormError(say("The inventory has no machine “{machine}”.", machine=machine))
    return machine


def _refuse(words: str) -> Response:
    return Response(_page(words, request.form), 400, mimetype="text/html")


def _page(refused: str | None, form: Mapping[str, str]) -> str:
    now, found = services().now(), board()
    silences = silence_lines(found.silences(), found.current(), now)
    return render_template(
        "alerts/silences.html",
        sentence=silence_sentence(silences),
        silences=silences,
        windows=window_lines(found.windows(), now),
        machines=sorted(view.machine.id for view in services().state.views()),
        labels=LABELS,
        origin=found.origin,
        refused=refused,
        silence=form if "machine" not in form else {},
        maintenance=form if "machine" in form else {},
        me=form.get("name", request.cookies.get(COOKIE, "")),
    )
