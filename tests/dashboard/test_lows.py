"""The store's last hour, by the minute, for every GPU at once."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tierwatch_dashboard.history import GpuPoint
from tierwatch_dashboard.history.database import DatabaseHistory
from tierwatch_dashboard.history.lows import lows

NOON = 1_795_521_600.0
GIB = 2**30


def write(engine: Engine, machine: str, *points: tuple[float, int | None]) -> None:
    DatabaseHistory(engine).append(
        [
            GpuPoint(machine=machine, gpu="0", at=NOON + second, available_bytes=available)
            for second, available in points
        ]
    )


def read(engine: Engine, start: float = 0, end: float = 3600) -> list[tuple[str, float, int]]:
    found = lows(engine, NOON + start, NOON + end)
    return [(low.machine, low.at - NOON, low.available_bytes) for low in found]


@pytest.mark.parametrize("rolled_up", [False, True], ids=["points", "rolled up"])
def test_each_minute_is_its_lowest(engine: Engine, *, rolled_up: bool) -> None:
    write(engine, "a", (0, 9 * GIB), (30, 4 * GIB), (60, 7 * GIB), (125, 5 * GIB))
    write(engine, "b", (61, 3 * GIB))
    if rolled_up:
        DatabaseHistory(engine).roll_up(NOON + 130)
    assert read(engine) == [
        ("a", 0, 4 * GIB),
        ("a", 60, 7 * GIB),
        ("b", 60, 3 * GIB),
        ("a", 120, 5 * GIB),
    ]


def test_what_lies_outside_the_span_is_left_out(engine: Engine) -> None:
    write(engine, "a", (0, GIB), (60, 2 * GIB), (120, 3 * GIB))
    assert read(engine, start=30, end=115) == [("a", 60, 2 * GIB)]


def test_the_unknown_is_no_figure(engine: Engine) -> None:
    write(engine, "a", (0, None), (60, 2 * GIB))
    assert read(engine) == [("a", 60, 2 * GIB)]


def test_an_empty_store_has_none(engine: Engine) -> None:
    assert read(engine) == []
