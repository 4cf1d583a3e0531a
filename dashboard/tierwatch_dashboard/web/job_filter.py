"""Which jobs a page, a file or an answer lists: what its address asks for, and what is sought.

``/jobs?tier=mass&outcome=oom&from=2026-11-23``: a link to a view that others see too, and that
stays the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, get_args
from urllib.parse import urlencode

import msgspec
from flask import abort, request

from tierwatch_agent.snapshot import Outcome
from tierwatch_dashboard.app import services
from tierwatch_dashboard.history.jobs import JobFilter
from tierwatch_dashboard.weeks import midnight

if TYPE_CHECKING:
    from tierwatch_dashboard.fleet.state import MachineView

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
_LONGEST = 200
_NAMES = {"since": "from", "until": "to"}
"""What goes by another name in the address."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What of the jobs is asked for; None: all."""

    machine: str | None = None
    outcome: Outcome | None = None
    model: str | None = None
    """A part of its name."""
    tier: str | None = None
    """The tier that the machine is assigned to now."""
    tag: str | None = None
    server: str | None = None
    """A kind of generation server."""
    since: date | None = None
    until: date | None = None
    """The last day."""
    error: str | None = None
    """A part of it."""
    before: int | None = None
    """Key of the job after which the list goes on."""

    def query(self, **changes: object) -> str:
        """This as the address says it, with these parts changed."""
        parts = {**msgspec.structs.asdict(self), **changes}
        said = {_NAMES.get(name, name): value for name, value in parts.items() if value is not None}
        return f"?{urlencode(said)}" if said else ""

    @property
    def further(self) -> int:
        """How many of the less usual filters are set."""
        rest = (self.tier, self.tag, self.server, self.since, self.until, self.error)
        return sum(each is not None for each in rest)

    @property
    def filters(self) -> bool:
        """Whether it leaves jobs out."""
        return bool(self.further or self.machine or self.outcome or self.model)


def asked_for() -> Asked:
    """What the address asks for; answers 400 in words where that cannot be."""
    said = {name: value[:_LONGEST] for name, value in request.args.items() if value.strip()}
    outcome, before = said.get("outcome"), said.get("before")
    if outcome is not None and outcome not in OUTCOMES:
        abort(400, f"outcome must be one of {', '.join(OUTCOMES)}; it is {outcome}")
    if before is not None and not (before.isascii() and before.isdecimal() and len(before) < 19):
        abort(400, f"before must be the key of a job; it is {before}")
    return Asked(
        machine=said.get("machine"),
        outcome=outcome,
        model=said.get("model"),
        tier=said.get("tier"),
        tag=said.get("tag"),
        server=said.get("server"),
        since=_day(said, "from"),
        until=_day(said, "to"),
        error=said.get("error"),
        before=None if before is None else int(before),
    )


def sought(asked: Asked) -> JobFilter:
    """What the store is asked for; days are the dashboard's own."""
    machines = None
    if asked.machine is not None:
        machines = frozenset((asked.machine,))
    if asked.tier is not None or asked.tag is not None:
        of_team = {view.machine.id for view in services().state.views() if _is_of(view, asked)}
        machines = frozenset(of_team if machines is None else of_team & machines)
    last = None if asked.until is None else asked.until + timedelta(days=1)
    return JobFilter(
        machines=machines,
        server=asked.server,
        outcome=asked.outcome,
        since=None if asked.since is None else midnight(asked.since, None),
        until=None if last is None else midnight(last, None),
        model=asked.model,
        error=asked.error,
    )


def views_of(asked: Asked) -> list[MachineView]:
    """The machines that are asked for."""
    return [
        view
        for view in services().state.views()
        if asked.machine in (None, view.machine.id) and _is_of(view, asked)
    ]


def _is_of(view: MachineView, asked: Asked) -> bool:
    tags = view.machine.tags
    return asked.tier in (None, view.machine.duty) and (asked.tag is None or asked.tag in tags)


def _day(said: Mapping[str, str], name: str) -> date | None:
    written = said.get(name)
    if written is None:
        return None
    try:
        day = date.fromisoformat(written)
    except ValueError:
        abort(400, f"{name} must be a day such as 2026-11-23; it is {written}")
    if not 1971 <= day.year < 9000:
        abort(400, f"{name} must be a day of this age; it is {written}")
    return day
