"""The tiers page: what each tier asks, which machines qualify, and how the tiers are changed."""

from __future__ import annotations

import hashlib
from typing import cast
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, Response, abort, current_app, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from tierwatch_agent.words import say
from tierwatch_dashboard.app import services
from tierwatch_dashboard.inventory_change import EditError, SetTier
from tierwatch_dashboard.qualifying import BEST_FIRST
from tierwatch_dashboard.web import same_origin
from tierwatch_dashboard.web.alert_forms import FormError, said, words_of
from tierwatch_dashboard.web.alerts import done, who
from tierwatch_dashboard.web.assignments import Refused, refusal
from tierwatch_dashboard.web.change_lines import change_line
from tierwatch_dashboard.web.kept import kept, why_unread
from tierwatch_dashboard.web.language import language
from tierwatch_dashboard.web.qualified import Now, Qualified, Seen
from tierwatch_dashboard.web.row_store import faults_of
from tierwatch_dashboard.web.tier_form import (
    TierForm,
    change_in,
    form_of,
    new_form,
    with_effect,
    written,
)
from tierwatch_dashboard.web.tier_lines import KIND_WORDS, Asked, said_of, sheet

bp = Blueprint("tiers", __name__, url_prefix="/tiers")
same_origin.guard(bp)

SHOWN_CHANGES = 50
"""Changes on a page of them."""
LAST_CHANGES = 5
"""Changes on the tiers page itself."""
_KEPT = "tierwatch_qualified"


bp.add_app_template_global(KIND_WORDS.get, "kind_word")


@bp.get("")
def page() -> str:
    """The whole page; ``?tier=`` and ``?answer=`` pick machines, ``?edit=`` or ``?add`` a form."""
    form, refused = None, None
    if services().editor is not None:
        try:
            if "edit" in request.args:
                form = form_of(services().inventory_file.current, request.args["edit"])
            elif "add" in request.args:
                form = new_form()
        except EditError as error:
            refused = Refused(words=error.words)
    return _page(form, refused)


@bp.get("/now")
def now() -> Response:
    """The live parts: 204 where they say what the page has (``?since=``)."""
    found = _now(_asked_for())
    if found.token == request.args.get("since"):
        return Response(status=204)
    return Response(render_template("tiers/changed.html", now=found), mimetype="text/html")


@bp.post("")
def change() -> AnyResponse:
    """Shows what a change of the tiers would do, and makes it once that is confirmed."""
    found = services()
    if found.editor is None:
        abort(404, say("This dashboard changes nothing."))
    form = written(request.form)
    try:
        words = said(request.form, "note")
        if request.form.get("step") != "save":
            views, inventory = found.state.views(), found.inventory_file.current
            return Response(_page(with_effect(form, inventory, views), None), mimetype="text/html")
        found.editor.change(change_in(form), who(words), form.seen or None)
    except FormError as error:
        return Response(_page(form, Refused(words=words_of(error))), 400, mimetype="text/html")
    except EditError as error:
        return Response(_page(_fresh(form), _refusal(error, form)), 409, mimetype="text/html")
    return done("/tiers", words)


@bp.get("/changes")
def changes() -> str:
    """Who changed what, the latest first; ``?machine=``, ``?before=``."""
    log = services().audit
    if log is None:
        abort(404, say("This dashboard keeps no log of changes."))
    machine, before = request.args.get("machine") or None, request.args.get("before")
    if before is not None and not (before.isascii() and before.isdecimal() and len(before) < 19):
        abort(400, say("before must be the key of a change; it is {text}", text=before))
    kept = log.recent(SHOWN_CHANGES + 1, machine, None if before is None else int(before))
    last = kept[SHOWN_CHANGES - 1].key if len(kept) > SHOWN_CHANGES else None
    machines = sorted(view.machine.id for view in services().state.views())
    return render_template(
        "tiers/changes.html",
        lines=[change_line(entry) for entry in kept[:SHOWN_CHANGES]],
        machine=machine,
        machines=machines,
        latest=_address(machine=machine) if before else None,
        older=None if last is None else _address(machine=machine, before=str(last)),
    )


def _page(form: TierForm | None, refused: Refused | None) -> str:
    asked = _asked_for()
    log = services().audit
    entries = kept(lambda: log.recent(LAST_CHANGES)) if log else None
    return render_template(
        "tiers/page.html",
        now=_now(asked),
        asked=asked,
        query=urlencode({k: v for k, v in msgspec.structs.asdict(asked).items() if v}),
        form=form,
        refused=refused,
        changes=[change_line(entry) for entry in entries or ()],
    )


def _now(asked: Asked) -> Now:
    found = services()
    # The version is read before the views, so that a change between the two is seen next time.
    seen = Seen(
        version=found.state.version,
        inventory=found.inventory_file.current,
        faults=msgspec.structs.replace(faults_of(found), database=why_unread()),
    )
    kept = cast(Qualified, current_app.extensions.setdefault(_KEPT, Qualified()))
    return kept.now((asked, language()), seen, lambda: _made(asked, seen, kept))


def _made(asked: Asked, seen: Seen, kept: Qualified) -> Now:
    views = services().state.views()
    shown = {
        "sheet": sheet(views, seen.inventory, kept.of(views, seen.inventory), asked),
        "asked": asked,
        "can_edit": services().editor is not None,
        "faults": seen.faults,
    }
    head = render_template("tiers/head.html", **shown).strip()
    machines = render_template("tiers/machines.html", **shown).strip()
    token = hashlib.sha256((head + machines).encode()).hexdigest()[:16]
    return Now(token=token, head=head, machines=machines)


def _asked_for() -> Asked:
    args = request.args
    tier, kind = args.get("tier") or None, args.get("answer") or None
    if tier is not None and tier not in (t.name for t in services().inventory_file.current.tiers):
        tier = None
    return Asked(tier=tier, kind=kind if kind in BEST_FIRST and tier else None)


def _fresh(form: TierForm) -> TierForm:
    """The form as it was written, about what the inventory says by now."""
    try:
        seen = form_of(services().inventory_file.current, form.original).seen
    except EditError:
        seen = form.seen
    return msgspec.structs.replace(form, seen=seen)


def _refusal(error: EditError, form: TierForm) -> Refused:
    tiers = services().inventory_file.current.tiers
    theirs = next((said_of(tier) for tier in tiers if tier.name == form.original), say("removed"))
    try:
        wanted = change_in(form)
    except EditError:
        wanted = None
    yours = said_of(wanted.tier) if isinstance(wanted, SetTier) else say("removed")
    return refusal(error, form.original, (theirs, yours))


def _address(**parts: str | None) -> str:
    found = urlencode({name: value for name, value in parts.items() if value is not None})
    return f"/tiers/changes?{found}" if found else "/tiers/changes"
