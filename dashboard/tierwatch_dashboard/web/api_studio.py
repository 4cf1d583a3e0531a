"""What the team decided, as JSON: tiers with who qualifies for them, and who changed what."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from flask import Blueprint, abort, request
from werkzeug.wrappers import Response

from tierwatch_agent.tiers import ladder
from tierwatch_dashboard.app import services
from tierwatch_dashboard.audit import Entry
from tierwatch_dashboard.qualifying import Answer
from tierwatch_dashboard.qualifying import answers as answers_of
from tierwatch_dashboard.web import answers, paging
from tierwatch_dashboard.web.openapi import Parameter, answers_with

bp = Blueprint("api_studio", __name__, url_prefix="/api/v1")


class TierAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A tier: what it asks of a card, and which machines would serve it."""

    name: str
    purpose: str
    vram_gb: float
    """The class of card, in 10^9 bytes."""
    allowance_gb: float
    """What driver and desktop may take of it."""
    class_bytes: int
    """What a card of this class has in total, at least."""
    floor_bytes: int
    """What must be available, at least."""
    machines: Mapping[str, Answer]
    """By id: whether it would serve the tier if it were assigned to it, and what would lift it."""


class TiersAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Every tier, the highest first."""

    at: float
    tiers: tuple[TierAnswer, ...]


class ChangesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Changes of the inventory, the latest first."""

    at: float
    changes: tuple[Entry, ...]
    before: int | None
    """Asks for what is older; null: there is nothing older."""


@bp.get("/tiers")
@answers_with(TiersAnswer)
def tiers() -> Response:
    """What each tier asks, which machines would serve it, and what would lift the others."""
    inventory = services().inventory_file.current
    by_machine = {
        view.machine.id: answers_of(
            view.machine, inventory, view.snapshot, silent=view.verdict.state == "down"
        )
        for view in services().state.views()
    }
    return answers.json(
        TiersAnswer(
            at=services().now(),
            tiers=tuple(
                TierAnswer(
                    name=tier.name,
                    purpose=tier.purpose,
                    vram_gb=tier.vram_gb,
                    allowance_gb=tier.allowance_gb,
                    class_bytes=tier.class_bytes,
                    floor_bytes=tier.floor_bytes,
                    machines={id_: found[tier.name] for id_, found in by_machine.items()},
                )
                for tier in reversed(ladder(inventory.tiers))
            ),
        )
    )


@bp.get("/changes")
@answers_with(
    ChangesAnswer,
    Parameter(name="machine", words="the id of a machine: its own changes alone"),
    paging.BEFORE,
    paging.LIMIT,
    refusals={404: "This dashboard keeps no log of changes."},
)
def changes() -> Response:
    """Who changed what of the inventory, and when, the latest first."""
    log = services().audit
    if log is None:
        abort(404, "This dashboard keeps no log of changes.")
    count = paging.limit()
    kept = log.recent(count + 1, request.args.get("machine") or None, paging.before())
    shown, before = paging.page(kept, count)
    return answers.json(ChangesAnswer(at=services().now(), changes=shown, before=before))
