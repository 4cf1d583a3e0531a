"""Who held a GPU's memory by name: what is written comes back as the steps of a span."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, func, select

from tierwatch_dashboard.database import reading
from tierwatch_dashboard.history.holdings import HoldingStore
from tierwatch_dashboard.history.tables import HOLDINGS
from tierwatch_dashboard.holder_changes import Holder, HolderChange

NOON = 1_795_521_600.0
DAY = 86400
GIB = 2**30
GAME = Holder(machine="render-01", gpu="0", name="game.exe")
FORGE = Holder(machine="render-01", gpu="1", name="python launch.py", server="forge")


@pytest.fixture
def store(engine: Engine) -> HoldingStore:
    return HoldingStore(engine)


def change(at: float, gib: float, holder: Holder = GAME) -> HolderChange:
    return HolderChange(holder=holder, at=NOON + at, size_bytes=round(gib * GIB))


def told(
    store: HoldingStore, start: float, end: float, width: float = 1
) -> dict[str, tuple[float, list[tuple[float, float, float]]]]:
    """By name: GiB at the beginning, and the parts: when, most, last."""
    return {
        each.holder.name: (
            each.before_bytes / GIB,
            [(p.at - NOON, p.most_bytes / GIB, p.last_bytes / GIB) for p in each.parts],
        )
        for each in store.during("render-01", NOON + start, NOON + end, width)
    }


def test_a_span_begins_with_what_each_had_and_tells_what_changed(store: HoldingStore) -> None:
    store.append([change(0, 4), change(100, 6), change(200, 0), change(10, 2, FORGE)])
    store.append([])
    assert told(store, -10, 300) == {
        "game.exe": (0, [(0, 4, 4), (100, 6, 6), (200, 0, 0)]),
        "python launch.py": (0, [(10, 2, 2)]),
    }
    assert told(store, 50, 150) == {
        "game.exe": (4, [(100, 6, 6)]),
        "python launch.py": (2, []),
    }
    assert told(store, 250, 300) == {"python launch.py": (2, [])}


def test_changes_that_come_close_are_told_with_the_most_and_the_last(store: HoldingStore) -> None:
    store.append([change(at, gib) for at, gib in ((5, 4), (40, 9), (50, 3), (130, 1))])
    assert told(store, 0, 300, width=60) == {"game.exe": (0, [(50, 9, 3), (130, 1, 1)])}


def test_a_holder_bears_its_gpu_and_its_kind(store: HoldingStore) -> None:
    store.append([change(0, 4), change(0, 2, FORGE)])
    assert {h.holder for h in store.during("render-01", NOON, NOON, 1)} == {GAME, FORGE}
    assert store.during("render-02", NOON, NOON, 1) == ()


def test_another_store_goes_on_where_one_ended(store: HoldingStore, engine: Engine) -> None:
    store.append([change(0, 4), change(50, 5), change(0, 2, FORGE), change(60, 0, FORGE)])
    again = HoldingStore(engine)
    assert again.current() == (change(50, 5),)
    again.append([change(100, 0)])
    assert again.current() == ()
    assert told(store, 70, 200)["game.exe"] == (5, [(100, 0, 0)])


def test_pruning_leaves_what_is_still_held(store: HoldingStore, engine: Engine) -> None:
    store.append([change(0, 4), change(50, 5), change(0, 2, FORGE), change(60, 0, FORGE)])
    store.append([change(80 * DAY, 6)])
    store.prune(NOON + 100 * DAY)
    with reading(engine) as connection:
        assert connection.execute(select(func.count()).select_from(HOLDINGS)).scalar_one() == 2
    assert told(store, 20 * DAY, 90 * DAY) == {"game.exe": (5, [(80 * DAY, 6, 6)])}
