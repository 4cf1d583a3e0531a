"""The form of one tier: what people write into it, read and checked. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from tierwatch_agent.tiers import DEFAULT_ALLOWANCE_GB, Tier
from tierwatch_agent.words import say
from tierwatch_dashboard.consequences import consequences, sentences
from tierwatch_dashboard.inventory import Inventory
from tierwatch_dashboard.inventory_change import (
    AddTier,
    Change,
    EditError,
    RemoveTier,
    SetTier,
    applied,
    standing,
)
from tierwatch_dashboard.qualifying import answers

if TYPE_CHECKING:
    from tierwatch_dashboard.fleet.state import MachineView

Deed = Literal["set", "add", "remove"]
LONGEST_NAME = 60
LONGEST_PURPOSE = 200


class TierForm(msgspec.Struct, frozen=True, kw_only=True):
    """A form as it is shown: what is written in it, and what it would come to."""

    deed: Deed
    original: str
    """The tier that it is about, by the name it has; empty: a new one."""
    seen: str
    """What the inventory said of it when the form was made."""
    name: str
    vram_gb: str
    allowance_gb: str
    purpose: str
    effect: tuple[str, ...] | None = None
    """What the change would do, once that was asked for."""


def form_of(inventory: Inventory, name: str) -> TierForm:
    """The form of a tier as it is; EditError where there is none of that name."""
    for tier in inventory.tiers:
        if tier.name == name:
            return TierForm(
                deed="set",
                original=name,
                seen=standing(inventory, RemoveTier(name=name)),
                name=name,
                vram_gb=f"{tier.vram_gb:g}",
                allowance_gb=f"{tier.allowance_gb:g}",
                purpose=tier.purpose,
            )
    raise EditError(say("There is no tier {tier} any more.", tier=name))


def new_form() -> TierForm:
    """The form of a tier that is to be added."""
    allowance = f"{DEFAULT_ALLOWANCE_GB:g}"
    return TierForm(
        deed="add", original="", seen="", name="", vram_gb="", allowance_gb=allowance, purpose=""
    )


def written(form: Mapping[str, str]) -> TierForm:
    """A form as it was sent."""
    asked = form.get("deed", "set")
    deed: Deed = "add" if asked == "add" else "remove" if asked == "remove" else "set"
    return TierForm(
        deed=deed,
        original=form.get("tier", ""),
        seen=form.get("seen", ""),
        name=" ".join(form.get("tier_name", "").split()),
        vram_gb=form.get("vram_gb", "").strip(),
        allowance_gb=form.get("allowance_gb", "").strip(),
        purpose=" ".join(form.get("purpose", "").split()),
    )


def change_in(form: TierForm) -> Change:
    """The change that a form asks for; EditError names what cannot be, and the mend."""
    if form.deed == "remove":
        return RemoveTier(name=form.original)
    if not form.name or len(form.name) > LONGEST_NAME:
        raise EditError(say("A tier needs a name of {most} characters at most.", most=LONGEST_NAME))
    if len(form.purpose) > LONGEST_PURPOSE:
        raise EditError(
            say("What a tier is for is said in {most} characters at most.", most=LONGEST_PURPOSE)
        )
    tier = Tier(
        name=form.name,
        vram_gb=_gigabytes(say("Class of card"), form.vram_gb, "16"),
        allowance_gb=_gigabytes(say("Allowance"), form.allowance_gb or "1", "1"),
        purpose=form.purpose,
    )
    return AddTier(tier=tier) if form.deed == "add" else SetTier(name=form.original, tier=tier)


def with_effect(form: TierForm, inventory: Inventory, views: Sequence[MachineView]) -> TierForm:
    """The form with what its change would do; EditError where the change cannot be."""
    change = change_in(form)
    after = applied(inventory, change)
    if after == inventory:
        return msgspec.structs.replace(form, effect=(say("Nothing would change."),))
    said = list(sentences(consequences(views, inventory, after)))
    if isinstance(change, SetTier | AddTier):
        said.append(_qualifying(views, inventory, after, form.original, change.tier.name))
    if isinstance(change, RemoveTier):
        said.append(say("Nothing is assigned to {tier}.", tier=change.name))
    elif not isinstance(change, AddTier) and len(said) == 1:
        said.insert(0, say("Every machine goes on serving what it is assigned to as it does."))
    return msgspec.structs.replace(form, effect=tuple(said))


def _qualifying(
    views: Sequence[MachineView], before: Inventory, after: Inventory, was: str, name: str
) -> str:
    will = _able(views, after, name)
    if not was:
        return say("{count} of {all} machines would qualify now.", count=will, all=len(views))
    return say(
        "{count} of {all} machines would qualify for it now; today {before} do.",
        count=will,
        all=len(views),
        before=_able(views, before, was),
    )


def _able(views: Sequence[MachineView], inventory: Inventory, tier: str) -> int:
    only = tuple(each for each in inventory.tiers if each.name == tier)
    asked = msgspec.structs.replace(inventory, tiers=only)
    return sum(
        answers(v.machine, asked, v.snapshot, silent=v.verdict.state == "down")[tier].kind == "now"
        for v in views
    )


def _gigabytes(what: str, text: str, example: str) -> float:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = math.nan
    if not 0 <= value <= 10_000:
        raise EditError(
            say(
                "{what} is “{text}”; write gigabytes as a number, such as {example}.",
                what=what,
                text=text,
                example=example,
            )
        )
    return value
