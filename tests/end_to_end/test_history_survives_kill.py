"""A writer that is killed, again and again, in the middle of its work: what it committed is there.

The child is a real process. It appends batches without a pause while another of its threads rolls
up, and says the number of each batch once ``append`` has returned.
"""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tierwatch_dashboard.database import open_database
from tierwatch_dashboard.history import GpuPoint
from tierwatch_dashboard.history.database import DatabaseHistory

KILLS = 20
START = 1_795_521_600.0
INTERVAL = 5.0
MACHINES = 30
GPUS = ("0", "1")
SEED = 4711


def batch(number: int) -> list[GpuPoint]:
    """Every GPU of the fleet at one moment, with figures that tell which batch and GPU it was."""
    return [
        GpuPoint(
            machine=f"render-{machine:02}",
            gpu=gpu,
            at=START + number * INTERVAL,
            total_bytes=16 * 10**9,
            used_bytes=number * 1000 + machine * 10 + int(gpu),
            temperature_celsius=float(number % 90),
        )
        for machine in range(MACHINES)
        for gpu in GPUS
    ]


def write_until_killed(url: str, first: int) -> None:
    """What the child does."""
    history = DatabaseHistory(open_database(url))
    reached = first

    def keep() -> None:
        while True:
            history.roll_up(START + reached * INTERVAL)
            time.sleep(0.02)

    threading.Thread(target=keep, daemon=True).start()
    while True:
        history.append(batch(reached))
        print(reached, flush=True)
        reached += 1


def committed(child: subprocess.Popen[str], chance: random.Random) -> Iterator[int]:
    """The batches that the child says are committed, until it is killed at some moment."""
    assert child.stdout is not None
    yield int(child.stdout.readline())
    threading.Timer(chance.uniform(0.05, 0.6), child.kill).start()
    for line in child.stdout:
        if line.endswith("\n"):
            yield int(line)


def stored(file: Path) -> dict[int, set[tuple[str, str, int]]]:
    """All points in the file by the number of their batch, read with nothing of Tierwatch."""
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    found: dict[int, set[tuple[str, str, int]]] = {}
    for at, machine, gpu, used in connection.execute(
        "SELECT at, machine, gpus.gpu, used FROM points JOIN gpus ON gpus.id = points.gpu"
    ):
        number = round((at / 1000 - START) / INTERVAL)
        found.setdefault(number, set()).add((machine, gpu, used))
    connection.close()
    return found


def whole(number: int) -> set[tuple[str, str, int]]:
    return {(p.machine, p.gpu, p.used_bytes or 0) for p in batch(number)}


@pytest.mark.slow
def test_twenty_kills_lose_no_committed_sample_and_leave_none_half_written(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    file = tmp_path / "tierwatch.db"
    url = f"sqlite:///{file.as_posix()}"
    said: list[int] = []
    left_open = 0
    for _ in range(KILLS):
        first = said[-1] + 2 if said else 0
        command = [sys.executable, __file__, url, str(first)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            said += committed(child, chance)
        assert child.returncode == -9
        left_open += Path(f"{file}-wal").exists()
        found = stored(file)
        assert set(said) <= found.keys()
        assert all(points == whole(number) for number, points in found.items())
        assert len(found.keys() - set(said)) <= KILLS
    assert left_open == KILLS
    assert len(said) > KILLS

    history = DatabaseHistory(open_database(url))
    end = START + (said[-1] + 2) * INTERVAL
    history.roll_up(end)
    by_hand = DatabaseHistory(open_database(f"sqlite:///{(tmp_path / 'by_hand.db').as_posix()}"))
    for number in sorted(stored(file)):
        by_hand.append(batch(number))
    by_hand.roll_up(end)
    for machine in {point.machine for point in batch(0)}:
        asked = (machine, START, end, 1000)
        assert history.series(*asked) == by_hand.series(*asked)
    history.close()
    by_hand.close()


if __name__ == "__main__":
    write_until_killed(sys.argv[1], int(sys.argv[2]))
