"""Background jobs: each runs, none stops another, and one that fails is seen."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from tierwatch_dashboard.scheduler import Background, Job

Run = Callable[..., Background]


@pytest.fixture
def running() -> Iterator[Run]:
    started: list[Background] = []

    def run(**jobs: Callable[[], object]) -> Background:
        background = Background(
            [Job(name=name, every_seconds=0.02, run=job) for name, job in jobs.items()],
            now=lambda: 1000.0,
        )
        started.append(background)
        background.start()
        return background

    yield run
    for background in started:
        background.stop()


class Counted:
    """A job that can be waited for; it raises while ``fault`` is set."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault
        self._runs = threading.Semaphore(0)

    def __call__(self) -> None:
        self._runs.release()
        if self.fault:
            raise self.fault

    def wait(self, runs: int) -> None:
        for _ in range(runs):
            assert self._runs.acquire(timeout=20)


def test_a_job_runs_again_and_again(running: Run) -> None:
    job = Counted()
    background = running(poll=job)
    job.wait(4)
    assert background.health()["poll"].last_success_at == 1000.0
    assert background.health()["poll"].failures == 0


def test_a_job_that_fails_runs_again_is_counted_and_is_logged_once_per_change(
    running: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="tierwatch_dashboard.scheduler")
    job = Counted(OSError("disk full"))
    background = running(record=job)
    job.wait(4)
    assert background.health()["record"].failures >= 3
    assert background.health()["record"].last_success_at is None
    assert background.health()["record"].error == "OSError: disk full"
    job.fault = None
    job.wait(3)
    assert background.health()["record"].error is None
    assert caplog.messages == [
        "background job record failed: OSError: disk full",
        "background job record works again",
    ]


def test_a_job_that_hangs_keeps_no_other_waiting_and_is_seen(
    running: Run, caplog: pytest.LogCaptureFixture
) -> None:
    let_go = threading.Event()
    alive = Counted()
    background = running(prune=let_go.wait, judge=alive)
    alive.wait(6)
    let_go.set()
    assert background.health()["prune"].failures >= 1
    assert "background job prune failed: its last run is still under way" in caplog.messages
    assert background.health()["judge"].failures == 0


def test_nothing_runs_after_the_stop(running: Run) -> None:
    stopped_runs: list[int] = []
    job, other = Counted(), Counted()
    background = running(poll=lambda: (job(), stopped_runs.append(1)))
    job.wait(1)
    background.stop()
    background.stop()
    running(judge=other)
    other.wait(2)
    runs = len(stopped_runs)
    other.wait(5)
    assert len(stopped_runs) == runs


def test_a_job_at_leisure_that_is_due_while_it_runs_is_left_out_and_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    let_go, alive = threading.Event(), Counted()
    background = Background(
        [
            Job(name="look", every_seconds=0.02, run=let_go.wait, at_leisure=True),
            Job(name="judge", every_seconds=0.02, run=alive),
        ]
    )
    background.start()
    alive.wait(6)
    let_go.set()
    assert background.health()["look"].failures == 0
    assert not any("look" in message for message in caplog.messages)
    background.stop()
