"""What is different between two inventories, one line for each thing that changed. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from tierwatch_agent.tiers import Tier
from tierwatch_dashboard.inventory import Machine, Policy

What = Literal[
    "machine.added",
    "machine.removed",
    "machine.url",
    "machine.tier",
    "machine.gpu_tiers",
    "machine.gpus",
    "machine.tags",
    "machine.maintenance",
    "tier.added",
    "tier.removed",
    "tier.name",
    "tier.vram_gb",
    "tier.allowance_gb",
    "tier.purpose",
    "policy",
    "alerts",
]
"""``policy`` and ``alerts`` are settings of the whole studio."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of an inventory to tell what became different."""

    machines: tuple[Machine, ...]
    tiers: tuple[Tier, ...]
    policy: Policy
    alerts: str
    """A digest: the settings hold secrets."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that changed. Values as the file has them; None: there was, or is, none."""

    what: What
    subject: str
    """The machine's id, the tier's name, or the setting's."""
    before: str | None = None
    after: str | None = None


def differences(
    before: Known, after: Known, renamed: tuple[str, str] | None = None
) -> Iterator[Difference]:
    """What changed, tiers first. ``renamed``: the old and the new name of a tier."""
    yield from _tiers(before, after, renamed)
    old = {machine.id: machine for machine in before.machines}
    new = {machine.id: machine for machine in after.machines}
    for id_ in sorted(old.keys() - new.keys()):
        yield Difference(what="machine.removed", subject=id_, before=old[id_].duty)
    for id_, machine in new.items():
        if id_ not in old:
            yield Difference(what="machine.added", subject=id_, after=machine.duty)
        else:
            yield from _machine(old[id_], machine, renamed)
    for name, value in msgspec.structs.asdict(after.policy).items():
        was = getattr(before.policy, name)
        if was != value:
            yield Difference(what="policy", subject=name, before=f"{was:g}", after=f"{value:g}")
    if before.alerts != after.alerts:
        yield Difference(what="alerts", subject="alerts")


def _tiers(before: Known, after: Known, renamed: tuple[str, str] | None) -> Iterator[Difference]:
    old = {tier.name: tier for tier in before.tiers}
    new = {tier.name: tier for tier in after.tiers}
    if renamed and renamed[0] in old and renamed[1] in new:
        was, name = renamed
        old[name] = old.pop(was)
        yield Difference(what="tier.name", subject=name, before=was, after=name)
    for name in sorted(old.keys() - new.keys()):
        yield Difference(what="tier.removed", subject=name, before=f"{old[name].vram_gb:g}")
    for name, tier in new.items():
        known = old.get(name)
        if known is None:
            yield Difference(what="tier.added", subject=name, after=f"{tier.vram_gb:g}")
            continue
        yield from _figure("tier.vram_gb", name, known.vram_gb, tier.vram_gb)
        yield from _figure("tier.allowance_gb", name, known.allowance_gb, tier.allowance_gb)
        yield from _words("tier.purpose", name, known.purpose or None, tier.purpose or None)


def _machine(
    before: Machine, after: Machine, renamed: tuple[str, str] | None
) -> Iterator[Difference]:
    # Whoever was assigned to a tier that has another name now still is.
    names = dict([renamed] if renamed else [])
    own = {index: names.get(tier, tier) for index, tier in before.gpu_tiers.items()}
    tier = names.get(before.tier, before.tier) if before.tier else None
    yield from _words("machine.url", after.id, before.url, after.url)
    yield from _words("machine.tier", after.id, tier, after.tier)
    yield from _words("machine.gpu_tiers", after.id, _paired(own), _paired(after.gpu_tiers))
    yield from _words("machine.gpus", after.id, before.gpus, after.gpus)
    tags = (", ".join(each) or None for each in (before.tags, after.tags))
    yield from _words("machine.tags", after.id, *tags)
    switched = ("on" if each.maintenance else "off" for each in (before, after))
    yield from _words("machine.maintenance", after.id, *switched)


def _figure(what: What, subject: str, before: float, after: float) -> Iterator[Difference]:
    yield from _words(what, subject, f"{before:g}", f"{after:g}")


def _words(what: What, subject: str, before: str | None, after: str | None) -> Iterator[Difference]:
    if before != after:
        yield Difference(what=what, subject=subject, before=before, after=after)


def _paired(tiers: Mapping[str, str]) -> str | None:
    return ", ".join(f"{index}: {tier}" for index, tier in sorted(tiers.items())) or None
