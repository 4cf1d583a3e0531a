"""What a change of the tiers would do to the machines as they are now. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from tierwatch_agent.words import say_many
from tierwatch_dashboard.inventory import Inventory
from tierwatch_dashboard.inventory_change import named
from tierwatch_dashboard.qualifying import Kind, duty

if TYPE_CHECKING:
    from tierwatch_dashboard.fleet.state import MachineView


class Consequences(msgspec.Struct, frozen=True, kw_only=True):
    """Ids of the machines to which a change makes a difference."""

    short: tuple[str, ...]
    """They serve what they are assigned to, and would not."""
    never: tuple[str, ...]
    """They would never, whatever is ended on them."""
    able: tuple[str, ...]
    """They do not, and would."""


def consequences(views: Sequence[MachineView], before: Inventory, after: Inventory) -> Consequences:
    """What becomes different for the machines if one inventory takes the other's place."""
    then = {machine.id: machine for machine in after.machines}
    short: list[str] = []
    never: list[str] = []
    able: list[str] = []
    for view in sorted(views, key=lambda view: view.machine.id):
        id_ = view.machine.id
        if id_ not in then or view.machine.maintenance:
            continue
        was = _kind(view, before)
        asked = msgspec.structs.replace(view, machine=then[id_])
        will = _kind(asked, after)
        if will == "never" != was:
            never.append(id_)
        elif was == "now" != will:
            short.append(id_)
        elif will == "now" != was:
            able.append(id_)
    return Consequences(short=tuple(short), never=tuple(never), able=tuple(able))


def sentences(found: Consequences) -> tuple[str, ...]:
    """The same in words; empty where nothing becomes different."""
    said: list[str] = []
    if found.short:
        said.append(
            say_many(
                "{count} more machine would be short now: {machines}.",
                "{count} more machines would be short now: {machines}.",
                len(found.short),
                machines=named(found.short),
            )
        )
    if found.never:
        said.append(
            say_many(
                "{count} machine could never serve what it is assigned to: {machines}.",
                "{count} machines could never serve what they are assigned to: {machines}.",
                len(found.never),
                machines=named(found.never),
            )
        )
    if found.able:
        said.append(
            say_many(
                "{count} more machine would serve what it is assigned to: {machines}.",
                "{count} more machines would serve what they are assigned to: {machines}.",
                len(found.able),
                machines=named(found.able),
            )
        )
    return tuple(said)


def _kind(view: MachineView, inventory: Inventory) -> Kind | None:
    silent = view.verdict.state == "down"
    answer = duty(view.machine, inventory, view.snapshot, silent=silent)
    return answer.kind if answer else None
