"""What was found of a machine holds for as long as its view does, and goes with either."""

from __future__ import annotations

import msgspec

from tests.dashboard.both_ways import START
from tests.dashboard.doubles import InventoryFile
from tests.dashboard.watch import card, snapshot
from tierwatch_agent.snapshot import ServerSample, Stall
from tierwatch_dashboard.alerts.found import Found
from tierwatch_dashboard.fleet import Reading
from tierwatch_dashboard.fleet.state import FleetState
from tierwatch_dashboard.inventory import Inventory, Machine

STALL = Stall(cause="hang", since=START - 200, evidence="no step for 190 s")
BOTH = Inventory(machines=tuple(Machine(id=id_, url="http://x", tier="mass") for id_ in "ab"))


class Studio:
    """Two machines, and what is found of them at each look."""

    def __init__(self) -> None:
        self.file = InventoryFile(current=BOTH)
        self.state = FleetState(self.file, lambda: START)
        self.found = Found()

    def hear(self, machine: str, *, stalls: bool, at: float = START) -> None:
        server = ServerSample(id="comfyui-8188", kind="comfyui", stall=STALL if stalls else None)
        told = msgspec.structs.replace(snapshot(card()), taken_at=at, servers=(server,))
        self.state.receive(Reading(machine=machine, at=at, snapshot=told))

    def look(self) -> list[str]:
        found = self.found.findings(self.state.views(), self.file.current, START)
        return sorted(f"{each.rule} {each.labels['machine']}" for each in found)


def test_what_was_found_holds_until_its_machine_says_something_else() -> None:
    studio = Studio()
    studio.hear("a", stalls=True)
    studio.hear("b", stalls=True)
    assert studio.look() == ["GenerationJobHung a", "GenerationJobHung b"]
    assert studio.look() == ["GenerationJobHung a", "GenerationJobHung b"]
    studio.hear("a", stalls=False, at=START + 5)
    assert studio.look() == ["GenerationJobHung b"]


def test_what_was_found_of_a_machine_leaves_with_it() -> None:
    studio = Studio()
    studio.hear("a", stalls=True)
    assert studio.look() == ["GenerationJobHung a"]
    # The inventory is read before the fleet follows it.
    studio.file.current = msgspec.structs.replace(BOTH, machines=BOTH.machines[1:])
    studio.look()
    studio.state.judge(START)
    assert studio.look() == []


def test_another_inventory_is_looked_at_anew() -> None:
    studio = Studio()
    studio.hear("a", stalls=True)
    assert studio.look() == ["GenerationJobHung a"]
    first = msgspec.structs.replace(BOTH.machines[0], maintenance=True)
    studio.file.current = msgspec.structs.replace(BOTH, machines=(first, BOTH.machines[1]))
    studio.state.judge(START)
    assert studio.look() == []
