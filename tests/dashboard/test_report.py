"""A week's report, figure by figure, as it is reckoned by hand; hours count from Monday."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tierwatch_dashboard.causes import Cause
from tierwatch_dashboard.changes import StateChange
from tierwatch_dashboard.gpu_verdict import State
from tierwatch_dashboard.report import Piece, Report, TierHours, Work, report
from tierwatch_dashboard.stretches import cuts, stretches

HOUR = 3600.0
MONDAY = 1_795_392_000.0
"""2026-11-23 00:00 UTC."""
WEEK = (MONDAY, MONDAY + 168 * HOUR)


def change(
    hour: float,
    state: State,
    tier: str | None = "mass",
    cause: Cause | None = None,
    culprit: str | None = None,
    machine: str = "render-01",
) -> StateChange:
    return StateChange(
        machine=machine,
        at=MONDAY + hour * HOUR,
        state=state,
        headline="",
        tier=tier,
        cause=cause,
        culprit=culprit,
    )


def weekly(
    *changes: StateChange,
    watched: Sequence[tuple[float, float]] = ((0, 168),),
    work: Mapping[str, Work] | None = None,
    hours: float = 168,
) -> Report:
    span = (MONDAY, MONDAY + hours * HOUR)
    known = stretches(sorted(changes, key=lambda each: (each.machine, each.at)), *span)
    seen = [(MONDAY + start * HOUR, MONDAY + end * HOUR) for start, end in watched]
    return report(span, known, seen, [Piece(*span, work or {})])


def one(found: Report, tier: str = "mass") -> TierHours:
    return next(each for each in found.tiers if each.tier == tier)


def hours(tier: TierHours) -> dict[str, float]:
    return {share: held / HOUR for share, held in tier.hours.seconds.items()}


def test_each_hour_counts_for_one_thing() -> None:
    found = weekly(
        change(-10, "ok"),
        change(20, "at_risk", cause="others", culprit="game.exe"),
        change(21, "below", cause="others", culprit="game.exe"),
        change(50, "ok"),
        change(60, "stalled", cause="stall"),
        change(62, "down", cause="down"),
        change(70, "ok"),
        change(80, "at_risk", cause="heat"),
        change(83, "at_risk"),
        change(90, "maintenance"),
        change(100, "at_risk", cause="unknown"),
        change(101, "ok"),
    )
    mass = one(found)
    assert hours(mass) == {
        "able": 21 + 10 + 10 + 7 + 67,
        "others": 29,
        "stall": 2,
        "down": 8,
        "heat": 3,
        "maintenance": 10,
        "perhaps": 1,
    }
    assert mass.hours.assigned == 168 * HOUR
    assert mass.hours.lost == {"others": 29 * HOUR, "down": 8 * HOUR, "heat": 3 * HOUR,
                               "stall": 2 * HOUR}  # fmt: skip
    assert mass.hours.known == 157 * HOUR
    assert mass.machines[0].culprits == {"game.exe": 29 * HOUR}


def test_what_lasts_over_the_ends_of_a_week_counts_for_its_part_in_each() -> None:
    lasting = (change(-30, "down", cause="down"), change(2, "ok"), change(166, "below",
               cause="card"), change(190, "ok"))  # fmt: skip
    assert hours(one(weekly(*lasting))) == {"down": 2, "able": 164, "card": 2}
    before = stretches(lasting, MONDAY - 168 * HOUR, MONDAY)
    assert sum(each.end - each.start for each in before) == 30 * HOUR


def test_a_week_that_is_not_over_is_reckoned_up_to_now() -> None:
    found = weekly(change(0, "ok"), change(30, "down", cause="down"), hours=40, watched=[(0, 40)])
    assert hours(one(found)) == {"able": 30, "down": 10}
    assert found.watched == 40 * HOUR


def test_time_that_no_dashboard_saw_is_neither_able_nor_lost() -> None:
    found = weekly(
        change(0, "ok"),
        change(60, "below", cause="others", culprit="game.exe"),
        change(80, "ok"),
        watched=[(0, 50), (70, 75), (74, 160)],
    )
    assert hours(one(found)) == {"able": 130, "unwatched": 10 + 10 + 8, "others": 10}
    assert one(found).machines[0].culprits == {"game.exe": 10 * HOUR}
    assert found.watched == 140 * HOUR


def test_a_machine_counts_for_the_tier_that_it_was_assigned_to_at_that_hour() -> None:
    found = weekly(
        change(0, "below", cause="card"),
        change(100, "ok", tier="light"),
        change(150, "unassigned", None),
    )
    assert hours(one(found)) == {"card": 100}
    assert hours(one(found, "light")) == {"able": 50}


def test_a_machine_that_leaves_or_comes_in_mid_week_counts_from_when_to_when_it_was_there() -> None:
    found = weekly(
        change(-500, "ok"),
        change(40, "unassigned", None),
        change(120, "ok", machine="render-02"),
        change(130, "unassigned", None, machine="render-03"),
    )
    assert hours(one(found)) == {"able": 40 + 48}
    assert [each.machine for each in one(found).machines] == ["render-01", "render-02"]


def test_the_machine_that_lost_most_comes_first() -> None:
    found = weekly(
        change(0, "ok"),
        change(0, "below", cause="card", machine="render-02"),
        change(0, "down", cause="down", machine="render-03"),
        change(1, "ok", machine="render-03"),
    )
    assert [m.machine for m in one(found).machines] == ["render-02", "render-03", "render-01"]


def test_a_week_of_which_nothing_is_kept_has_no_tiers() -> None:
    found = weekly(watched=())
    assert found == Report(start=WEEK[0], end=WEEK[1], watched=0)


def test_changes_from_before_tiers_were_kept_are_of_the_tier_that_came_next() -> None:
    found = weekly(
        change(-9, "ok", None),
        change(10, "down", None),
        change(20, "below", None),
        change(30, "ok"),
        change(40, "below", cause="others"),
    )
    assert hours(one(found)) == {"able": 10 + 10, "down": 10, "unknown": 10, "others": 128}


def test_a_machine_without_a_tier_that_goes_down_loses_nothing() -> None:
    found = weekly(
        change(0, "unassigned", None), change(10, "down", None, "down"), change(20, "ok")
    )
    assert hours(one(found)) == {"able": 148}


def test_what_is_made_is_added_up_over_the_machines_of_a_tier() -> None:
    work = {
        "render-01": Work(jobs={"success": 10, "oom": 1}, images=40, pixels=40_000_000),
        "render-02": Work(jobs={"success": 5, "error": 2}, images=6, pixels=12_000_000),
        "notebook": Work(jobs={"success": 3}, images=3, pixels=3_000_000),
    }
    found = weekly(
        change(0, "ok"),
        change(0, "ok", machine="render-02"),
        change(0, "unassigned", None, machine="notebook"),
        work=work,
    )
    mass = one(found)
    assert mass.jobs == {"success": 15, "oom": 1, "error": 2}
    assert (mass.images, mass.pixels) == (46, 52_000_000)
    assert found.unassigned_images == 3


def test_work_of_a_machine_that_changed_its_tier_is_parted_at_that_moment() -> None:
    changes = (change(0, "ok"), change(48, "ok", "light"), change(60, "down", "light", "down"))
    known = stretches(changes, *WEEK)
    assert cuts(known) == (MONDAY + 48 * HOUR,)
    middle = MONDAY + 48 * HOUR
    pieces = [
        Piece(WEEK[0], middle, {"render-01": Work(images=7, gpus=1)}),
        Piece(middle, WEEK[1], {"render-01": Work(images=5, gpus=1)}),
    ]
    found = report(WEEK, known, [WEEK], pieces)
    assert (one(found).images, one(found, "light").images) == (7, 5)
    assert one(found).gpu_seconds == 48 * HOUR
    assert one(found, "light").gpu_seconds == 120 * HOUR


def test_energy_is_told_with_how_much_of_the_time_it_is_known() -> None:
    work = {
        "render-01": Work(gpus=2, joules=300.0 * 100 * HOUR, power_seconds=200 * HOUR),
        "render-02": Work(gpus=1),
    }
    mass = one(weekly(change(0, "ok"), change(0, "ok", machine="render-02"), work=work))
    assert mass.joules == pytest.approx(30_000 * HOUR)
    assert mass.power_seconds / mass.gpu_seconds == pytest.approx(200 / (3 * 168))


def test_energy_of_gpus_that_tell_no_power_is_not_known() -> None:
    mass = one(weekly(change(0, "ok"), work={"render-01": Work(gpus=1)}))
    assert mass.joules is None
    assert mass.gpu_seconds == 168 * HOUR
