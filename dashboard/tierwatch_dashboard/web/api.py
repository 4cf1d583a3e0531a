"""What the pages show, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from flask import Blueprint, abort, request
from werkzeug.wrappers import Response

from tierwatch_agent.snapshot import MachineSnapshot, ServerSample
from tierwatch_agent.words import english
from tierwatch_dashboard.alerts import Silence
from tierwatch_dashboard.alerts.board import Origin
from tierwatch_dashboard.app import services
from tierwatch_dashboard.history.jobs import StoredJob
from tierwatch_dashboard.inventory import Machine
from tierwatch_dashboard.verdict import Verdict
from tierwatch_dashboard.web.alert_board import board, stands
from tierwatch_dashboard.web.alert_lines import AlertLine, Standing, of_machine, sentence
from tierwatch_dashboard.web.jobs import asked_for
from tierwatch_dashboard.web.machine import view_of
from tierwatch_dashboard.web.standing import TierStanding, standing

if TYPE_CHECKING:
    from tierwatch_dashboard.fleet.state import MachineView

bp = Blueprint("api", __name__, url_prefix="/api/v1")

MOST_JOBS = 500

_encoder = msgspec.json.Encoder(enc_hook=english)


class MachineAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One machine: what the team decided, the verdict, and when it was last heard."""

    machine: Machine
    verdict: Verdict
    heard_at: float | None
    error: str | None
    simulated: bool


class FleetAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet, worst first."""

    at: float
    sentence: str
    inventory_error: str | None
    tiers: tuple[TierStanding, ...]
    machines: tuple[MachineAnswer, ...]


class MachineDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One machine with the last snapshot it had, however old."""

    at: float
    machine: Machine
    verdict: Verdict
    heard_at: float | None
    error: str | None
    snapshot: MachineSnapshot | None


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
    """Asks for what is older; None: there is nothing older."""


class AlertsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Every alert, each list worst first, and the silences that are not over."""

    at: float
    sentence: str
    origin: Origin | None
    """The Alertmanager that they are from; None: they are this dashboard's own."""
    firing: tuple[AlertLine, ...]
    quiet: tuple[AlertLine, ...]
    """Silenced, or of a machine in maintenance."""
    pending: tuple[AlertLine, ...]
    silences: tuple[Silence, ...]


@bp.get("/fleet")
def fleet() -> Response:
    """Every machine with its verdict."""
    now, source = services().now(), services().inventory_file
    views = services().state.views()
    stands = standing(views, source.current.tiers, services().last_hour.current)
    return _json(
        FleetAnswer(
            at=now,
            sentence=stands.sentence,
            inventory_error=source.error,
            tiers=stands.tiers,
            machines=tuple(_answer(view) for view in views),
        )
    )


@bp.get("/machines/<machine_id>")
def machine(machine_id: str) -> Response:
    """One machine with its verdict and its last snapshot."""
    view = view_of(machine_id)
    return _json(
        MachineDetail(
            at=services().now(),
            machine=view.machine,
            verdict=view.verdict,
            heard_at=view.heard_at,
            error=view.error,
            snapshot=view.snapshot,
        )
    )


@bp.get("/jobs")
def jobs() -> Response:
    """Jobs, by ``?machine=``, ``?outcome=`` and ``?before=``; ``?limit=`` is 500 at most."""
    asked = asked_for()
    limit = request.args.get("limit", "50")
    if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:9]) <= MOST_JOBS):
        abort(400, f"limit must be from 1 to {MOST_JOBS}; it is {limit}")
    count = int(limit)
    kept = services().jobs.recent(count + 1, asked.machine, asked.outcome, asked.before)
    return _json(
        JobsAnswer(
            at=services().now(),
            running=tuple(
                RunningAnswer(machine=view.machine.id, server=server)
                for view in services().state.views()
                if asked.machine in (None, view.machine.id)
                and view.snapshot is not None
                and view.verdict.state != "down"
                for server in view.snapshot.servers
            ),
            finished=kept[:count],
            before=kept[count - 1].key if len(kept) > count else None,
        )
    )


@bp.get("/alerts")
def alerts() -> Response:
    """What fires, what is kept quiet, what is about to fire; ``?machine=`` picks one's."""
    found, stands_now = board(), stands() or Standing()
    machine = request.args.get("machine")
    if machine:
        stands_now = of_machine(stands_now, machine)
    return _json(
        AlertsAnswer(
            at=services().now(),
            sentence=sentence(stands_now, found.origin),
            origin=found.origin,
            firing=stands_now.firing,
            quiet=stands_now.quiet,
            pending=stands_now.pending,
            silences=tuple(found.silences()),
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


def _json(answer: object) -> Response:
    return Response(_encoder.encode(answer), mimetype="application/json")
