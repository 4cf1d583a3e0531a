"""Each finished job counts once: whatever is told again, whatever restarts, whatever breaks."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tierwatch_agent.ledger import (
    GRACE_SECONDS,
    MOST_IDS,
    MOST_RECENT,
    MOST_SERVERS,
    Ledger,
    ledger_file,
)
from tierwatch_agent.snapshot import DURATION_BOUNDS, JobRecord, Outcome

SERVER = "comfyui-8188"
START = 1_795_000_000.0


class Clock:
    """Unix seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return ledger_file(tmp_path / "state", "render-01")


def job(
    name: str,
    ended_at: float = START,
    outcome: Outcome = "success",
    server: str = SERVER,
    duration: float | None = 8.0,
    images: int | None = 2,
    pixels: int | None = 2 * 1024 * 1024,
) -> JobRecord:
    return JobRecord(
        id=name,
        server=server,
        outcome=outcome,
        ended_at=ended_at,
        duration_seconds=duration,
        images=images,
        pixels=pixels,
    )


def finished(ledger: Ledger, server: str = SERVER) -> int:
    return sum(ledger.totals(server).finished.values())


def test_a_job_that_is_told_again_counts_once(file: Path, clock: Clock) -> None:
    ledger = Ledger(file, now=clock)
    ledger.count(SERVER, [job("a"), job("b", outcome="oom", images=None, pixels=None)])
    ledger.count(SERVER, [job("a"), job("b", outcome="oom"), job("c")])
    totals = ledger.totals(SERVER)
    assert totals.finished == {"success": 2, "oom": 1}
    assert (totals.images, totals.pixels) == (4, 4 * 1024 * 1024)
    assert [record.id for record in ledger.recent()] == ["a", "b", "c"]


def test_a_job_that_is_told_twice_at_once_counts_once(clock: Clock) -> None:
    ledger = Ledger(now=clock)
    ledger.count(SERVER, [job("a"), job("a")])
    assert finished(ledger) == 1


def test_after_a_restart_of_the_agent_nothing_is_recounted_and_nothing_lost(
    file: Path, clock: Clock
) -> None:
    Ledger(file, now=clock).count(SERVER, [job("a"), job("b")])
    clock.now += 600
    ledger = Ledger(file, now=clock)
    assert finished(ledger) == 2
    assert [record.id for record in ledger.recent()] == ["a", "b"]
    # Meanwhile a third has finished, which the server tells with the others.
    ledger.count(SERVER, [job("a"), job("b"), job("c", START + 300)])
    assert ledger.totals(SERVER).finished == {"success": 3}


def test_what_was_counted_is_kept_though_the_agent_is_killed(file: Path, clock: Clock) -> None:
    Ledger(file, now=clock).count(SERVER, [job("a")])
    assert finished(Ledger(file, now=clock)) == 1


def test_an_old_history_is_no_new_work_at_first_sight(file: Path, clock: Clock) -> None:
    ledger = Ledger(file, now=clock)
    ledger.meet(SERVER)
    ledger.count(SERVER, [job("old", START - GRACE_SECONDS - 1), job("new", START - 1)])
    assert [record.id for record in ledger.recent()] == ["new"]
    # Nor is it when a later agent hears of it again.
    clock.now += 86400
    later = Ledger(file, now=clock)
    later.meet(SERVER)
    later.count(SERVER, [job("old", START - GRACE_SECONDS - 1)])
    assert finished(later) == 1


def test_a_cleared_history_takes_nothing_back(clock: Clock) -> None:
    ledger = Ledger(now=clock)
    ledger.count(SERVER, [job("a"), job("b")])
    ledger.count(SERVER, [])
    assert finished(ledger) == 2


def test_a_server_that_moved_to_another_port_does_not_count_its_jobs_again(clock: Clock) -> None:
    ledger = Ledger(now=clock)
    ledger.count(SERVER, [job("a")])
    ledger.count("comfyui-8189", [job("a", server="comfyui-8189")])
    assert finished(ledger, "comfyui-8189") == 0


