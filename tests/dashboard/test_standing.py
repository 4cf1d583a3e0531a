from __future__ import annotations

from collections import Counter

import pytest

from tests.dashboard.studio import at, gpu, judged, view
from tierwatch_agent.tiers import DEFAULT_TIERS
from tierwatch_dashboard.fleet.state import MachineView
from tierwatch_dashboard.last_hour import Made
from tierwatch_dashboard.verdict import State
from tierwatch_dashboard.web.standing import TierStanding, sentence, standing


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ({}, "No machine yet."),
        ({"ok": 12}, "All 12 machines serve their tier."),
        ({"ok": 1}, "The one machine serves its tier."),
        ({"down": 1}, "The one machine is down."),
        (
            {"below": 1, "unassigned": 1},
            "The one machine cannot serve its tier; 1 is assigned to no tier.",
        ),
        ({"ok": 1, "at_risk": 1}, "All 2 machines serve their tier, 1 at risk."),
        ({"below": 3}, "None of 3 machines serves its tier; 3 cannot."),
        ({"ok": 1, "below": 1}, "1 of 2 machines serves its tier; 1 cannot."),
        (
            {"ok": 8, "at_risk": 1, "below": 2, "down": 1},
            "9 of 12 machines serve their tier, 1 at risk; 2 cannot; 1 is down.",
        ),
        (
            {"ok": 2, "stalled": 2, "unassigned": 1, "maintenance": 2},
            "2 of 4 machines serve their tier; 2 are stalled; 1 is assigned to no tier; "
            "2 are in maintenance.",
        ),
        ({"unassigned": 2}, "2 are assigned to no tier."),
    ],
)
def test_the_fleet_is_said_in_one_sentence(states: dict[State, int], words: str) -> None:
    assert sentence(Counter(states)) == words


def two_cards(state: State, first: State, second: State, **machine: object) -> MachineView:
    cards = [gpu("RTX 4080", 16376, index=index) for index in "01"]
    return view(
        at("a", "mass", **machine),
        state,
        "",
        gpus=cards,
        verdicts=[
            judged(card, each, "mass", "mass", "mass")
            for card, each in zip(cards, (first, second), strict=True)
        ],
    )


def of(tier: str, *views: MachineView) -> TierStanding:
    return next(t for t in standing(views, DEFAULT_TIERS, Made()).tiers if t.tier == tier)


def test_the_highest_tier_comes_first() -> None:
    names = [tier.tier for tier in standing((), DEFAULT_TIERS, Made()).tiers]
    assert names == ["mass", "production", "light", "draft"]


def test_a_machine_is_short_where_one_of_its_gpus_is() -> None:
    found = of("mass", two_cards("below", "ok", "below"))
    assert (found.assigned, found.able, found.short) == (1, 0, 1)


def test_one_able_gpu_suffices_where_the_assignment_says_any() -> None:
    found = of("mass", two_cards("ok", "ok", "below", gpus="any"))
    assert (found.assigned, found.able, found.short) == (1, 1, 0)


def test_a_machine_that_is_down_is_short() -> None:
    found = of("mass", two_cards("down", "ok", "ok"))
    assert (found.assigned, found.able, found.short) == (1, 0, 1)


def test_a_machine_in_maintenance_is_not_counted_on() -> None:
    found = of("mass", two_cards("maintenance", "ok", "ok"))
    assert (found.assigned, found.able, found.short) == (0, 0, 0)


def test_a_gpu_s_own_assignment_counts_for_its_tier() -> None:
    card = gpu("RTX 3060", 12288, index="1")
    machine = view(
        at("a", "mass", gpu_tiers={"1": "production"}),
        "below",
        "",
        gpus=[card],
        verdicts=[judged(card, "ok", "production", "production", "production")],
    )
    found = of("production", machine)
    assert (found.assigned, found.able) == (1, 1)


def test_a_draft_machine_without_a_gpu_is_able() -> None:
    found = of("draft", view(at("a", "draft"), "ok", "Serves draft"))
    assert (found.assigned, found.able) == (1, 1)
