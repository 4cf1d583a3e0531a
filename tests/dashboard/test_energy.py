"""What GPUs drew, from real points in real SQLite, rolled up as a running dashboard does."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tierwatch_dashboard.history import GpuPoint
from tierwatch_dashboard.history.database import DatabaseHistory
from tierwatch_dashboard.history.energy import Energy, EnergyLog

NOON = 1_795_521_600.0
HOUR = 3600.0


def draws(
    machine: str, watts: float | None, start: float, end: float, gpu: str = "0"
) -> list[GpuPoint]:
    moments = range(round(start), round(end), 30)
    return [GpuPoint(machine=machine, gpu=gpu, at=float(at), power_watts=watts) for at in moments]


def drawn(engine: Engine, *points: GpuPoint, until: float = NOON + 3 * HOUR) -> dict[str, Energy]:
    history = DatabaseHistory(engine)
    history.append(points)
    history.roll_up(until)
    return {each.machine: each for each in EnergyLog(engine).energy(NOON, NOON + 2 * HOUR)}


def test_it_is_mean_power_times_time(engine: Engine) -> None:
    points = [
        *draws("a", 300.0, NOON, NOON + HOUR),
        *draws("a", 100.0, NOON + HOUR, NOON + 2 * HOUR),
        *draws("a", 50.0, NOON, NOON + 2 * HOUR, gpu="1"),
        *draws("b", 20.0, NOON, NOON + 2 * HOUR),
    ]
    found = drawn(engine, *points)
    assert found["a"].joules / 3600 == pytest.approx(300 + 100 + 2 * 50)
    assert (found["a"].gpus, found["a"].power_seconds) == (2, 4 * HOUR)
    assert found["b"].joules / 3600 == pytest.approx(40)


def test_what_is_not_known_draws_nothing_and_is_told(engine: Engine) -> None:
    points = [
        *draws("a", 300.0, NOON, NOON + HOUR / 2),
        *draws("a", None, NOON + HOUR / 2, NOON + HOUR),
        *draws("b", None, NOON, NOON + HOUR),
    ]
    found = drawn(engine, *points)
    assert found["a"].joules / 3600 == pytest.approx(150)
    assert found["a"].power_seconds == HOUR / 2
    assert found["b"] == Energy(machine="b", gpus=1, joules=0, power_seconds=0)


def test_what_lies_outside_of_the_span_does_not_count(engine: Engine) -> None:
    found = drawn(engine, *draws("a", 100.0, NOON - HOUR, NOON + 3 * HOUR))
    assert found["a"].joules / 3600 == pytest.approx(200)


def test_the_last_minutes_count_before_their_ten_are_over(engine: Engine) -> None:
    points = draws("a", 60.0, NOON, NOON + 15 * 60)
    found = drawn(engine, *points, until=NOON + 15 * 60)
    assert found["a"].joules / 3600 == pytest.approx(15)
    assert found["a"].power_seconds == 15 * 60
