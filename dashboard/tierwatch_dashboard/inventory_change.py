"""What a page may change of the inventory, and what comes of it. Pure.

A form remembers what the inventory said when it was made (``standing``), so that what somebody else
changed meanwhile is noticed and not overwritten. ``inventory_edit`` makes a change in the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from tierwatch_agent.tiers import Tier
from tierwatch_agent.wording import listed
from tierwatch_agent.words import say, say_many
from tierwatch_dashboard.inventory import Inventory, Machine

NAMED = 8
"""Machines that a sentence names before it counts the rest."""

Gpus = Literal["all", "any"]


class EditError(ValueError):
    """A change that cannot be made; ``words`` say why, and the mend."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


class Assign(msgspec.Struct, frozen=True, kw_only=True):
    """Assigns a machine, all that is said of its tiers at once; as in ``inventory.Machine``."""

    machine: str
    tier: str | None
    gpu_tiers: Mapping[str, str] = {}
    gpus: Gpus = "all"


class Maintain(msgspec.Struct, frozen=True, kw_only=True):
    """Begins or ends a machine's maintenance."""

    machine: str
    on: bool


class SetTags(msgspec.Struct, frozen=True, kw_only=True):
    """Gives a machine these tags, in place of those it had."""

    machine: str
    tags: tuple[str, ...]


class SetTier(msgspec.Struct, frozen=True, kw_only=True):
    """Gives a tier other figures and words; with another name, all that names it follows."""

    name: str
    tier: Tier


class AddTier(msgspec.Struct, frozen=True, kw_only=True):
    """Adds a tier."""

    tier: Tier


class RemoveTier(msgspec.Struct, frozen=True, kw_only=True):
    """Removes a tier that nothing is assigned to."""

    name: str


Change = Assign | Maintain | SetTags | SetTier | AddTier | RemoveTier


def standing(inventory: Inventory, change: Change) -> str:
    """What the inventory says of what a change is about; empty where it knows nothing of it."""
    match change:
        case Assign() | Maintain() | SetTags():
            machine = machine_of(inventory, change.machine)
            return "" if machine is None else _said(_part(machine, change))
        case SetTier(name=name) | RemoveTier(name=name):
            return _said(next((tier for tier in inventory.tiers if tier.name == name), None))
        case AddTier():
            return ""


def applied(inventory: Inventory, change: Change) -> Inventory:
    """The inventory with the change; EditError where it cannot be.

    Alerts' settings stay as they are: where a tier is renamed, the file's edit brings theirs.
    """
    match change:
        case Assign(machine=id_, tier=tier, gpu_tiers=gpu_tiers, gpus=gpus):
            for name in (tier, *gpu_tiers.values()):
                if name is not None:
                    _known_tier(inventory, name)
            return _with_machine(
                inventory, id_, {"tier": tier, "gpu_tiers": dict(gpu_tiers), "gpus": gpus}
            )
        case Maintain(machine=id_, on=on):
            return _with_machine(inventory, id_, {"maintenance": on})
        case SetTags(machine=id_, tags=tags):
            return _with_machine(inventory, id_, {"tags": tags})
        case SetTier(name=name, tier=tier):
            return _with_tier(inventory, name, tier)
        case AddTier(tier=tier):
            _check_new(inventory, tier.name)
            return msgspec.structs.replace(inventory, tiers=(*inventory.tiers, tier))
        case RemoveTier(name=name):
            return _without_tier(inventory, name)


def assigned(inventory: Inventory, tier: str) -> tuple[str, ...]:
    """The machines that are assigned to a tier, or one GPU of which is."""
    return tuple(
        machine.id
        for machine in inventory.machines
        if tier in (machine.tier, *machine.gpu_tiers.values())
    )


def named(machines: Sequence[str]) -> str:
    """Machines in a row: the first few by name, and how many more there are."""
    if len(machines) <= NAMED:
        return listed(machines)
    more = len(machines) - NAMED
    return listed([*machines[:NAMED], say_many("{count} more", "{count} more", more)])


def machine_of(inventory: Inventory, id_: str) -> Machine | None:
    """The machine of that id; None where there is none."""
    return next((machine for machine in inventory.machines if machine.id == id_), None)


def _part(machine: Machine, change: Assign | Maintain | SetTags) -> object:
    match change:
        case Assign():
            return [machine.tier, sorted(machine.gpu_tiers.items()), machine.gpus]
        case Maintain():
            return machine.maintenance
        case SetTags():
            return machine.tags


def _said(part: object) -> str:
    return "" if part is None else msgspec.json.encode(part).decode()


def _with_machine(inventory: Inventory, id_: str, changes: dict[str, object]) -> Inventory:
    if machine_of(inventory, id_) is None:
        raise EditError(say("The inventory has no machine {machine} any more.", machine=id_))
    machines = (
        msgspec.structs.replace(machine, **changes) if machine.id == id_ else machine
        for machine in inventory.machines
    )
    return msgspec.structs.replace(inventory, machines=tuple(machines))


def _with_tier(inventory: Inventory, name: str, tier: Tier) -> Inventory:
    _known_tier(inventory, name)
    if tier.name != name:
        _check_new(inventory, tier.name)
    machines = (
        msgspec.structs.replace(
            machine,
            tier=tier.name if machine.tier == name else machine.tier,
            gpu_tiers={
                index: tier.name if own == name else own for index, own in machine.gpu_tiers.items()
            },
        )
        for machine in inventory.machines
    )
    tiers = (tier if each.name == name else each for each in inventory.tiers)
    return msgspec.structs.replace(inventory, machines=tuple(machines), tiers=tuple(tiers))


def _without_tier(inventory: Inventory, name: str) -> Inventory:
    _known_tier(inventory, name)
    if held := assigned(inventory, name):
        raise EditError(
            say(
                "{tier} cannot be removed: {machines} are assigned to it. Assign them to another "
                "tier first.",
                tier=name,
                machines=named(held),
            )
        )
    tiers = tuple(tier for tier in inventory.tiers if tier.name != name)
    if not tiers:
        raise EditError(say("A studio needs one tier at least: add another one first."))
    return msgspec.structs.replace(inventory, tiers=tiers)


def _known_tier(inventory: Inventory, name: str) -> None:
    if name not in (tier.name for tier in inventory.tiers):
        raise EditError(say("There is no tier {tier} any more.", tier=name))


def _check_new(inventory: Inventory, name: str) -> None:
    if name in (tier.name for tier in inventory.tiers):
        raise EditError(
            say("There is a tier {tier} already: give this one another name.", tier=name)
        )
