"""How figures, holders and remedies are said."""

from __future__ import annotations

from tests.dashboard.watch import card, process
from tierwatch_agent.tiers import DEFAULT_TIERS
from tierwatch_agent.wording import duration, floor, gib, holders, lift, listed, unmeasured

DRAFT, _, PRODUCTION, MASS = DEFAULT_TIERS


def test_sizes_are_said_in_gib_with_one_decimal() -> None:
    assert gib(15 * 10**9) == "14.0 GiB"
    assert gib(0) == "0.0 GiB"


def test_a_span_is_said_in_its_two_leading_units() -> None:
    spans = {0.4: "0 s", 42: "42 s", 185: "3 min 5 s", 7200: "2 h", 90061: "1 d 1 h", 3605: "1 h"}
    assert {seconds: duration(seconds) for seconds in spans} == spans


def test_a_floor_is_named_with_its_tier_and_class() -> None:
    assert floor(MASS) == "mass, 16 GB class: 14.0 GiB"
    assert floor(DRAFT) == "draft, needs no GPU"


def test_words_in_a_row() -> None:
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


def test_holders_are_named_largest_first_and_the_small_are_left_out() -> None:
    gpu = card(processes=[process(1, "b", 1024), process(2, "a", 2048), process(3, "tiny", 20)])
    assert holders(gpu) == "2.0 GiB held by a (pid 2), 1.0 GiB by b (pid 1)"
    assert holders(card()) is None


def test_many_holders_are_counted_after_the_first_five() -> None:
    gpu = card(processes=[process(pid, "p", 512) for pid in range(1, 9)])
    assert str(holders(gpu)).endswith("0.5 GiB by p (pid 5), 1.5 GiB by 3 more")


def test_production_s_own_server_is_no_holder() -> None:
    gpu = card(processes=[process(1, "python main.py", 8000, "comfyui"), process(2, "x", 1024)])
    assert holders(gpu) == "1.0 GiB held by x (pid 2)"


def test_processes_of_unknown_size_are_named_with_the_desktop_last() -> None:
    names = ["explorer.exe", "dwm.exe", "game.exe", "chrome.exe", "a.exe", "b.exe", "c.exe"]
    gpu = card(
        processes=[process(pid, name) for pid, name in enumerate(names, start=1)], used_mib=3072
    )
    silent = (
        "game.exe (pid 3), chrome.exe (pid 4), a.exe (pid 5), b.exe (pid 6), c.exe (pid 7) "
        "and 2 more"
    )
    assert unmeasured(gpu) == silent
    assert holders(gpu) == f"3.0 GiB held by {silent} together"


def test_a_remedy_takes_no_more_holders_than_it_needs() -> None:
    game, train = process(1, "game.exe", 6144), process(2, "python train.py", 1024)
    assert lift(card(processes=[game, train]), MASS) == "ending game.exe (pid 1)"
    both = [process(2, "python train.py", 9000), process(3, "b", 1000)]
    assert lift(card(processes=both), MASS) == "ending python train.py (pid 2)"


def test_a_server_is_unloaded_and_not_ended() -> None:
    gpu = card(
        processes=[
            process(1, "python main.py", 4000, "comfyui"),
            process(2, "python launch.py", 3000, "a1111"),
            process(3, "game.exe", 5000),
        ]
    )
    assert lift(gpu, MASS) == (
        "ending game.exe (pid 3) and unloading the models of python launch.py (pid 2)"
    )
    assert lift(gpu, PRODUCTION) == "ending game.exe (pid 3)"


def test_there_is_no_remedy_where_nothing_known_would_do() -> None:
    assert lift(card(12282), MASS) is None
    assert lift(card(processes=[process(1, "game.exe")], used_mib=6000), MASS) is None