def test_ids_are_bounded_and_what_is_dropped_stays_known(file: Path, clock: Clock) -> None:
    ledger = Ledger(file, now=clock)
    jobs = [job(f"job-{i}", START + i) for i in range(3 * MOST_IDS)]
    for i in range(0, len(jobs), 50):
        ledger.count(SERVER, jobs[i : i + 50])
    ledger.count(SERVER, jobs)
    assert finished(ledger) == len(jobs)
    restarted = Ledger(file, now=clock)
    restarted.count(SERVER, jobs)
    assert finished(restarted) == len(jobs)
    assert file.stat().st_size < 2**20


def test_the_snapshot_gets_the_last_hour_bounded(clock: Clock) -> None:
    ledger = Ledger(now=clock)
    clock.now = START + 3700
    ledger.count(SERVER, [job(f"job-{i}", clock.now - i / 10) for i in range(MOST_RECENT + 20)])
    recent = ledger.recent()
    assert len(recent) == MOST_RECENT
    assert recent[-1].id == "job-0"
    assert [r.ended_at for r in recent] == sorted(r.ended_at for r in recent)
    clock.now += 3600 - 0.35
    assert {r.id for r in ledger.recent()} == {"job-0", "job-1", "job-2", "job-3"}
    clock.now += 10
    assert ledger.recent() == ()


def test_servers_are_bounded(clock: Clock) -> None:
    ledger = Ledger(now=clock)
    for i in range(MOST_SERVERS + 1):
        clock.now += 1
        ledger.count(f"comfyui-{i}", [job(f"job-{i}", clock.now, server=f"comfyui-{i}")])
    assert finished(ledger, "comfyui-0") == 0
    assert finished(ledger, "comfyui-1") == 1


def test_durations_are_counted_by_their_bounds(clock: Clock) -> None:
    ledger = Ledger(now=clock)
    seconds = (0.5, 1.0, 8.0, 9000.0, None, -3.0)
    ledger.count(SERVER, [job(f"{s}", duration=s) for s in seconds])
    totals = ledger.totals(SERVER)
    at_most = dict(zip((*DURATION_BOUNDS, float("inf")), totals.durations, strict=True))
    assert at_most[1.0] == 2
    assert at_most[5.0] == 2
    assert at_most[10.0] == 3
    assert at_most[1800.0] == 3
    assert at_most[float("inf")] == 4
    assert totals.duration_seconds == 9009.5


def test_figures_that_cannot_be_take_nothing_from_the_totals(clock: Clock) -> None:
    ledger = Ledger(now=clock)
    ledger.count(SERVER, [job("a")])
    ledger.count(SERVER, [job("b", images=-5, pixels=-5), job("c", ended_at=float("nan"))])
    assert ledger.totals(SERVER).images == 2
    assert finished(ledger) == 2


@pytest.mark.parametrize(
    "damage", [b"", b"{", b'{"servers": 3}', b"\xff\xfe", b'{"version": 99, "servers": {}}']
)
def test_a_damaged_file_is_put_aside_with_a_word(
    file: Path, clock: Clock, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file.parent.mkdir()
    file.write_bytes(damage)
    ledger = Ledger(file, now=clock)
    assert f"{file} cannot be used" in caplog.text
    assert file.with_suffix(".damaged").read_bytes() == damage
    ledger.count(SERVER, [job("a")])
    assert finished(Ledger(file, now=clock)) == 1


def test_a_folder_that_cannot_be_written_costs_only_the_memory_of_it(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    file = ledger_file(tmp_path / "state", "render-01")
    ledger = Ledger(file, now=clock)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        ledger.count(SERVER, [job("a")])
        ledger.count(SERVER, [job("b")])
    assert finished(ledger) == 2
    assert len(caplog.records) == 1
    assert "counted jobs are forgotten when the agent ends" in caplog.text


def test_a_file_is_written_whole_or_not_at_all(file: Path, clock: Clock) -> None:
    ledger = Ledger(file, now=clock)
    ledger.count(SERVER, [job("a")])
    ledger.count(SERVER, [job("b")])
    assert list(file.parent.iterdir()) == [file]


def test_two_machines_agents_may_share_a_folder(tmp_path: Path, clock: Clock) -> None:
    one, other = ledger_file(tmp_path, "a/b"), ledger_file(tmp_path, "a_b")
    Ledger(one, now=clock).count(SERVER, [job("a")])
    assert finished(Ledger(other, now=clock)) == 0
    assert one.parent == tmp_path
