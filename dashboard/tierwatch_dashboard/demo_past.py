"""The demo's made-up past: two weeks of the simulated machines, so that reports have something.

Written into the demo's database before its dashboard starts, in the same words that a dashboard
would have kept. What is made up here is of simulated machines alone, and their pages say so.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import msgspec
from sqlalchemy import insert

from tierwatch_agent.snapshot import JobRecord, Outcome
from tierwatch_agent.words import say
from tierwatch_dashboard.causes import Cause
from tierwatch_dashboard.changes import StateChange
from tierwatch_dashboard.database import open_database, writing
from tierwatch_dashboard.demo_recent import RECENT_SECONDS, write_recent
from tierwatch_dashboard.demo_studio import SimulatedMachine
from tierwatch_dashboard.gpu_verdict import State
from tierwatch_dashboard.history import GpuPoint
from tierwatch_dashboard.history.database import DatabaseHistory
from tierwatch_dashboard.history.jobs import FinishedJob, JobStore
from tierwatch_dashboard.history.tables import WATCHES
from tierwatch_dashboard.history.verdicts import VerdictStore

HOUR = 3600.0
DAY = 24 * HOUR
DAYS = 15
POINT_SECONDS = 600.0
MEBIBYTE = 2**20
_UNWATCHED = (4 * DAY, 4 * DAY - 3 * HOUR)
"""Seconds ago: from when to when no dashboard ran."""


class Habit(msgspec.Struct, frozen=True):
    """What befalls a machine again and again."""

    state: State
    cause: Cause
    culprit: str | None
    begins: float
    """Hours into each day that it befalls it."""
    lasts: float
    every: int = 1
    """Days from one to the next."""


HABITS: Mapping[str, tuple[Habit, ...]] = {
    "render-02": (Habit("below", "others", "eldenring.exe", 18.5, 4.2),),
    "render-03": (Habit("stalled", "stall", None, 11.0, 0.6, 3),),
    "render-05": (Habit("at_risk", "heat", None, 14.0, 1.8, 2),),
    "render-06": (Habit("stalled", "stall", None, 16.2, 0.4, 4),),
    "render-07": (Habit("below", "others", "eldenring.exe", 20.0, 2.5, 2),),
    "render-08": (Habit("below", "card", None, 0.0, 24.0),),
    "render-09": (Habit("below", "servers", "A1111", 9.0, 3.0, 2),),
    "render-10": (Habit("down", "down", None, 1.0, 6.0, 3),),
    "render-11": (Habit("below", "gpu", None, 7.0, 9.0, 6),),
}
"""By machine; the others have none but good days."""


class _Trouble(msgspec.Struct, frozen=True):
    start: float
    end: float
    habit: Habit


def write_past(database: str, machines: Sequence[SimulatedMachine], now: float) -> None:
    """Writes what the machines were, made and drew until ``now``, in Unix seconds."""
    engine = open_database(database)
    history, verdicts, jobs = DatabaseHistory(engine), VerdictStore(engine), JobStore(engine)
    start = now - DAYS * DAY
    until = now - RECENT_SECONDS
    for machine in machines:
        troubles = tuple(_troubles(machine.id, start, until))
        verdicts.append_changes(tuple(_changes(machine, troubles, start)))
        jobs.append(tuple(_jobs(machine, troubles, start, until)))
        history.append(tuple(_points(machine, troubles, start, until)))
        write_recent(engine, machine, now)
    history.roll_up(now)
    history.prune(now)
    watched = ((start, now - _UNWATCHED[0]), (now - _UNWATCHED[1], now))
    with writing(engine) as connection:
        rows = [{"since": round(a * 1000), "until": round(b * 1000)} for a, b in watched]
        connection.execute(insert(WATCHES), rows)
    engine.dispose()


def database_in(folder: Path) -> str:
    """The address of the database that a dashboard in this folder keeps."""
    return f"sqlite:///{(folder / 'tierwatch.db').absolute().as_posix()}"


def _troubles(machine: str, start: float, now: float) -> Iterator[_Trouble]:
    chance = random.Random(machine)  # noqa: S311  made up, and the same each time
    for day in range(DAYS):
        for habit in HABITS.get(machine, ()):
            if day % habit.every:
                continue
            late = 0.0 if habit.lasts >= 24 else chance.uniform(-0.7, 0.7)
            began = start + day * DAY + (habit.begins + late) * HOUR
            ended = began + habit.lasts * HOUR * (
                1.0 if habit.lasts >= 24 else chance.uniform(0.6, 1.3)
            )
            if ended < now:
                yield _Trouble(began, ended, habit)


def _changes(
    machine: SimulatedMachine, troubles: Sequence[_Trouble], start: float
) -> Iterator[StateChange]:
    well = StateChange(
        machine=machine.id,
        at=start,
        state="ok",
        headline=say("Serves {tier}", tier=machine.tier),
        can_serve=machine.tier,
        tier=machine.tier,
    )
    yield well
    for trouble in troubles:
        habit = trouble.habit
        yield StateChange(
            machine=machine.id,
            at=trouble.start,
            state=habit.state,
            headline=say("Made up for the demo"),
            tier=machine.tier,
            cause=habit.cause,
            culprit=habit.culprit,
        )
        yield msgspec.structs.replace(well, at=trouble.end)


def _jobs(
    machine: SimulatedMachine, troubles: Sequence[_Trouble], start: float, now: float
) -> Iterator[FinishedJob]:
    chance = random.Random(f"{machine.id} jobs")  # noqa: S311  made up, and the same each time
    for server in machine.servers[:1]:
        plan = dict(parse_qsl(urlsplit(server).query))
        width, height = int(plan["width"]), int(plan["height"])
        batch, port = int(plan.get("batch", 1)), urlsplit(server).port
        at = start
        while True:
            seconds = float(plan["seconds"]) * chance.uniform(0.9, 1.2)
            at += seconds + chance.uniform(120, 900)
            if at > now:
                return
            if any(t.start <= at <= t.end and t.habit.state != "at_risk" for t in troubles):
                continue
            outcome = _outcome(chance)
            images = batch if outcome == "success" else 0
            yield FinishedJob(
                machine=machine.id,
                job=JobRecord(
                    id=f"past-{at:.0f}",
                    server=f"simulated-{port}",
                    outcome=outcome,
                    ended_at=at,
                    started_at=at - seconds,
                    duration_seconds=seconds,
                    model=plan["model"],
                    width=width,
                    height=height,
                    batch=batch,
                    steps=int(plan.get("steps", 30)),
                    images=images,
                    pixels=images * width * height,
                    gpu=plan.get("gpu"),
                    peak_vram_bytes=int(plan.get("vram_mib", 0)) * MEBIBYTE or None,
                    error="ValueError" if outcome == "error" else None,
                ),
            )


def _outcome(chance: random.Random) -> Outcome:
    return chance.choices(("success", "oom", "error", "interrupted"), (96, 2, 1, 1))[0]


def _points(
    machine: SimulatedMachine, troubles: Sequence[_Trouble], start: float, now: float
) -> Iterator[GpuPoint]:
    chance = random.Random(f"{machine.id} points")  # noqa: S311  made up, and the same each time
    at = start
    while at < now - POINT_SECONDS:
        now_wrong = next((t.habit for t in troubles if t.start <= at <= t.end), None)
        silent = now_wrong is not None and now_wrong.cause in ("down", "gpu")
        for index, card in enumerate(machine.cards):
            if not silent:
                yield _point(machine.id, str(index), at, card, now_wrong, chance)
        at += POINT_SECONDS


def _point(
    machine: str,
    index: str,
    at: float,
    card: Mapping[str, object],
    wrong: Habit | None,
    chance: random.Random,
) -> GpuPoint:
    total = int(str(card["vram_mib"]))
    others = 6100 if wrong is not None and wrong.cause in ("others", "servers") else 400
    own = 0 if others > 400 else round(total * chance.uniform(0.3, 0.55))
    limit = float(str(card.get("watts", 200)))
    busy = chance.uniform(0.5, 0.95)
    return GpuPoint(
        machine=machine,
        gpu=index,
        at=at,
        total_bytes=total * MEBIBYTE,
        used_bytes=(own + others) * MEBIBYTE,
        available_bytes=(total - 300 - others) * MEBIBYTE,
        others_bytes=others * MEBIBYTE,
        utilization_ratio=busy,
        temperature_celsius=88.0 if wrong and wrong.cause == "heat" else 45 + 25 * busy,
        power_watts=limit * busy,
    )
