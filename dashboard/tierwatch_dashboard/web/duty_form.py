"""What a machine's form of assignment and maintenance shows, and what it sends. Pure.

Each choice says what the machine would be: an assignment is a decision and not a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from tierwatch_agent.snapshot import GpuSample
from tierwatch_agent.tiers import Tier, ladder
from tierwatch_agent.words import commas, say
from tierwatch_dashboard.inventory import Inventory, Machine
from tierwatch_dashboard.inventory_change import Assign, Gpus, Maintain, machine_of, standing
from tierwatch_dashboard.qualifying import Answer, Kind, answers, duty, of_gpu

if TYPE_CHECKING:
    from tierwatch_dashboard.fleet.state import MachineView

AS_THE_MACHINE = ""
"""A GPU's choice that gives it no tier of its own."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One tier that can be chosen; an empty name: none."""

    tier: str
    kind: Kind | None
    words: str
    chosen: bool


class GpuChoices(msgspec.Struct, frozen=True, kw_only=True):
    """The choices of one GPU; the first is that of its machine."""

    index: str
    name: str
    choices: tuple[Choice, ...]


class DutyForm(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the form shows."""

    machine: str
    assigned: str
    """What it is assigned to, in words."""
    choices: tuple[Choice, ...]
    gpus: tuple[GpuChoices, ...]
    """None where there is just one."""
    any_gpu: bool
    seen: str
    """What the inventory says of the assignment, for the form to send back."""
    maintenance: bool
    maintenance_seen: str
    maintenance_effect: str


def duty_form(
    view: MachineView,
    inventory: Inventory,
    views: Sequence[MachineView],
    chosen: Assign | None = None,
) -> DutyForm:
    """The form of a machine; ``chosen``: what somebody chose in it, else what the file says."""
    # The file is ahead of the fleet for as long as the fleet has not judged anew.
    machine = machine_of(inventory, view.machine.id) or view.machine
    silent = view.verdict.state == "down"
    shown = chosen or Assign(
        machine=machine.id, tier=machine.tier, gpu_tiers=machine.gpu_tiers, gpus=machine.gpus
    )
    asked = msgspec.structs.replace(machine, gpus=shown.gpus)
    found = answers(asked, inventory, view.snapshot, silent=silent)
    highest_first = tuple(reversed(ladder(inventory.tiers)))
    none = Choice(tier="", kind=None, words=say("shown, and not judged"), chosen=shown.tier is None)
    cards = tuple(gpu for gpu in view.snapshot.gpus if not gpu.partitioned) if view.snapshot else ()
    return DutyForm(
        machine=machine.id,
        assigned=assigned_words(machine),
        choices=(
            *(_choice(tier, found[tier.name], shown.tier) for tier in highest_first),
            none,
        ),
        gpus=tuple(_gpu(gpu, highest_first, shown, silent=silent) for gpu in cards)
        if len(cards) > 1 or machine.gpu_tiers
        else (),
        any_gpu=shown.gpus == "any",
        seen=standing(inventory, shown),
        maintenance=machine.maintenance,
        maintenance_seen=standing(inventory, Maintain(machine=machine.id, on=True)),
        maintenance_effect=_maintenance_effect(machine, inventory, views),
    )


def assigned_words(machine: Machine | Assign) -> str:
    """What is assigned: "mass", "mass, GPU 1: draft", "no tier"."""
    words: list[str] = [machine.tier or say("no tier")]
    words += [
        say("GPU {gpu}: {words}", gpu=index, words=tier)
        for index, tier in sorted(machine.gpu_tiers.items())
    ]
    if machine.gpus == "any":
        words.append(say("one GPU that serves it suffices"))
    return commas(words)


def chosen_in(machine: str, form: Mapping[str, str]) -> Assign:
    """What a form was sent with."""
    gpus: Gpus = "any" if form.get("gpus") == "any" else "all"
    own = {
        name.removeprefix("gpu-"): tier
        for name, tier in form.items()
        if name.startswith("gpu-") and tier != AS_THE_MACHINE
    }
    return Assign(machine=machine, tier=form.get("tier") or None, gpu_tiers=own, gpus=gpus)


def _choice(tier: Tier, answer: Answer, chosen: str | None) -> Choice:
    return Choice(tier=tier.name, kind=answer.kind, words=answer.words, chosen=tier.name == chosen)


def _gpu(gpu: GpuSample, tiers: Sequence[Tier], shown: Assign, *, silent: bool) -> GpuChoices:
    own = shown.gpu_tiers.get(gpu.index)
    machine = Choice(
        tier=AS_THE_MACHINE, kind=None, words=say("as the machine"), chosen=own is None
    )
    choices = (_choice(tier, of_gpu(gpu, tier, silent=silent), own) for tier in tiers)
    return GpuChoices(index=gpu.index, name=gpu.name, choices=(machine, *choices))


def _maintenance_effect(
    machine: Machine, inventory: Inventory, views: Sequence[MachineView]
) -> str:
    tier = machine.duty
    if machine.maintenance:
        return say("It is watched, and calls nobody. Once maintenance ends, it is judged again.")
    if tier is None:
        return say("While it lasts, the machine is watched and calls nobody.")
    others = [view for view in views if view.machine.duty == tier and view.machine.id != machine.id]
    able = sum(_serves(view, inventory) for view in others)
    return say(
        "While it lasts, the machine is watched and calls nobody; {tier} would have {able} of its "
        "{all} other machines able.",
        tier=tier,
        able=able,
        all=len(others),
    )


def _serves(view: MachineView, inventory: Inventory) -> bool:
    if view.machine.maintenance:
        return False
    silent = view.verdict.state == "down"
    answer = duty(view.machine, inventory, view.snapshot, silent=silent)
    return answer is not None and answer.kind == "now"
