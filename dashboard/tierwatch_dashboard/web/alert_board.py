"""The board of alerts as a request finds it, and how its alerts stand now."""

from __future__ import annotations

from flask import abort

from tierwatch_agent.words import say
from tierwatch_dashboard.alerts.board import AlertBoard
from tierwatch_dashboard.app import services
from tierwatch_dashboard.web.alert_lines import Standing, standing


def board() -> AlertBoard:
    """Where alerts are kept; answers 404 in words where none are."""
    found = services().alerts
    if found is None:
        abort(404, say("This dashboard looks after no alerts."))
    return found.board


def stands() -> Standing | None:
    """How the alerts stand now; None where none are looked after."""
    found = services().alerts
    if found is None:
        return None
    board_now = found.board
    # An Alertmanager knows nothing of what the inventory says.
    resting = (
        frozenset(v.machine.id for v in services().state.views() if v.machine.maintenance)
        if board_now.origin is None
        else frozenset[str]()
    )
    return standing(board_now, resting, services().now())
