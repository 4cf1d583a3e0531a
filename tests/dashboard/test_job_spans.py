"""A machine's jobs over a span: each while they are few, counted together where they are many."""

from __future__ import annotations

from sqlalchemy import Engine

from tierwatch_agent.snapshot import JobRecord, Outcome
from tierwatch_dashboard.history.job_spans import JobSpan, job_spans
from tierwatch_dashboard.history.jobs import FinishedJob, JobStore

NOON = 1_795_521_600.0


def job(end: float, outcome: Outcome = "success", seconds: float | None = 10) -> FinishedJob:
    record = JobRecord(
        id=f"{end}-{outcome}",
        server="comfyui-8188",
        outcome=outcome,
        ended_at=NOON + end,
        duration_seconds=seconds,
        model="sdxl",
        width=1024,
        height=768,
        gpu="GPU-0",
    )
    return FinishedJob(machine="render-01", job=record)


def test_few_jobs_are_told_one_by_one(engine: Engine) -> None:
    JobStore(engine).append([job(20), job(50, "oom"), job(60, "error", None)])
    (first, second, third) = job_spans(engine, "render-01", NOON, NOON + 100, 10)
    assert first == JobSpan(
        outcome="success",
        start=NOON + 10,
        end=NOON + 20,
        gpu="GPU-0",
        model="sdxl",
        width=1024,
        height=768,
        duration_seconds=10,
    )
    assert (second.outcome, second.start) == ("oom", NOON + 40)
    assert (third.start, third.end, third.duration_seconds) == (NOON + 60, NOON + 60, None)


def test_a_job_that_runs_across_an_edge_belongs_to_the_span(engine: Engine) -> None:
    JobStore(engine).append([job(5, seconds=20), job(110, seconds=30), job(500, seconds=10)])
    found = job_spans(engine, "render-01", NOON, NOON + 100, 10)
    assert [span.end - NOON for span in found] == [5, 110]
    assert job_spans(engine, "render-02", NOON, NOON + 100, 10) == ()


def test_many_jobs_are_counted_together_by_outcome(engine: Engine) -> None:
    many = [job(n * 12, "oom" if n % 50 == 0 else "success") for n in range(1, 501)]
    JobStore(engine).append(many)
    found = job_spans(engine, "render-01", NOON, NOON + 6000, 20)
    assert sum(span.count for span in found) == 500
    assert sum(span.count for span in found if span.outcome == "oom") == 10
    assert len(found) <= 20 * 2
    assert found[0].duration_seconds == 10
    assert all(span.start < span.end and span.model is None for span in found)
