"""The fleet and its machines as JSON: what the fleet page and a machine's page show of now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from flask import Blueprint, abort, request
from werkzeug.wrappers import Response

from tierwatch_agent.snapshot import MachineSnapshot
from tierwatch_dashboard.app import services
from tierwatch_dashboard.inventory import Machine
from tierwatch_dashboard.verdict import WORST_FIRST, State, Verdict
from tierwatch_dashboard.web import answers
from tierwatch_dashboard.web.choosing import SORTS, AskedError, asked_in, choose
from tierwatch_dashboard.web.facts import Facts
from tierwatch_dashboard.web.machine import view_of
from tierwatch_dashboard.web.openapi import Parameter, answers_with
from tierwatch_dashboard.web.output import Output, by_machine
from tierwatch_dashboard.web.standing import TierStanding, standing

if TYPE_CHECKING:
    from tierwatch_dashboard.fleet.state import MachineView

bp = Blueprint("api", __name__, url_prefix="/api/v1")

FILTERS = (
    Parameter(name="q", words="words that a machine must have: in its name, tags, cards, models"),
    Parameter(name="tier", words="the name of a tier that it is assigned to"),
    Parameter(
        name="state",
        words="the state of its verdict",
        schema={"type": "string", "enum": list(WORST_FIRST)},
    ),
    Parameter(name="tag", words="a tag that it has"),
    Parameter(name="gpu", words="the name of a card that it has"),
    Parameter(name="server", words="a kind of generation server that runs on it"),
    Parameter(
        name="sort",
        words="the order of the machines",
        schema={"type": "string", "enum": list(SORTS), "default": "worst"},
    ),
    Parameter(name="group", words='"tag" orders them by their first tag, "tag:room" by that kind'),
)


class MachineAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One machine: what the team decided, the verdict, and when it was last heard."""

    machine: Machine
    verdict: Verdict
    heard_at: float | None
    error: str | None
    """Why the last reading gave nothing new, in words; null: it did."""
    simulated: bool


class FleetAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The studio in one sentence, its tiers, and the machines that were asked for."""

    at: float
    sentence: str
    inventory_error: str | None
    """What is wrong with the inventory's last edit; null: nothing."""
    tiers: tuple[TierStanding, ...]
    states: Mapping[State, int]
    """How many machines of each state the filters find, whichever state is asked for."""
    machines: tuple[MachineAnswer, ...]


class MachineDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One machine with the last snapshot it had, however old."""

    at: float
    machine: Machine
    verdict: Verdict
    heard_at: float | None
    error: str | None
    """Why the last reading gave nothing new, in words; null: it did."""
    last_hour: Output | None
    """What it made, and its queue; null: it made nothing and no generation server is known."""
    snapshot: MachineSnapshot | None
    """Its GPUs with who holds them, its generation servers with their running jobs, its host."""


@bp.get("/fleet")
@answers_with(FleetAnswer, *FILTERS)
def fleet() -> Response:
    """Every machine with its verdict, worst first, filtered and sorted as the page is."""
    now, source = services().now(), services().inventory_file
    views, tiers = services().state.views(), source.current.tiers
    try:
        asked = asked_in(request.args)
    except AskedError as error:
        abort(400, str(error))
    chosen = choose([Facts(view, tiers) for view in views], asked)
    by_id = {view.machine.id: view for view in views}
    stands = standing(views, tiers, services().last_hour.current)
    return answers.json(
        FleetAnswer(
            at=now,
            sentence=stands.sentence,
            inventory_error=source.error,
            tiers=stands.tiers,
            states=chosen.states,
            machines=tuple(
                _answer(by_id[each.id]) for group in chosen.groups for each in group.machines
            ),
        )
    )


@bp.get("/machines/<machine_id>")
@answers_with(MachineDetail)
def machine(machine_id: str) -> Response:
    """One machine: its verdict, what it makes, and its last snapshot with who holds its VRAM."""
    view = view_of(machine_id)
    made = services().last_hour.current
    return answers.json(
        MachineDetail(
            at=services().now(),
            machine=view.machine,
            verdict=view.verdict,
            heard_at=view.heard_at,
            error=view.error,
            last_hour=by_machine((view,), made).get(view.machine.id),
            snapshot=view.snapshot,
        )
    )


def _answer(view: MachineView) -> MachineAnswer:
    return MachineAnswer(
        machine=view.machine,
        verdict=view.verdict,
        heard_at=view.heard_at,
        error=view.error,
        simulated=view.snapshot is not None and view.snapshot.simulated,
    )
