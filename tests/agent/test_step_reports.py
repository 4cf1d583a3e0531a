from __future__ import annotations

from tierwatch_agent.servers.step_reports import LARGEST_COUNT, StepReports


def test_the_latest_step_of_a_server_is_told_with_its_pace() -> None:
    reports = StepReports()
    for step, at in ((1, 10.0), (2, 11.0), (4, 13.0)):
        reports.put(8188, "a", step, 20, at)
    latest = reports.get(8188)
    assert latest is not None
    assert (latest.job, latest.step, latest.steps) == ("comfyui:a", 4, 20)
    assert (latest.at, latest.seconds_per_step) == (13.0, 1.0)


def test_another_prompt_starts_over() -> None:
    reports = StepReports()
    reports.put(8188, "a", 1, 20, 10.0)
    reports.put(8188, "a", 2, 20, 11.0)
    reports.put(8188, "b", 3, 20, 12.0)
    latest = reports.get(8188)
    assert latest is not None
    assert (latest.job, latest.step, latest.seconds_per_step) == ("comfyui:b", 3, None)


def test_a_node_without_steps_is_progress_too() -> None:
    reports = StepReports()
    reports.put(8188, "a", 20, 20, 10.0)
    reports.put(8188, "a", None, None, 12.0)
    latest = reports.get(8188)
    assert latest is not None
    assert (latest.step, latest.steps, latest.at) == (None, None, 12.0)


def test_servers_are_told_apart_and_one_that_never_reported_has_nothing() -> None:
    reports = StepReports()
    reports.put(8188, "a", 1, 20, 10.0)
    reports.put(8189, "b", 2, 30, 10.0)
    first, second = reports.get(8188), reports.get(8189)
    assert first is not None
    assert second is not None
    assert (first.steps, second.steps, reports.get(8190)) == (20, 30, None)


def test_those_that_reported_long_ago_make_room() -> None:
    reports = StepReports()
    for port in range(1, LARGEST_COUNT + 2):
        reports.put(port, "a", 1, 20, 10.0)
    assert reports.get(1) is None
    assert reports.get(LARGEST_COUNT + 1) is not None
