"""The forms by which a machine is reassigned, and by which its maintenance begins and ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from flask import Blueprint, Response, abort, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from tierwatch_agent.words import say
from tierwatch_dashboard.app import services
from tierwatch_dashboard.inventory_change import Assign, EditError, Maintain, machine_of
from tierwatch_dashboard.inventory_file import Conflict
from tierwatch_dashboard.inventory_place import Unwritable
from tierwatch_dashboard.web import same_origin
from tierwatch_dashboard.web.alert_forms import FormError, said, words_of
from tierwatch_dashboard.web.alerts import COOKIE, done, who
from tierwatch_dashboard.web.change_lines import ChangeLine, change_line
from tierwatch_dashboard.web.duty_form import DutyForm, assigned_words, chosen_in, duty_form
from tierwatch_dashboard.web.kept import kept
from tierwatch_dashboard.web.machine import view_of

if TYPE_CHECKING:
    from tierwatch_dashboard.fleet.state import MachineView

bp = Blueprint("assignments", __name__)
same_origin.guard(bp)

SHOWN_CHANGES = 5
"""The machine's last changes beside its form; the page of changes has the others."""

LOOKED_AT = 100
"""The log's last entries among which who was first is looked for."""


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Why a form was refused, and what is then to be seen."""

    words: str
    lines: tuple[str, ...] = ()
    """What a person would change in the file."""
    theirs: str | None = None
    """What somebody else chose meanwhile."""
    yours: str | None = None
    last: ChangeLine | None = None
    """The last change that was made."""


@bp.app_template_global("duty_form")
def form_of(view: MachineView, chosen: Assign | None = None) -> DutyForm | None:
    """What ``machine/assign.html`` shows; None where this dashboard changes nothing."""
    found = services()
    if found.editor is None:
        return None
    return duty_form(view, found.inventory_file.current, found.state.views(), chosen)


@bp.app_template_global("changes_of")
def changes_of(machine: str) -> list[ChangeLine]:
    """A machine's last changes, the latest first."""
    log = services().audit
    entries = kept(lambda: log.recent(SHOWN_CHANGES, machine)) if log else None
    return [change_line(entry) for entry in entries or ()]


@bp.app_template_global("my_name")
def my_name() -> str:
    """What the viewer calls themselves, as far as it is remembered."""
    return request.form.get("name", request.cookies.get(COOKIE, ""))


@bp.post("/machines/<machine_id>/assignment")
def assign(machine_id: str) -> AnyResponse:
    """Assigns the machine to what the form says."""
    view_of(machine_id)
    return _change(chosen_in(machine_id, request.form))


@bp.post("/machines/<machine_id>/maintenance")
def maintain(machine_id: str) -> AnyResponse:
    """Begins or ends the machine's maintenance."""
    view_of(machine_id)
    return _change(Maintain(machine=machine_id, on=request.form.get("on") == "yes"))


def refusal(error: EditError, subject: str, both: tuple[str, str]) -> Refused:
    """What is to be seen of a change that could not be made.

    ``both``: where somebody else was first, what the file says now of the machine or tier, and what
    the form said.
    """
    if isinstance(error, Conflict):
        log = services().audit
        recent = log.recent(LOOKED_AT) if log else ()
        last = next((change_line(entry) for entry in recent if entry.subject == subject), None)
        return Refused(words=error.words, theirs=both[0], yours=both[1], last=last)
    lines = error.lines if isinstance(error, Unwritable) else ()
    return Refused(words=error.words, lines=lines)


def _change(change: Assign | Maintain) -> AnyResponse:
    editor = services().editor
    if editor is None:
        abort(404, say("This dashboard changes nothing."))
    try:
        words = said(request.form, "note")
        editor.change(change, who(words), request.form.get("seen"))
    except FormError as error:
        return _refuse(change, Refused(words=words_of(error)), 400)
    except EditError as error:
        return _refuse(change, refusal(error, change.machine, _both(change)), 409)
    return done(f"/machines/{change.machine}#assignment", words)


def _both(change: Assign | Maintain) -> tuple[str, str]:
    """What the file says now, and what the form said."""
    machine = machine_of(services().inventory_file.current, change.machine)
    if isinstance(change, Assign):
        theirs = assigned_words(machine) if machine else say("no tier")
        return theirs, assigned_words(change)
    return _maintained(on=bool(machine and machine.maintenance)), _maintained(on=change.on)


def _maintained(*, on: bool) -> str:
    return say("in maintenance") if on else say("not in maintenance")


def _refuse(change: Assign | Maintain, refused: Refused, status: int) -> Response:
    page = render_template(
        "machine/refused.html",
        view=view_of(change.machine),
        refused=refused,
        refilled=change if isinstance(change, Assign) else None,
    )
    return Response(page, status, mimetype="text/html")
