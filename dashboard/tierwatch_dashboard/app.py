"""The dashboard as a Flask application: the services that its pages read, and the factory."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from flask import Blueprint, Flask, current_app

from tierwatch_dashboard.fleet import SourceHealth
from tierwatch_dashboard.fleet.trend import Trends
from tierwatch_dashboard.inventory import Inventory

if TYPE_CHECKING:
    from tierwatch_dashboard.alerts.board import AlertBoard
    from tierwatch_dashboard.audit import Entry
    from tierwatch_dashboard.envelope import Envelope
    from tierwatch_dashboard.fleet.state import MachineView
    from tierwatch_dashboard.history import History
    from tierwatch_dashboard.history.jobs import JobLog
    from tierwatch_dashboard.history.past import PastLog
    from tierwatch_dashboard.inventory_change import Change
    from tierwatch_dashboard.last_hour import Made
    from tierwatch_dashboard.reports import Reports

BLUEPRINTS: tuple[str, ...] = (
    "tierwatch_dashboard.web.fleet:bp",
    "tierwatch_dashboard.web.machine:bp",
    "tierwatch_dashboard.web.charts:bp",
    "tierwatch_dashboard.web.jobs:bp",
    "tierwatch_dashboard.web.report:bp",
    "tierwatch_dashboard.web.assignments:bp",
    "tierwatch_dashboard.web.tiers:bp",
    "tierwatch_dashboard.web.envelope:bp",
    "tierwatch_dashboard.web.alerts:bp",
    "tierwatch_dashboard.web.silences:bp",
    "tierwatch_dashboard.web.api:bp",
    "tierwatch_dashboard.web.api_past:bp",
    "tierwatch_dashboard.web.api_jobs:bp",
    "tierwatch_dashboard.web.api_alerts:bp",
    "tierwatch_dashboard.web.api_studio:bp",
    "tierwatch_dashboard.web.api_report:bp",
    "tierwatch_dashboard.web.api_envelope:bp",
    "tierwatch_dashboard.web.openapi:bp",
    "tierwatch_dashboard.web.discovery:bp",
    "tierwatch_dashboard.web.health:bp",
)
"""One blueprint per page area, as ``module:name``."""

INITIALISERS: tuple[str, ...] = (
    "tierwatch_dashboard.web.static_files:init_app",
    "tierwatch_dashboard.web.formats:init_app",
    "tierwatch_dashboard.web.language:init_app",
    "tierwatch_dashboard.web.errors:init_app",
    "tierwatch_dashboard.web.badge:init_app",
    "tierwatch_dashboard.web.frame:init_app",
    "tierwatch_dashboard.web.answers:init_app",
)
"""What every page shares, as ``module:function``."""

_EXTENSION = "tierwatch"


class Fleet(Protocol):
    """The fleet as it is now, as ``fleet.state`` keeps it."""

    @property
    def version(self) -> int:
        """Rises whenever something shown changed."""
        ...

    def views(self) -> tuple[MachineView, ...]:
        """Every machine of the inventory, worst first."""
        ...

    def view(self, machine_id: str) -> MachineView | None:
        """One machine; None where the inventory has no such id."""
        ...


class InventoryInForce(Protocol):
    """The inventory file, as ``inventory`` watches it."""

    @property
    def current(self) -> Inventory:
        """The last good edit."""
        ...

    @property
    def error(self) -> str | None:
        """What is wrong with the file as it is now; None: nothing."""
        ...


class InventoryEditor(Protocol):
    """The inventory file, as ``inventory_file`` edits it."""

    def change(self, change: Change, by: str, expected: str | None = None) -> None:
        """Makes a change in the file, in force at once; EditError where it cannot be made."""
        ...


class ChangeLog(Protocol):
    """Who changed what of the inventory, as ``audit`` keeps it."""

    def recent(
        self, limit: int, machine: str | None = None, before: int | None = None
    ) -> tuple[Entry, ...]:
        """The latest first; of one machine alone, or those before the entry of a key."""
        ...


class LastHour(Protocol):
    """What the fleet made lately, as it is counted in the background."""

    @property
    def current(self) -> Made:
        """The last count."""
        ...


class Production(Protocol):
    """What the studio makes and what it takes, as it is counted in the background."""

    @property
    def current(self) -> Envelope:
        """The last count."""
        ...


class Alerts(Protocol):
    """Where alerts are kept, as the settings have it."""

    @property
    def board(self) -> AlertBoard:
        """The board in force."""
        ...


@dataclass(frozen=True)
class Services:
    """What the pages read. ``now`` gives Unix seconds."""

    state: Fleet
    history: History
    jobs: JobLog
    last_hour: LastHour
    inventory_file: InventoryInForce
    now: Callable[[], float]
    past: PastLog | None = None
    """None: of the past there are figures alone."""
    alerts: Alerts | None = None
    """None: this dashboard looks after no alerts, and its pages do not speak of any."""
    editor: InventoryEditor | None = None
    """None: the pages of this dashboard change nothing."""
    audit: ChangeLog | None = None
    """None: this dashboard keeps no log of changes."""
    reports: Reports | None = None
    """None: this dashboard keeps no reports."""
    production: Production | None = None
    """None: this dashboard keeps no jobs of its own, and nothing is known of recipes."""

    trends: Trends = field(default_factory=Trends)
    """The last hour of available VRAM."""
    inventory_is_stored: bool = False
    """Whether the inventory stands in the database, and in no file."""
    database_error: Callable[[], str | None] = lambda: None
    """Why the database gives no answer; None: it does."""
    source: Callable[[], SourceHealth] = SourceHealth
    """How what tells of the machines fares."""
    look_seconds: float = 0.0
    """For how long pages share one look at the fleet; 0: each looks anew."""


def create_app(services: Services) -> Flask:
    """The application; it starts nothing and owns no state but what the pages remember."""
    app = Flask(__name__, template_folder="web/templates", static_folder="web/static")
    app.extensions[_EXTENSION] = services
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    for place in INITIALISERS:
        cast("Callable[[Flask], None]", _load(place))(app)
    for place in BLUEPRINTS:
        app.register_blueprint(cast(Blueprint, _load(place)))
    return app


def services() -> Services:
    """The services of the application that answers the current request."""
    return cast(Services, current_app.extensions[_EXTENSION])


def _load(place: str) -> object:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
