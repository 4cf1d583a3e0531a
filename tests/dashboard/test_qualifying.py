"""Which tiers a machine would serve, and what would lift it, over the cards that studios have."""

from __future__ import annotations

import pytest

from tests.dashboard.test_cards import CARDS, TIERS, Row
from tests.dashboard.watch import card, machine, process, snapshot
from tierwatch_agent.snapshot import GpuSample, SourceState
from tierwatch_agent.tiers import DEFAULT_TIERS, Tier
from tierwatch_dashboard.inventory import Inventory
from tierwatch_dashboard.qualifying import Answer, answers, card_gb, duty, of_gpu

LOW_TO_HIGH = [tier.name for tier in DEFAULT_TIERS]
SOLD = {
    "GTX 1060 6GB": 6, "RTX 2070 Max-Q, driver 4xx": 8, "RTX 4060": 8, "RTX 2080 Super": 8,
    "GTX 1080 Ti": 11, "RTX 2080 Ti": 11, "Titan, driver 4xx": 12, "RTX 4070": 12,
    "RTX 3060 12GB": 12, "T4": 16, "V100, driver 410": 16, "RTX 5080": 16, "Radeon 16 GB": 16,
    "RTX 4080 Super": 16, "RTX 4060 Ti 16GB": 16, "A10": 24, "L4": 24, "RTX 4090": 24,
    "RTX 3090": 24, "RTX 5090": 32, "A100 40GB": 40, "L40S": 48, "H100": 80, "A100 80GB": 80,
    "H200": 141,
}  # fmt: skip
every_card = pytest.mark.parametrize("row", CARDS, ids=[row.name for row in CARDS])


def _said(*gpus: GpuSample, silent: bool = False, **fields: object) -> dict[str, tuple[str, str]]:
    """Tier to kind and words."""
    found = answers(machine(None, **fields), Inventory(), snapshot(*gpus), silent=silent)
    return {tier: (answer.kind, answer.words) for tier, answer in found.items()}


def _lifts(*gpus: GpuSample) -> dict[str, str | None]:
    found = answers(machine(None), Inventory(), snapshot(*gpus), silent=False)
    return {tier: answer.lift for tier, answer in found.items()}


@every_card
def test_an_empty_card_serves_its_class_and_all_below_and_never_the_next(row: Row) -> None:
    found = _said(card(row.total_mib, row.reserved_mib))
    best = LOW_TO_HIGH.index(TIERS[row.could])
    for place, tier in enumerate(LOW_TO_HIGH):
        expected = ("now", "can serve now")
        if place > best:
            expected = ("never", f"never: {SOLD[row.name]} GB card")
        assert found[tier] == expected


@every_card
def test_a_card_goes_by_the_size_that_it_is_sold_with(row: Row) -> None:
    assert card_gb(row.total_mib * 2**20) == SOLD[row.name]


@every_card
def test_under_a_game_it_says_which_game_to_end(row: Row) -> None:
    held = min(6144, row.total_mib - (row.reserved_mib or 0))
    game = card(row.total_mib, row.reserved_mib, [process(4711, "game.exe", held)])
    can, could = TIERS[row.can.split()[2]], TIERS[row.could]
    found, lifts = _said(game), _lifts(game)
    for place, tier in enumerate(LOW_TO_HIGH):
        if LOW_TO_HIGH.index(can) < place <= LOW_TO_HIGH.index(could):
            assert found[tier] == (
                "emptied",
                "only when emptied: ending game.exe (pid 4711) would do",
            )
            assert lifts[tier] == "ending game.exe (pid 4711)"
        else:
            assert found[tier][0] == ("now" if place <= LOW_TO_HIGH.index(can) else "never")


@pytest.mark.parametrize(
    ("total_mib", "gb", "lift"),
    [
        (12282, 16, "another 4 GB of card"),
        (8188, 12, "another 4 GB of card"),
        (11264, 12, "another 1 GB of card"),
        (23028, 48, "another 24 GB of card"),
        (24564, 80, "another 56 GB of card"),
    ],
)
def test_a_card_that_is_too_small_says_by_how_much(total_mib: int, gb: float, lift: str) -> None:
    answer = of_gpu(card(total_mib), Tier(name="x", vram_gb=gb, purpose=""))
    assert answer.lift == lift


def test_another_server_s_models_are_to_be_unloaded() -> None:
    held = [process(1, "main.py", 3000, "comfyui"), process(2, "launch.py", 2600, "a1111")]
    assert _lifts(card(12288, 400, held))["production"] == (
        "unloading the models of launch.py (pid 2)"
    )


def test_a_machine_of_several_gpus_is_as_able_as_its_least_able_one() -> None:
    gpus = (card(16380), card(12282, index="1"))
    assert _said(*gpus)["mass"] == ("never", "GPU 1: never: 12 GB card")
    assert _said(*gpus)["production"] == ("now", "can serve now")
    assert _said(*gpus, gpus="any")["mass"] == ("now", "can serve now")


def test_gpus_that_say_the_same_say_it_once() -> None:
    gpus = (card(8188), card(8188, index="1"))
    assert _said(*gpus)["mass"] == ("never", "never: 8 GB card")


def test_a_machine_that_is_silent_is_told_by_its_card_alone() -> None:
    found = _said(card(12282), silent=True)
    assert found["mass"] == ("never", "never: 12 GB card")
    assert found["production"] == (
        "unknown",
        "not known: the machine is not heard; its card is large enough",
    )
    never_heard = answers(machine(None), Inventory(), None, silent=True)
    assert {answer.kind for answer in never_heard.values()} == {"unknown"}


def test_a_machine_without_a_gpu_serves_what_needs_none() -> None:
    assert _said() == {
        "draft": ("now", "can serve now"),
        "light": ("never", "never: no GPU"),
        "production": ("never", "never: no GPU"),
        "mass": ("never", "never: no GPU"),
    }
    assert _lifts()["production"] == "a 12 GB card"


def test_where_the_driver_is_down_nothing_is_said_of_the_card() -> None:
    down = SourceState(name="nvml", state="down", reason="the driver is not loaded")
    found = answers(machine(None), Inventory(), snapshot(sources=(down,)), silent=False)
    assert found["mass"] == Answer(kind="unknown", words="not known: no GPU answers")


def test_where_the_system_does_not_tell_who_holds_memory_nobody_is_accused() -> None:
    wddm = card(12282, 400, [process(1, "blender.exe")], used_mib=4000, driver_model="wddm")
    kind, words = _said(wddm)["production"]
    assert kind in ("unknown", "emptied")
    assert "blender" not in words


def test_a_driver_that_keeps_much_makes_a_tier_with_no_allowance_never() -> None:
    strict = Tier(name="strict", vram_gb=17, purpose="", allowance_gb=0)
    answer = of_gpu(card(16380, 900), strict)
    assert answer.words == "never: the driver keeps too much of its 16 GB card"


def test_duty_is_what_is_assigned_and_none_where_nothing_is() -> None:
    told = snapshot(card(12282), card(8188, index="1"))
    assigned = machine("production", gpu_tiers={"1": "light"})
    found = duty(assigned, Inventory(), told, silent=False)
    assert found is not None
    assert found.kind == "now"
    assert duty(machine(None), Inventory(), told, silent=False) is None
