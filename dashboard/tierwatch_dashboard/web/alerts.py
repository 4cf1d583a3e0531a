"""The alerts page: what fires now, worst first, and what people do about it; and what is over."""

from __future__ import annotations

import hashlib
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, Response, abort, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from tierwatch_agent.words import say
from tierwatch_dashboard.alerts import SEVERITIES, Matcher, Severity
from tierwatch_dashboard.alerts.board import BoardError
from tierwatch_dashboard.alerts.matchers import labels_of
from tierwatch_dashboard.alerts.rules import RULES
from tierwatch_dashboard.app import services
from tierwatch_dashboard.web import same_origin
from tierwatch_dashboard.web.alert_board import board, stands
from tierwatch_dashboard.web.alert_forms import FormError, Said, end_of, said, words_of
from tierwatch_dashboard.web.alert_lines import Standing, beside, past, sentence

bp = Blueprint("alerts", __name__, url_prefix="/alerts")
same_origin.guard(bp)

SHOWN = 50
"""Past alerts on a page."""

COOKIE = "tierwatch_name"
"""Remembers what viewers call themselves."""
COOKIE_SECONDS = 365 * 86400


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What of the history is asked for; None: all."""

    machine: str | None = None
    rule: str | None = None
    severity: Severity | None = None
    before: int | None = None
    """Key of the alert after which the list goes on."""

    def query(self, **changes: object) -> str:
        """This as the address says it, with these parts changed."""
        parts = {**msgspec.structs.asdict(self), **changes}
        found = urlencode({name: value for name, value in parts.items() if value is not None})
        return f"?{found}" if found else "?"


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """The page's live parts, and the token by which a page says that it has them."""

    token: str
    head: str
    html: str


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """What a form was refused for: the form is shown again, open, as it was filled in."""

    words: str
    fingerprint: str
    deed: str


@bp.get("")
def page() -> str:
    """The whole page."""
    return _page(None)


@bp.get("/now")
def now() -> Response:
    """The live parts: 204 where they say what the page has (``?since=``)."""
    found = _now(None)
    if found.token == request.args.get("since"):
        return Response(status=204)
    return Response(render_template("alerts/changes.html", now=found), mimetype="text/html")


@bp.get("/count")
def count() -> Response:
    """Nothing but the count that every answer bears, for pages that have no other news."""
    return Response(status=204)


@bp.get("/history")
def history() -> str:
    """What fired, the latest first; ``?machine=``, ``?rule=``, ``?severity=``, ``?before=``."""
    asked = _asked_for()
    kept = board().history(
        SHOWN + 1,
        machine=asked.machine,
        rule=asked.rule,
        severity=asked.severity,
        before=asked.before,
    )
    return render_template(
        "alerts/history.html",
        asked=asked,
        past=[past(each) for each in kept[:SHOWN]],
        older=asked.query(before=kept[SHOWN - 1].key) if len(kept) > SHOWN else None,
        machines=sorted(view.machine.id for view in services().state.views()),
        rules=sorted(RULES),
        severities=SEVERITIES,
        origin=board().origin,
    )


@bp.post("/<fingerprint>/acknowledge")
def acknowledge(fingerprint: str) -> AnyResponse:
    """Says that the viewer looks after an alert."""
    try:
        words = said(request.form, "note")
        board().acknowledge(fingerprint, who(words), words.words)
    except (FormError, BoardError) as error:
        return _refuse(Refused(words=words_of(error), fingerprint=fingerprint, deed="acknowledge"))
    return done(f"/alerts#a-{fingerprint}", words)


@bp.post("/<fingerprint>/silence")
def silence(fingerprint: str) -> AnyResponse:
    """Silences one alert, and no other, until the moment that the form names."""
    at = services().now()
    try:
        words, ends_at = said(request.form, "comment"), end_of(request.form, at)
        board().add_silence(
            _matchers_of(fingerprint),
            starts_at=at,
            ends_at=ends_at,
            created_by=who(words),
            comment=words.words,
        )
    except (FormError, BoardError) as error:
        return _refuse(Refused(words=words_of(error), fingerprint=fingerprint, deed="silence"))
    return done(f"/alerts#a-{fingerprint}", words)


def who(words: Said) -> str:
    """The name that they gave, or where they sit."""
    return words.by or say("someone at {address}", address=request.remote_addr)


def done(place: str, words: Said) -> AnyResponse:
    """Shows the page that says so, and remembers the viewer's name."""
    answer = redirect(place, 303)
    if words.by:
        answer.set_cookie(
            COOKIE,
            words.by,
            max_age=COOKIE_SECONDS,
            secure=request.is_secure,
            httponly=True,
            samesite="Lax",
        )
    return answer


def _matchers_of(fingerprint: str) -> tuple[Matcher, ...]:
    for alert in board().current():
        if alert.fingerprint == fingerprint:
            pairs = sorted(labels_of(alert).items())
            return tuple(Matcher(name=n, value=v) for n, v in pairs if n != "severity")
    raise BoardError(say("This alert is over already."))


def _refuse(refused: Refused) -> Response:
    return Response(_page(refused), 400, mimetype="text/html")


def _page(refused: Refused | None) -> str:
    return render_template(
        "alerts/page.html", now=_now(refused), refused=refused, origin=board().origin
    )


def _now(refused: Refused | None) -> Now:
    found = board()
    known = stands() or Standing()
    head = render_template(
        "alerts/head.html",
        sentence=sentence(known, found.origin),
        beside=beside(known),
        origin=found.origin,
    ).strip()
    html = render_template(
        "alerts/now.html",
        stands=known,
        origin=found.origin,
        refused=refused,
        form=request.form,
        me=request.form.get("name", request.cookies.get(COOKIE, "")),
    ).strip()
    return Now(token=hashlib.sha256((head + html).encode()).hexdigest()[:16], head=head, html=html)


def _asked_for() -> Asked:
    severity, before = request.args.get("severity") or None, request.args.get("before")
    if severity is not None and severity not in SEVERITIES:
        abort(
            400,
            say(
                "severity must be one of {names}; it is {severity}",
                names=", ".join(SEVERITIES),
                severity=severity,
            ),
        )
    if before is not None and not (before.isascii() and before.isdecimal() and len(before) < 19):
        abort(400, say("before must be the key of an alert; it is {before}", before=before))
    return Asked(
        machine=request.args.get("machine") or None,
        rule=request.args.get("rule") or None,
        severity=severity,
        before=None if before is None else int(before),
    )
