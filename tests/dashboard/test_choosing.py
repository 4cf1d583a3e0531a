"""Which machines a view lists: search, filters, order, groups, and the address that says them."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from tests.dashboard.making import running, server, with_servers
from tests.dashboard.studio import at, gpu, judged, machines, process, view, worst_first
from tierwatch_agent.tiers import DEFAULT_TIERS
from tierwatch_dashboard.fleet.state import MachineView
from tierwatch_dashboard.verdict import State
from tierwatch_dashboard.web.choosing import (
    Asked,
    AskedError,
    Chosen,
    asked_in,
    choose,
    natural,
    options,
)
from tierwatch_dashboard.web.facts import Facts


def listed(
    views: tuple[MachineView, ...], asked: Asked, spoken: Callable[[str], str] = str
) -> Chosen:
    return choose([Facts(each, DEFAULT_TIERS) for each in views], asked, spoken)


def ids(views: tuple[MachineView, ...], **asked: object) -> list[str]:
    chosen = listed(views, msgspec.convert(asked, Asked))
    return [each.id for group in chosen.groups for each in group.machines]


def tagged(name: str, *tags: str, state: State = "ok") -> MachineView:
    return view(at(name, "draft", tags=tags), state, "Serves draft")


def carded(name: str, busy: float | None, celsius: float | None, used: float) -> MachineView:
    card = gpu(
        "RTX 4080",
        16376,
        process(9, "game.exe", used),
        utilization_ratio=busy,
        temperature_celsius=celsius,
    )
    verdict = judged(card, "ok", "mass", "mass", "mass")
    return view(at(name, "mass"), "ok", "Serves mass", gpus=[card], verdicts=[verdict])


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("RENDER-03", ["render-03"]),
        ("room-a", ["render-03", "render-01"]),
        ("4080 super", ["render-03"]),
        ("eldenring", ["render-03"]),
        ("cannot mass", ["render-03", "render-04"]),
        ("room-a serves", ["render-01"]),
        ("comfyui flux", ["render-01"]),
        ("nothing like that", []),
    ],
)
def test_every_word_searched_for_is_in_a_machine_s_name_tags_cards_servers_models_or_headline(
    words: str, found: list[str]
) -> None:
    views = tuple(
        with_servers(each, server(running(model="flux1-dev")))
        if each.machine.id == "render-01"
        else each
        for each in machines()
    )
    assert ids(views, q=words) == found


def test_a_headline_is_searched_in_the_viewer_s_language() -> None:
    def spoken(words: str) -> str:
        return "massを担当できません" if words.startswith("Cannot serve mass") else words

    chosen = listed(machines(), Asked(q="担当できません"), spoken)
    assert [each.id for each in chosen.groups[0].machines] == ["render-03", "render-04"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"tier": "light"}, ["laptop-ren"]),
        ({"state": "at_risk"}, ["artist-yuki", "laptop-ren"]),
        ({"tag": "room-a"}, ["render-03", "render-01"]),
        ({"gpu": "NVIDIA GeForce RTX 3060"}, ["render-05"]),
        ({"tag": "room-a", "state": "below"}, ["render-03"]),
        ({"tag": "room-b"}, []),
    ],
)
def test_filters_are_all_held_to(asked: dict[str, str], found: list[str]) -> None:
    assert ids(machines(), **asked) == found


def test_a_machine_of_which_one_gpu_has_the_tier_is_among_that_tier_s() -> None:
    both = (view(at("a", "mass", gpu_tiers={"1": "light"}), "ok", ""),)
    assert ids(both, tier="light") == ["a"]
    assert ids(both, tier="mass") == ["a"]


def test_a_server_is_filtered_by_its_kind() -> None:
    views = tuple(
        with_servers(each, server(kind="a1111", port=7860))
        if each.machine.id == "demo-02"
        else each
        for each in machines()
    )
    assert ids(views, server="a1111") == ["demo-02"]


def test_states_are_counted_whichever_is_asked_for() -> None:
    everything = listed(machines(), Asked())
    assert dict(everything.states) == {
        "down": 1,
        "below": 3,
        "at_risk": 2,
        "ok": 5,
        "unassigned": 1,
        "maintenance": 1,
    }
    one = listed(machines(), Asked(state="down"))
    assert one.states == everything.states
    assert one.count == 1
    assert dict(listed(machines(), Asked(state="down", tag="room-a")).states) == {
        "below": 1,
        "ok": 1,
    }


def test_the_worst_come_first_unless_told_otherwise() -> None:
    assert ids(machines()) == [each.machine.id for each in machines()]


def test_names_are_sorted_as_people_count() -> None:
    views = tuple(tagged(name) for name in ("render-10", "Render-2", "light-1"))
    assert ids(views, sort="name") == ["light-1", "Render-2", "render-10"]
    assert natural("a2") < natural("a10") < natural("b")


@pytest.mark.parametrize(
    ("sort", "found"),
    [
        ("headroom", ["full", "half", "free", "bare"]),
        ("busy", ["half", "free", "bare", "full"]),
        ("temperature", ["free", "half", "bare", "full"]),
    ],
)
def test_figures_are_sorted_and_the_unknown_comes_last(sort: str, found: list[str]) -> None:
    views = worst_first(
        [
            carded("half", 0.9, 60.0, 6.0),
            carded("free", 0.0, 80.0, 1.0),
            carded("full", None, None, 14.0),
            tagged("bare"),
        ]
    )
    assert ids(views, sort=sort) == found


def test_the_highest_tier_comes_first() -> None:
    found = ids(machines(), sort="tier")
    assert found[0] == "render-07"
    assert found[-2:] == ["notebook-mei", "spare-01"]


def test_groups_stand_by_name_and_last_what_has_no_such_tag() -> None:
    views = (
        tagged("a", state="down"),
        tagged("b", "room:south", "project:x", state="below"),
        tagged("c", "project:x", "room:north"),
        tagged("d", "room:south"),
    )
    grouped = listed(views, Asked(group="tag:room")).groups
    assert [(g.name, [m.id for m in g.machines]) for g in grouped] == [
        ("north", ["c"]),
        ("south", ["b", "d"]),
        (None, ["a"]),
    ]
    first = listed(views, Asked(group="tag")).groups
    assert [group.name for group in first] == ["project:x", "room:south", None]


def test_a_fleet_offers_what_it_has() -> None:
    views = (tagged("a", "room:north", "old"), carded("b", 0.1, 40.0, 1.0))
    offered = options([Facts(each, DEFAULT_TIERS) for each in views], DEFAULT_TIERS)
    assert offered.tiers == ("mass", "production", "light", "draft")
    assert offered.tags == ("old", "room:north")
    assert offered.gpus == ("RTX 4080",)
    assert offered.servers == ()
    assert offered.groups == ("tag", "tag:room")


def test_an_address_says_the_view_and_is_read_as_it_was_said() -> None:
    asked = Asked(
        q="elden ring", state="below", tag="room:north", sort="headroom", group="tag:room"
    )
    address = asked.address()
    assert address.startswith("/?q=elden+ring&state=below&")
    assert asked_in(dict(parse_qsl(urlsplit(address).query))) == asked
    assert Asked().address() == "/"
    assert asked.address(state=None, shown=120).endswith("&shown=120")
    assert asked.cleared().address() == "/?sort=headroom&group=tag%3Aroom"


def test_an_empty_part_of_a_form_asks_for_nothing() -> None:
    assert asked_in({"q": " ", "tier": "", "sort": "", "since": "x", "elsewhere": "1"}) == Asked()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"state": "bad"}, "state is one of down, stalled, below, at_risk, ok, "),
        ({"sort": "colour"}, "sort is one of worst, name, headroom, tier, busy, temperature;"),
        ({"group": "room"}, "group is tag, or tag:room for tags like room:north; it is room"),
        ({"q": "x" * 201}, "q may have 200 characters; it has 201"),
    ],
)
def test_what_cannot_be_asked_for_is_said(arguments: dict[str, str], words: str) -> None:
    with pytest.raises(AskedError) as caught:
        asked_in(arguments)
    assert str(caught.value).startswith(words)
