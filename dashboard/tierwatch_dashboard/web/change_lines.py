"""Changes of the inventory as pages tell them: when, by whom, and what, in a sentence. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tierwatch_agent.words import phrase, say
from tierwatch_dashboard.inventory_difference import What

if TYPE_CHECKING:
    from tierwatch_dashboard.audit import Entry

_FROM_TO: dict[What, str] = {
    "machine.url": phrase("address {after}; it was {before}"),
    "machine.tier": phrase("assigned to {after}; it was {before}"),
    "machine.gpu_tiers": phrase("GPUs of their own tier: {after}; it was {before}"),
    "machine.tags": phrase("tags: {after}; it was {before}"),
    "tier.name": phrase("renamed; it was {before}"),
    "tier.vram_gb": phrase("asks for {after} GB cards; it was {before} GB"),
    "tier.allowance_gb": phrase("allows {after} GB for driver and desktop; it was {before} GB"),
    "tier.purpose": phrase("is for: {after}; it was: {before}"),
    "policy": phrase("{after}; it was {before}"),
}
_ONE: dict[What, str] = {
    "tier.added": phrase("new tier, for {after} GB cards"),
    "tier.removed": phrase("tier removed; it was for {before} GB cards"),
    "alerts": phrase("the settings of alerts changed"),
}
_BY_VALUE: dict[tuple[What, str | None], str] = {
    ("machine.maintenance", "on"): say("maintenance began"),
    ("machine.maintenance", "off"): say("maintenance ended"),
    ("machine.gpus", "any"): say("one GPU that serves its tier suffices"),
    ("machine.gpus", "all"): say("each GPU must serve its tier"),
}
_NONE = say("none")
_NO_TIER = say("no tier")


class ChangeLine(msgspec.Struct, frozen=True, kw_only=True):
    """One change. ``at`` in Unix seconds."""

    key: int
    at: float
    by: str
    machine: str | None
    """None: it is no machine's."""
    subject: str
    what: str


def change_line(entry: Entry) -> ChangeLine:
    """An entry of the log in words."""
    return ChangeLine(
        key=entry.key,
        at=entry.at,
        by=entry.by or (say("somebody, in the file") if entry.way == "file" else say("somebody")),
        machine=entry.subject if entry.what.startswith("machine.") else None,
        subject=entry.subject,
        what=_what(entry),
    )


def _what(entry: Entry) -> str:
    what, before, after = entry.what, entry.before, entry.after
    if (what, after) in _BY_VALUE:
        return _BY_VALUE[what, after]
    if what == "machine.added":
        return say("new machine, assigned to {tier}", tier=after or _NO_TIER)
    if what == "machine.removed":
        return say("machine removed; it was assigned to {tier}", tier=before or _NO_TIER)
    if what in _ONE:
        return say(_ONE[what], before=before, after=after)
    none = _NO_TIER if what == "machine.tier" else _NONE
    return say(_FROM_TO[what], before=before or none, after=after or none)
