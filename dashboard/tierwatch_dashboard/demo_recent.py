"""The demo's last hours, as closely as a dashboard keeps them, so that the first charts are whole.

Each card goes on as its simulated agent will play it: jobs come and go in the same turns. Programs
that are not production's come on visits, whose times stand here. Sizes in MiB, times in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, urlsplit

import msgspec
from sqlalchemy import Engine

from tierwatch_agent.snapshot import JobRecord
from tierwatch_agent.words import say
from tierwatch_dashboard.changes import StateChange
from tierwatch_dashboard.demo_studio import Settings, SimulatedMachine
from tierwatch_dashboard.history import GpuPoint
from tierwatch_dashboard.history.database import DatabaseHistory
from tierwatch_dashboard.history.holdings import HoldingStore
from tierwatch_dashboard.history.jobs import FinishedJob, JobStore
from tierwatch_dashboard.history.verdicts import VerdictStore
from tierwatch_dashboard.holder_changes import Holder, HolderChange

RECENT_SECONDS = 3 * 3600.0
STEP_SECONDS = 10.0
MEBIBYTE = 2**20
RESERVED_MIB = 300
AMBIENT_CELSIUS, HEAT_CELSIUS, WARMING_SECONDS = 38.0, 30.0, 60.0

VISITS: Mapping[str, tuple[tuple[float, float], ...]] = {
    "render-02": ((9600.0, 7000.0), (2900.0, 0.0)),
    "render-07": ((8200.0, 6900.0), (3100.0, 1900.0), (700.0, 0.0)),
    "render-09": ((5200.0, 0.0),),
}
"""By machine: from how long ago until how long ago a program that is not production's was there."""


class _Moment(msgspec.Struct, frozen=True):
    """A card at one moment."""

    own: int
    others: Mapping[str, int]
    load: float


def write_recent(engine: Engine, machine: SimulatedMachine, now: float) -> None:
    """Writes the last ``RECENT_SECONDS`` of a machine."""
    start = now - RECENT_SECONDS
    DatabaseHistory(engine).append(tuple(_points(machine, start, now)))
    HoldingStore(engine).append(tuple(_holdings(machine, start, now)))
    JobStore(engine).append(tuple(_jobs(machine, start, now)))
    VerdictStore(engine).append_changes(tuple(_changes(machine, now)))


def _points(machine: SimulatedMachine, start: float, now: float) -> Iterator[GpuPoint]:
    for index, card in enumerate(machine.cards):
        total, watts = card["vram_mib"], card.get("watts", 285)
        warmth = 0.0
        for at in _steps(start, now):
            moment = _moment(machine, card, at, now)
            others = sum(moment.others.values())
            warmth += (moment.load - warmth) * (1 - math.exp(-STEP_SECONDS / WARMING_SECONDS))
            yield GpuPoint(
                machine=machine.id,
                gpu=str(index),
                at=at,
                total_bytes=total * MEBIBYTE,
                used_bytes=(moment.own + others) * MEBIBYTE,
                available_bytes=(total - RESERVED_MIB - others) * MEBIBYTE,
                others_bytes=others * MEBIBYTE,
                own_bytes=moment.own * MEBIBYTE,
                utilization_ratio=moment.load * (0.97 + 0.03 * math.sin(at)),
                temperature_celsius=round(AMBIENT_CELSIUS + HEAT_CELSIUS * warmth),
                power_watts=watts * (0.08 + 0.87 * moment.load),
                heat_ratio=0.0,
                capped_ratio=0.0,
            )


def _holdings(machine: SimulatedMachine, start: float, now: float) -> Iterator[HolderChange]:
    for index, card in enumerate(machine.cards):
        before: Mapping[str, int] = {}
        for at in _steps(start, now):
            here = _moment(machine, card, at, now).others
            for name in sorted({*before, *here}):
                if before.get(name) != here.get(name):
                    holder = Holder(machine=machine.id, gpu=str(index), name=name)
                    size = here.get(name, 0) * MEBIBYTE
                    yield HolderChange(holder=holder, at=at, size_bytes=size)
            before = here


def _jobs(machine: SimulatedMachine, start: float, now: float) -> Iterator[FinishedJob]:
    for index, (card, server) in enumerate(zip(machine.cards, machine.servers, strict=False)):
        own = _own(card)
        if own is None:
            continue
        plan = dict(parse_qsl(urlsplit(server).query))
        turn = own["on_seconds"] + own["off_seconds"]
        batch, size = int(plan.get("batch", 1)), (int(plan["width"]), int(plan["height"]))
        ended = now - (now - start) % turn - own["off_seconds"]
        while ended - own["on_seconds"] > start:
            yield FinishedJob(
                machine=machine.id,
                job=JobRecord(
                    id=f"recent-{index}-{ended:.0f}",
                    server=f"simulated-{urlsplit(server).port}",
                    outcome="success",
                    ended_at=ended,
                    started_at=ended - own["on_seconds"],
                    duration_seconds=own["on_seconds"],
                    model=plan["model"],
                    width=size[0],
                    height=size[1],
                    batch=batch,
                    steps=int(plan.get("steps", 30)),
                    images=batch,
                    pixels=batch * size[0] * size[1],
                    gpu=plan.get("gpu"),
                    peak_vram_bytes=own["mib"] * MEBIBYTE,
                ),
            )
            ended -= turn


def _changes(machine: SimulatedMachine, now: float) -> Iterator[StateChange]:
    for began, ended in VISITS.get(machine.id, ()):
        (visitor, _), *_ = _visitors(machine.cards[0])
        yield StateChange(
            machine=machine.id,
            at=now - began,
            state="below",
            headline=say("Made up for the demo"),
            tier=machine.tier,
            cause="others",
            culprit=visitor,
        )
        if ended:
            yield StateChange(
                machine=machine.id,
                at=now - ended,
                state="ok",
                headline=say("Serves {tier}", tier=machine.tier),
                can_serve=machine.tier,
                tier=machine.tier,
            )


def _steps(start: float, now: float) -> Iterator[float]:
    at = start
    while at < now:
        yield at
        at += STEP_SECONDS


def _moment(machine: SimulatedMachine, card: Settings, at: float, now: float) -> _Moment:
    own = _own(card)
    visited = any(began >= now - at > ended for began, ended in VISITS.get(machine.id, ()))
    others = {
        holder["name"]: holder["mib"]
        for holder in card["holders"]
        if "server" not in holder and "delay_seconds" not in holder
    }
    others |= dict(_visitors(card)) if visited else {}
    if own is None:
        return _Moment(own=0, others=others, load=0.0)
    turn = own["on_seconds"] + own["off_seconds"]
    works = (at - now + RECENT_SECONDS) % turn < own["on_seconds"]
    load = own["load"] if works else 0.0
    return _Moment(
        own=own["mib"] if works else own["idle_mib"],
        others=others,
        load=min(1.0, load + (0.5 if visited else 0.0)),
    )


def _own(card: Settings) -> Settings | None:
    """The generation server that makes images on a card."""
    return next(
        (each for each in card["holders"] if "on_seconds" in each and "server" in each), None
    )


def _visitors(card: Settings) -> tuple[tuple[str, int], ...]:
    """Programs that come and go, and another generation server's models: name and size."""
    return tuple(
        (each["name"], each["mib"])
        for each in card["holders"]
        if "delay_seconds" in each or ("server" in each and "on_seconds" not in each)
    )
