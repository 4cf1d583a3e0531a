"""What happens on a machine under test: every cause of a stall, and what looks like one."""

from __future__ import annotations

from dataclasses import replace

from tests.end_to_end.stalling_machine import Machine
from tests.fakes.nvml import ANY, GPU_IS_LOST, Card

STALL_AFTER_SECONDS = 15
"""The agents' bound."""
SLOW_SECONDS = 1.0
"""A step of a job that crawls: 5 times as long as usual."""

CARD = Card(
    name="NVIDIA GeForce RTX 4070", total_mib=12282, used_mib=6000, utilization=98, watts=240
)
RESTING = replace(CARD, utilization=0, watts=30)
FULL = replace(CARD, used_mib=11802)
FULL_AND_RESTING = replace(RESTING, used_mib=11802)
OVERFLOWING = replace(FULL, utilization=100, watts=95, pcie_kilobytes=(1_000_000, 8_800_000))
HOT = replace(CARD, celsius=97, throttle=0x40)
LOST = Card(errors={ANY: GPU_IS_LOST})


# --- Stalls -------------------------------------------------------------------------------------


def stops_under_pressure(machine: Machine) -> None:
    machine.show(FULL)
    machine.begin()
    machine.work(6)
    machine.trouble()


def runs_out_of_memory(machine: Machine) -> None:
    machine.show(CARD)
    machine.begin()
    machine.work(3)
    machine.server.end("error")
    machine.trouble()


def hangs(machine: Machine) -> None:
    machine.show(CARD)
    machine.begin()
    machine.work(6)
    machine.show(RESTING)
    machine.trouble()


def never_loads(machine: Machine) -> None:
    machine.begin()
    machine.trouble()


def answers_no_more(machine: Machine) -> None:
    machine.show(CARD)
    machine.begin()
    machine.work(6)
    machine.server.fall_silent()
    machine.trouble()


def answers_no_more_while_it_loads(machine: Machine) -> None:
    machine.begin()
    machine.server.fall_silent()
    machine.trouble()


def loses_its_card(machine: Machine) -> None:
    machine.show(CARD)
    machine.begin()
    machine.work(6)
    machine.show(LOST)
    machine.trouble()


def reports_an_xid(machine: Machine) -> None:
    machine.show(CARD)
    machine.begin()
    machine.work(6)
    machine.show(replace(CARD, xids=(119,)))
    machine.trouble()


def slows_down(machine: Machine, card: Card) -> None:
    machine.show(CARD)
    machine.begin()
    machine.work(8)
    machine.show(card)
    machine.trouble()
    machine.work(60, SLOW_SECONDS)


def overheats(machine: Machine) -> None:
    slows_down(machine, HOT)


def overflows(machine: Machine) -> None:
    slows_down(machine, OVERFLOWING)


def decodes_in_tiles(machine: Machine) -> None:
    machine.show(CARD)
    machine.begin()
    machine.work(8)
    machine.server.decode_in_tiles()
    machine.trouble()
    machine.work(60, SLOW_SECONDS)


# --- No stalls ----------------------------------------------------------------------------------


def loads_for_the_first_time(machine: Machine) -> None:
    machine.show(FULL_AND_RESTING)
    machine.begin()
    machine.wait(STALL_AFTER_SECONDS - 6)
    machine.work(3)
    machine.wait(22)
    machine.work(3)
    machine.server.end()
    machine.wait(3)


def is_paused(machine: Machine) -> None:
    machine.show(CARD)
    machine.begin()
    machine.work(8)
    machine.server.pause(paused=True)
    machine.wait(42)
    machine.server.pause(paused=False)
    machine.work(5)


def has_full_vram(machine: Machine) -> None:
    machine.show(FULL)
    machine.begin()
    machine.work(45)
    machine.server.end()
    machine.wait(3)


def is_interrupted(machine: Machine) -> None:
    machine.show(CARD)
    machine.begin()
    machine.work(5)
    machine.wait(8)
    machine.server.end("interrupted")
    machine.wait(36)


def decodes_for_long(machine: Machine) -> None:
    machine.show(FULL_AND_RESTING)
    for seconds in (STALL_AFTER_SECONDS - 5, STALL_AFTER_SECONDS + 7):
        machine.begin()
        machine.work(4)
        machine.finish_steps()
        machine.wait(seconds)
        machine.server.end()
    machine.wait(3)


def works_without_telling(machine: Machine) -> None:
    machine.show(CARD)
    machine.begin()
    machine.wait(2.5 * STALL_AFTER_SECONDS)
    machine.server.end()
    machine.wait(3)
